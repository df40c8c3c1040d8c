"""``convaid simulate``: the bundled simulator of the platform, for any program that speaks to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of the official command line: its agents are there to talk to, with their tools and settings.",
)
@click.option(
    "--chaos",
    type=click.IntRange(0),
    metavar="SEED",
    help="Conversations at random instead, with faults in them; the first is that of the seed.",
)
@click.option("--schema", "is_schema", is_flag=True, help="Print the JSON Schema of scenarios, for editors, instead.")
def simulate(
    scenarios: tuple[str, ...], *, port: int, file: Path | None, folder: Path | None, chaos: int | None, is_schema: bool
) -> None:
    """Simulate the platform on a loopback port, until Ctrl+C.

    SCENARIO is a TOML file, or the name of a bundled one (default, demo). The first conversation plays the first
    scenario, and so on; the last one is for all the rest. API keys are checked against $CONVAID_SIMULATOR_KEY if it is
    set, else any will do. Prints what was said, what the tools answered and how each conversation ended.

    With --chaos SEED each conversation has a seed of its own, in its scenario's name: chaos-4711 is held once more by
    --chaos 4711. The tools that are called are those of --file or --folder; without them it is current_time.
    """
    if is_schema:
        from convaid.simulator.schema import make_schema

        print_json(make_schema())
        return
    import trio

    from convaid.logs import set_up_logging
    from convaid.simulator import SimulatorSettings, load_scenario

    if file is not None and folder is not None:
        raise click.UsageError("--file and --folder both say which tools and agents there are: name one of them")
    if chaos is not None and scenarios:
        raise click.UsageError("the conversations of --chaos are made at random: leave the scenarios out")
    key = os.environ.get("CONVAID_SIMULATOR_KEY")
    settings = SimulatorSettings([load_scenario(name) for name in scenarios or ("default",)], key, file, folder=folder)
    set_up_logging("warning")
    trio.run(serve, settings, port, chaos)


async def serve(settings: SimulatorSettings, port: int, seed: int | None) -> None:
    """Serve until SIGINT or SIGTERM, printing each conversation when it is over."""
    import signal

    import trio

    async with open_platform(settings, port, seed) as (simulator, base_url), trio.open_nursery() as nursery:
        click.echo(f"simulating the platform on {base_url}")
        if settings.folder is not None:
            for agent in simulator.workspace.agents.values():
                print_line(f"  {agent.id}: {agent.name}")
        nursery.start_soon(print_conversations, simulator)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_platform(
    settings: SimulatorSettings, port: int, seed: int | None
) -> AsyncIterator[tuple[Simulator, str]]:
    """The simulator, and where it is reached; with a seed, what it does is chaos."""
    if seed is not None:
        from convaid.simulator.chaos import Chaos, open_chaos

        async with open_chaos(Chaos(seed), settings, port=port) as served:
            yield served
        return
    from convaid.simulator import open_simulator

    async with open_simulator(settings, port=port) as simulator:
        yield simulator, simulator.base_url


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
