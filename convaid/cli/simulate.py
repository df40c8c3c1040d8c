"""``convaid simulate``: the bundled simulator of the platform, for any program that speaks to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.printing import print_json, print_line

if TYPE_CHECKING:
    from convaid.simulator import ConversationRecord, Simulator, SimulatorSettings

__all__ = ["simulate"]

PORT = 8765  # what the README and config.toml speak of


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any free one.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where tools and agents are kept, such as simulator.json; else they are forgotten at the end.",
)
@click.option("--schema", "is_schema", is_flag=True, help="Print the JSON Schema of scenarios, for editors, instead.")
def simulate(scenarios: tuple[str, ...], port: int, file: Path | None, is_schema: bool) -> None:
    """Simulate the platform on a loopback port, until Ctrl+C.

    SCENARIO is a TOML file, or the name of a bundled one (default, demo). The first conversation plays the first
    scenario, and so on; the last one is for all the rest. API keys are checked against $CONVAID_SIMULATOR_KEY if it is
    set, else any will do. Prints what was said, what the tools answered and how each conversation ended.
    """
    if is_schema:
        from convaid.simulator.schema import make_schema

        print_json(make_schema())
        return
    import trio

    from convaid.logs import set_up_logging
    from convaid.simulator import SimulatorSettings, load_scenario

    key = os.environ.get("CONVAID_SIMULATOR_KEY")
    settings = SimulatorSettings([load_scenario(name) for name in scenarios or ("default",)], key, file)
    set_up_logging("warning")
    trio.run(serve, settings, port)


async def serve(settings: SimulatorSettings, port: int) -> None:
    """Serve until SIGINT or SIGTERM, printing each conversation when it is over."""
    import signal

    import trio

    from convaid.simulator import open_simulator

    async with open_simulator(settings, port=port) as simulator, trio.open_nursery() as nursery:
        click.echo(f"simulating the platform on {simulator.base_url}")
        nursery.start_soon(print_conversations, simulator)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()


async def print_conversations(simulator: Simulator) -> None:
    """Print every conversation in the order in which they began, each when it is over."""
    number = 0
    while True:
        print_record(await simulator.wait_conversation(number))
        number += 1


def print_record(record: ConversationRecord) -> None:
    """Print one conversation."""
    click.secho(f"{record.conversation_id} (scenario {record.scenario})", bold=True)
    for line in record.transcript:
        print_line(f"  {line.at:7.2f} s  {line.speaker}: {line.text}")
    for call in record.calls:
        answer = "no result" if call.seconds is None else f"{call.result!r} after {call.seconds * 1000:.1f} ms"
        print_line(f"  tool {call.tool}({call.parameters}): {answer}", fg="red" if call.is_error else None)
    if record.problem:
        print_line(f"  problem: {record.problem}", fg="red")
    if record.ending is not None:
        print_line(f"  ended by {record.ending.closed_by}: {record.ending.code} {record.ending.reason}".rstrip())
