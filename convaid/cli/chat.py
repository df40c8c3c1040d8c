"""``convaid chat`` and ``convaid demo``: a text conversation in which a person, a pipe or a script is the user."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from convaid import events
from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_line
from convaid.cli.setting import BUILT_IN, config_option, dry_run_option, load_setting, open_platform
from convaid.narration import SHORT, describe_end, shorten
from convaid.protocol.endings import Retry
from convaid.protocol.from_agent import AgentResponse, AgentResponseCorrection
from convaid.turn import GREETING, Turn

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.daemon import Daemon
    from convaid.plugins import Plugins

__all__ = ["chat", "demo"]

PATIENCE = 60.0  # seconds that a script waits for an answer before it goes on
GOODBYE = 5.0  # seconds for the agent of the demonstration to hang up
HANG_UP = 0.3  # seconds for an agent that has just said goodbye to do the same
RETRY = 0.1  # seconds between looks for a session that takes a line

Lines = AsyncIterator[str]


def print_event(event: events.Event) -> None:
    """Print what a person at the terminal wants to see of a conversation."""
    match event:
        case events.Connected():
            print_line(f"connected: {event.conversation_id}", dim=True)
        case events.MessageReceived(message=AgentResponse(agent_response=text)):
            print_line(f"agent: {text}", fg="cyan")
        case events.MessageReceived(message=AgentResponseCorrection(corrected_agent_response=text)):
            print_line(f"agent, heard according to the platform: {text}", fg="cyan")
        case events.ToolCallEnded(call=call, answer=answer):
            print_line(
                f"  {call.tool_name}({format_parameters(call.parameters)}) -> {shorten(answer.result)}"
                f"  [{answer.outcome}, {answer.seconds * 1000:.1f} ms]",
                fg="red" if answer.is_error else "green",
            )
        case events.Ended():
            print_line(describe_end(event), dim=True)
        case events.RetryPlanned(end=end) if end.retry is Retry.SOON:
            print_line(f"connecting again in {event.delay:.1f} s", dim=True)


def format_parameters(parameters: Any) -> str:
    """Arguments as a person would write them, in short."""
    if isinstance(parameters, dict):
        return ", ".join(f"{name}={SHORT.repr(value)}" for name, value in parameters.items())
    return "" if parameters is None else SHORT.repr(parameters)


@click.command()
@config_option
@click.option("--conversation", "name", help="Which conversation of the configuration; else the first.")
@click.option("--scenario", default="default", help="What the simulated agent does: a TOML file.")
@click.option(
    "--record",
    "record_to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what passes over the link to this file, for `convaid replay`.",
)
@dry_run_option
def chat(path: Path | None, name: str | None, scenario: str, record_to: Path | None, is_dry: bool) -> int:
    """Type to the agent, with the same tools as the daemon; Ctrl+D ends it.

    Lines from a pipe are said one after the other, each after the agent's answer to the one before. Without a
    configuration it is a conversation with the bundled simulator.
    """
    if sys.stdin is None:
        raise click.UsageError("there is nobody to type: standard input is closed; give it a terminal, or a pipe")
    configuration, plugins = load_setting(path, or_built_in=True, is_quiet=True)
    name = name or next(iter(configuration.conversations))
    if name not in configuration.conversations:
        known = ", ".join(configuration.conversations)
        raise click.BadParameter(f"no conversation {name!r}; there is {known}", param_hint="--conversation")
    if scenario != "default" and not configuration.platform.is_simulator:
        raise click.BadParameter(
            "is for the simulator, and the configuration means another platform", param_hint="--scenario"
        )
    if record_to is not None and not is_recording(record_to):
        raise click.BadParameter(f"{record_to} is there already, and no recording; name another", param_hint="--record")
    configuration = make_text_only(configuration, name)
    return trio.run(
        partial(converse, configuration, plugins, read_lines(), scenario, is_dry=is_dry, record_to=record_to)
    )


def is_recording(path: Path) -> bool:
    """Whether a file may be written over with a recording: it is one, or there is none, or nothing in it."""
    start = b'{"recording"'
    if path.exists() and not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(start)) in (start, b"")
    except FileNotFoundError:
        return True


def make_text_only(configuration: Configuration, name: str) -> Configuration:
    """The configuration reduced to one text conversation that is held once."""
    import attrs

    settings = configuration.conversations[name]
    settings = attrs.evolve(
        settings, audio="none", start="once", overrides=attrs.evolve(settings.overrides, text_only=True)
    )
    return attrs.evolve(configuration, conversations={name: settings})


async def converse(
    configuration: Configuration,
    plugins: Plugins,
    lines: Lines,
    scenario: str = "default",
    *,
    is_dry: bool = False,
    record_to: Path | None = None,
) -> int:
    """Hold the one conversation of ``configuration``, saying ``lines``; returns the exit code."""
    from convaid.daemon import Daemon, run_daemon
    from convaid.matching.view import list_tools

    (name,) = configuration.conversations
    daemon, turn = Daemon(), Turn()

    def observe(event: events.Event) -> None:
        turn.observe(event)
        print_event(event)
        if isinstance(event, events.RetryPlanned) and event.end.retry is not Retry.SOON:
            daemon.stop.set()  # somebody waits at the terminal: no point in trying again in minutes

    tools = list_tools(plugins, configuration.tools).values()
    async with open_platform(configuration, scenario, tools) as pointed, trio.open_nursery() as nursery:
        nursery.start_soon(say_lines, daemon, name, turn, lines)
        is_matched = not configuration.platform.is_forgetful
        await run_daemon(
            pointed,
            plugins,
            observe=observe,
            daemon=daemon,
            is_dry=is_dry,
            is_matched=is_matched,
            record_to=record_to,
        )
        nursery.cancel_scope.cancel()
    end = daemon.endings.get(name)
    return 0 if end is not None and end.retry is Retry.NO else EXIT_FAILURE


async def say_lines(daemon: Daemon, name: str, turn: Turn, lines: Lines) -> None:
    """Say each line after the agent's answer to the one before; after the last, end the conversation."""
    from convaid.supervisor import NotConnected

    await turn.wait_connected()
    await turn.wait_answered(GREETING)
    async for line in lines:
        while True:
            await turn.wait_connected()
            turn.begin()
            with suppress(NotConnected):  # it is just ending: the next session will do
                daemon.conversations[name].say(line)
                break
            await trio.sleep(RETRY)
        await turn.wait_answered(PATIENCE)
    await trio.sleep(HANG_UP)
    daemon.stop.set()


