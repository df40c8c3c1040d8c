"""Measure convaid and the official SDK side by side: `make bench`. README.md beside this has method and figures."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform as machine
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from neutral_platform import Platform, open_platform
from rows.commands import measure_commands
from rows.crowd import measure_crowd
from rows.load import measure_load
from rows.places import measure_places
from rows.sound import measure_sound
from rows.speech import measure_interruptions, measure_speech
from rows.start_up import measure_start_up
from rows.tool_calls import measure_tool_calls
from rows.trouble import measure_trouble
from scale import FULL, QUICK, Scale
from table import Row, format_table

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- figures: written by run.py -->", "<!-- end of figures -->"

STAGES: dict[str, Callable[[Platform, Scale], Awaitable[list[Row]]]] = {
    "start-up": measure_start_up,
    "commands": measure_commands,
    "tool-calls": measure_tool_calls,
    "places": measure_places,
    "speech": measure_speech,
    "interruptions": measure_interruptions,
    "crowd": measure_crowd,
    "load": measure_load,
    "trouble": measure_trouble,
    "sound": measure_sound,
}
OWN_TABLE = "sound"  # the stage whose contestants are others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of seconds; its figures mean nothing")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"only these: {', '.join(STAGES)}")
    options = parser.parse_args()
    if unknown := [stage for stage in options.stages if stage not in STAGES]:
        parser.error(f"there is no stage {unknown[0]}; there are {', '.join(STAGES)}")
    if find_spec("elevenlabs") is None:
        sys.exit("the official SDK is not installed; this brings it: pip install 'convaid[strangers]'")
    figures = asyncio.run(measure(options.stages or list(STAGES), QUICK if options.quick else FULL))
    print(figures)
    if not options.quick and not options.stages:
        write_figures(figures)


async def measure(stages: list[str], scale: Scale) -> str:
    """Run the stages and return what is to be printed."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # the contestants end with us
    begin = perf_counter()
    rows: list[Row] = []
    others: list[Row] = []
    async with open_platform() as platform:
        for stage in stages:
            start = perf_counter()
            (others if stage == OWN_TABLE else rows).extend(await STAGES[stage](platform, scale))
            print(f"{stage}: {perf_counter() - start:.0f} s", file=sys.stderr)
    tables = [format_table(some) for some in (rows, others) if some]
    return "\n\n".join([describe_setting(perf_counter() - begin), *tables])


def describe_setting(seconds: float) -> str:
    """With what, on what."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("convaid", "elevenlabs", "websockets", "trio"))
    python = f"Python {machine.python_version()}"
    return f"{packages}, {python}, {os.cpu_count()} cores ({machine.machine()}); the run took {seconds:.0f} s."


def write_figures(figures: str) -> None:
    """Put the figures into the README, between the markers."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}")


if __name__ == "__main__":
    main()
