"""``convaid replay``: what a recorded session comes to with the tools as they are now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.exits import EXIT_FAILURE, EXIT_USAGE
from convaid.cli.printing import print_json, print_line
from convaid.cli.setting import config_option, json_option, load_setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convaid.config import Configuration
    from convaid.recording import Recording
    from convaid.testing.replaying import Difference, ReplayReport

__all__ = ["replay"]


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@config_option
@click.option("--update", "is_accepted", is_flag=True, help="Write the recording anew with what came now.")
@click.option(
    "--scenario", type=click.Path(dir_okay=False, path_type=Path), help="Run nothing: write a scenario to this file."
)
@click.option(
    "--time-limit", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds for all."
)
@json_option
def replay(
    *, file: Path, path: Path | None, is_accepted: bool, scenario: Path | None, time_limit: float, as_json: bool
) -> int:
    """Replay a recording with the installed plugins, and tell what differs.

    The platform's side is played as it was, in its order but as fast as may be. The tools run as in the daemon, with
    the configuration's [tools] and [plugins]. Their results are held against the recorded ones, and so is the ending.
    The journal, and what plugins keep in $STATE_DIRECTORY or $XDG_STATE_HOME, is temporary.

    Exit codes: 0 the same, 1 something differs, 2 the file cannot be used.
    """
    from convaid.errors import ConfigurationError
    from convaid.testing.accepting import accept_differences
    from convaid.testing.recorded import load_recording

    if scenario is not None and is_accepted:
        raise click.UsageError("--scenario runs nothing that --update could accept; use one of them")
    try:
        recording = load_recording(file)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            print_line(line, err=True)
        return EXIT_USAGE
    if scenario is not None:
        return convert(recording, scenario)
    configuration, _ = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    report = run_replay(recording, configuration, time_limit)
    rest = accept_differences(recording, report.differences) if is_accepted else report.differences
    if as_json:
        print_json(describe_replay(report, rest))
    else:
        print_replay(file, report, rest)
    return EXIT_FAILURE if rest else 0


def convert(recording: Recording, scenario: Path) -> int:
    """Write the scenario that a recording comes to."""
    from convaid.files import write_file
    from convaid.testing.scripting import write_scenario

    if scenario.exists():
        raise click.BadParameter(f"there is a file {scenario} already; name another", param_hint="--scenario")
    write_file(scenario, write_scenario(recording))
    print_line(f"written: {scenario}; `convaid test {scenario}` runs it")
    return 0


def run_replay(recording: Recording, configuration: Configuration, time_limit: float) -> ReplayReport:
    """Replay a recording, with state of its own."""
    import trio

    from convaid.plugins import load_plugins
    from convaid.testing.replaying import make_redactor, replay_recording
    from convaid.testing.running import open_temporary_state

    async def run() -> ReplayReport:
        return await replay_recording(
            recording,
            plugins,
            configuration.tools,
            time_limit=time_limit,
            hidden=[configuration.platform.api_key_env],
            redactor=make_redactor(configuration),
        )

    with open_temporary_state():
        plugins = load_plugins(configuration.plugins)
        return trio.run(run)


def print_replay(file: Path, report: ReplayReport, rest: Sequence[Difference]) -> None:
    """Print what differs, and whether it has been accepted."""
    from convaid.narration import shorten

    calls = f"{len(report.calls)} call{'' if len(report.calls) == 1 else 's'}"
    word, colour = ("DIFFERS", "red") if rest else ("updated" if report.differences else "same", "green")
    print_line(f"{word}  {file}  ({report.seconds:.2f} s, {calls})", fg=colour)
    for difference in report.differences:
        print_line(f"    {difference}")
        if difference.expected or difference.got:
            print_line(f"        recorded: {shorten(difference.expected)}")
            print_line(f"        now:      {shorten(difference.got)}")
    for note in report.notes:
        print_line(f"    {note}", dim=True)


def describe_replay(report: ReplayReport, rest: Sequence[Difference]) -> dict[str, object]:
    """The same for a script."""
    import attrs

    differences = [
        {
            "line": difference.line,
            "message": difference.message,
            "recorded": difference.expected,
            "now": difference.got,
            "is_accepted": difference not in rest,
        }
        for difference in report.differences
    ]
    return {
        "same": not report.differences,
        "differences": differences,
        "notes": report.notes,
        "calls": [attrs.asdict(call) for call in report.calls],
        "transcript": report.transcript,
        "seconds": report.seconds,
    }