async def read_lines() -> Lines:
    """What a person types or a pipe holds, line by line.

    The thread that waits for a line is left behind when the conversation ends.
    """
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        print_line("(type to the agent; Ctrl+D ends the conversation)", dim=True)
    while True:
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if not line:
            return
        if line.strip():
            if not is_terminal:
                print_user(line.strip())
            yield line.strip()


async def recite(examples: Iterable[str]) -> Lines:
    """The user's part of a scenario in which the agent hangs up, for a demonstration."""
    for line in examples:
        print_user(line)
        yield line
    await trio.sleep(GOODBYE)


def print_user(line: str) -> None:
    """Print what the user says, where no terminal has shown it already."""
    print_line(f"user:  {line}", bold=True)


@click.command()
def demo() -> int:
    """Hold a short conversation with the bundled simulator, in which the agent calls tools of two plugins.

    Needs no configuration, account, network or microphone, and leaves nothing behind.
    """
    import tempfile

    from convaid.calls import list_offered
    from convaid.config import parse_configuration
    from convaid.errors import ConvaidError
    from convaid.plugins import load_plugins
    from convaid.simulator import load_scenario
    from convaid.simulator.scenario import Call

    with tempfile.TemporaryDirectory(prefix="convaid-demo-") as folder:
        places = f'plugins.notes.path = "{folder}/notes.sqlite"\ntools.journal = "{folder}/journal.sqlite"\n'
        text = places + BUILT_IN
        configuration = parse_configuration(text, "the demonstration")
        scenario, plugins = load_scenario("demo"), load_plugins(configuration.plugins)
        offered = {tool.name for tool, _ in list_offered(plugins, configuration.tools)}
        if missing := {step.tool for step in scenario.steps if isinstance(step, Call)} - offered:
            tools = ", ".join(sorted(missing))
            raise ConvaidError(f"the demonstration needs {tools}: pip install ./plugins/clock ./plugins/notes")
        return trio.run(converse, configuration, plugins, recite(scenario.examples), "demo")
