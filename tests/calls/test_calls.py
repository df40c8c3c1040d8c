"""Tool calls, well-behaved and hostile: every call has one answer, in time, whatever the tool does.

The real clock: worker threads and rooms have loops of their own.
"""

from __future__ import annotations

import decimal
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import trio
from attrs import field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convaid import ToolContext, ToolError, tool
from convaid.calls import ToolCalls, calls, open_tool_calls
from convaid.config.model import ToolConfig, ToolsConfig
from convaid.events import Outcome, ToolAnswer
from convaid.plugins import Plugins
from convaid.protocol.from_agent import ClientToolCall

from .plugin import WAIT_LIMIT, ask, make_plugin, make_plugins

Number = Annotated[int, "a number"]
Seconds = Annotated[float, "how long"]


@tool
def add(a: Number, b: Number = 1) -> int:
    """Add."""
    return a + b


@tool
async def add_async(a: Number, b: Number = 1) -> int:
    """Add."""
    await trio.lowlevel.checkpoint()
    return a + b


@tool
def block(seconds: Seconds) -> None:
    """Block."""
    time.sleep(seconds)


@tool
async def sleep(seconds: Seconds) -> None:
    """Sleep."""
    await trio.sleep(seconds)


SLEEPERS = make_plugins(block, sleep, add)
both_kinds = pytest.mark.parametrize("name", ["add", "add_async"])


@both_kinds
async def test_a_call_is_answered_with_the_result(name: str) -> None:
    async with open_tool_calls(make_plugins(add, add_async), ToolsConfig()) as tool_calls:
        answer = await ask(tool_calls, name, {"a": 2, "b": 3})
    assert (answer.result, answer.is_error, answer.outcome) == ("5", False, "ok")
    assert 0 < answer.seconds < WAIT_LIMIT


@both_kinds
async def test_wrong_arguments_are_explained(name: str) -> None:
    async with open_tool_calls(make_plugins(add, add_async), ToolsConfig()) as tool_calls:
        answer = await ask(tool_calls, name, {"a": "2", "c": 3})
        assert (answer.is_error, answer.outcome) == (True, "invalid")
        assert answer.result.startswith(f'The arguments do not fit the tool "{name}": ')
        assert 'a: expected a whole number, got the text "2"' in answer.result
        assert "c: is not known" in answer.result
        odd: list[Any] = [None, [], "a", 5, {"a": None}]
        for parameters in odd:
            assert (await ask(tool_calls, name, parameters)).outcome == "invalid"


async def test_an_unknown_tool_gets_the_nearest_names() -> None:
    config = ToolsConfig(named={"add_async": ToolConfig(enabled=False)})
    async with open_tool_calls(make_plugins(add, add_async), config) as tool_calls:
        near, far, disabled = [await ask(tool_calls, name) for name in ("Ad", "x" * 1000, "add_async")]
    assert (near.outcome, near.is_error) == ("unknown", True)
    assert near.result == 'There is no tool named "Ad" here. Did you mean add?'
    assert far.result == f'There is no tool named "{"x" * 80}" here. There are: add.'
    assert disabled.outcome == "unknown"


async def test_a_table_for_a_tool_that_is_not_there_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    config = ToolsConfig(named={"ad": ToolConfig(), "add": ToolConfig(), "xyzzy": ToolConfig()})
    async with open_tool_calls(make_plugins(add), config):
        pass
    assert caplog.messages == [
        'tools.ad: no plugin in use offers this tool; did you mean "add"?',
        "tools.xyzzy: no plugin in use offers this tool",
    ]


@tool
def tell_context(context: ToolContext) -> dict[str, Any]:
    """Tell."""
    context.log.warning("here")
    return {
        "ids": [context.conversation, context.conversation_id, context.tool_call_id],
        "settings": context.settings,
        "state": context.state,
        "left": context.count_seconds_left(),
    }


async def test_a_tool_gets_its_context(caplog: pytest.LogCaptureFixture) -> None:
    plugin = make_plugin(tell_context, settings="the settings")
    async with open_tool_calls(Plugins((plugin,)), ToolsConfig(time_limit=7)) as tool_calls:
        told = json.loads((await ask(tool_calls, "tell_context")).result)
    assert told["ids"] == ["main", "conv_1", "call_1"]
    assert (told["settings"], told["state"]) == ("the settings", None)
    assert 0 < told["left"] <= 7
    assert [(record.name, record.message) for record in caplog.records] == [("convaid.plugin.tried", "here")]


# --- tools that fail ------------------------------------------------------------------------------------------------


class Unspeakable(ToolError):
    def __str__(self) -> str:
        raise RuntimeError("not even its words")


class Odd(BaseException):
    def __str__(self) -> str:
        raise SystemExit("from the words")


@frozen
class Trap:
    """A trap.

    Attributes:
        size: how large
    """

    size: int = field()

    @size.validator
    def _check_size(self, field: object, value: int) -> None:
        sys.exit("a validator")


class Property:
    """Raises when it is asked what it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise Odd


HOSTILE: dict[str, tuple[Any, Outcome, str]] = {
    # what it raises or returns, the outcome, and what the agent reads
    "words": (ToolError("No such lamp. Ask for another."), "error", "No such lamp. Ask for another."),
    "no_words": (ToolError(), "error", 'The tool "no_words" could not do it.'),
    "unspeakable": (Unspeakable(), "error", "because of a fault in it (RuntimeError)"),
    "fault": (ZeroDivisionError("secret"), "error", "because of a fault in it (ZeroDivisionError)"),
    "exit": (SystemExit(1), "error", "because of a fault in it (SystemExit)"),
    "interrupt": (KeyboardInterrupt(), "error", "because of a fault in it (KeyboardInterrupt)"),
    "generator_exit": (GeneratorExit(), "error", "because of a fault in it (GeneratorExit)"),
    "stop": (StopIteration(), "error", "because of a fault in it ("),
    "stop_async": (StopAsyncIteration(), "error", "because of a fault in it ("),
    "group": (BaseExceptionGroup("many", [SystemExit(), ValueError()]), "error", "fault in it (BaseExceptionGroup)"),
    "odd": (Odd(), "error", "because of a fault in it (Odd)"),
    "bytes_": (b"", "error", "has run, but its result cannot be sent: the result is of the type bytes"),
    "property": (Property(), "error", "because of a fault in it (Odd)"),
    "long": ("x" * 100_000, "ok", "… [cut here; 100000 characters in all]"),
    "long_words": (ToolError("x" * 100_000), "error", "… [cut here; 100000 characters in all]"),
    "none": (None, "ok", "Done. There is nothing to report."),
    "empty": ("", "ok", ""),
    "false": (False, "ok", "false"),
}


def behave(thing: Any) -> Any:
    if isinstance(thing, BaseException):
        raise thing
    return thing


def make_hostile_tools() -> Plugins:
    tools = []
    for name, (thing, _, _) in HOSTILE.items():

        def sync(thing: Any = thing) -> Any:
            return behave(thing)

        async def async_(thing: Any = thing) -> Any:
            await trio.lowlevel.checkpoint()
            return behave(thing)

        for function, suffix in ((sync, ""), (async_, "_async")):
            function.__annotations__ = {"thing": Annotated[str, "unused"]}
            tools.append(tool(name=name + suffix, description="Be hostile.")(function))
    return make_plugins(*tools, add, add_async)


async def test_whatever_a_tool_does_there_is_one_answer_and_the_next_call_works() -> None:
    async with open_tool_calls(make_hostile_tools(), ToolsConfig()) as tool_calls:
        for name, (_, outcome, text) in HOSTILE.items():
            for suffix in ("", "_async"):
                answer = await ask(tool_calls, name + suffix)
                assert answer.outcome == outcome, answer
                assert answer.is_error is (outcome != "ok")
                assert text.replace(f'"{name}"', f'"{name}{suffix}"') in answer.result, answer
                assert len(answer.result) <= 65536
                assert "secret" not in answer.result
        assert (await ask(tool_calls, "add", {"a": 1})).result == "2"
        assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"


async def test_a_fault_is_in_our_log_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with open_tool_calls(make_hostile_tools(), ToolsConfig()) as tool_calls:
        for name in ("fault", "fault_async"):
            caplog.clear()
            await ask(tool_calls, name)
            assert [(record.name, record.levelname) for record in caplog.records] == [("convaid.plugin.tried", "ERROR")]
            assert "ZeroDivisionError: secret" in caplog.text
            assert "in behave" in caplog.text


async def test_validators_of_a_plugin_do_not_run_on_our_side() -> None:
    @tool
    def take(trap: Trap) -> None:
        """Take."""

    async with open_tool_calls(make_plugins(take), ToolsConfig()) as tool_calls:
        answer = await ask(tool_calls, "take", {"trap": {"size": 5}})
    assert (answer.outcome, answer.is_error) == ("error", True)
    assert "SystemExit" in answer.result


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_parameters_have_an_answer(parameters: Any) -> None:
    async def call_both() -> None:
        async with open_tool_calls(make_plugins(add, add_async), ToolsConfig()) as tool_calls:
            for name in ("add", "add_async"):
                assert (await ask(tool_calls, name, parameters)).outcome == "invalid"

    trio.run(call_both)


# --- time -----------------------------------------------------------------------------------------------------------


def make_stubborn_tools(release: threading.Event) -> Plugins:
    """Tools that do not end before ``release`` is set, each in its own way; all but the first are async."""

    @tool
    def block() -> None:
        """Block."""
        release.wait(WAIT_LIMIT)

    @tool
    async def block_room() -> None:
        """Block, although async."""
        release.wait(WAIT_LIMIT)

    @tool
    async def stay() -> None:
        """Wait, and not be cancelled."""
        await trio.to_thread.run_sync(release.wait, WAIT_LIMIT)

    return Plugins((make_plugin(block, block_room, stay, name="stubborn"), make_plugin(add, add_async)))


STUBBORN = ("block", "block_room", "stay")


@pytest.fixture
def release() -> Iterator[threading.Event]:
    release = threading.Event()
    yield release
    release.set()


@pytest.mark.parametrize("name", STUBBORN)
async def test_a_tool_that_takes_too_long_is_given_up_in_time(name: str, release: threading.Event) -> None:
    async with open_tool_calls(make_stubborn_tools(release), ToolsConfig(time_limit=0.1)) as tool_calls:
        answer = await ask(tool_calls, name)
        assert (answer.outcome, answer.is_error) == ("time-out", True)
        assert answer.result.startswith(f'The tool "{name}" took longer than 0.1 s and was given up.')
        assert 0.1 <= answer.seconds < WAIT_LIMIT / 2
        release.set()


@pytest.mark.parametrize("name", STUBBORN)
async def test_cancelling_a_call_does_not_wait_for_the_tool(name: str, release: threading.Event) -> None:
    async with open_tool_calls(make_stubborn_tools(release), ToolsConfig()) as tool_calls:
        begin = time.monotonic()
        with trio.move_on_after(0.05) as scope:
            await ask(tool_calls, name)
        assert scope.cancelled_caught
        assert time.monotonic() - begin < WAIT_LIMIT / 2
        release.set()


async def test_limits_come_from_the_configuration_then_the_author_then_the_default() -> None:
    @tool(time_limit=0.05)
    async def hurried() -> None:
        """Hurry."""
        await trio.sleep_forever()

    @tool(time_limit=5)
    async def calm() -> None:
        """Do not hurry."""
        await trio.sleep_forever()

    config = ToolsConfig(time_limit=60, named={"calm": ToolConfig(time_limit=0.06)})
    async with open_tool_calls(make_plugins(hurried, calm), config) as tool_calls:
        assert "0.05 s" in (await ask(tool_calls, "hurried")).result
        assert "0.06 s" in (await ask(tool_calls, "calm")).result


async def test_a_tool_that_is_given_up_is_cancelled() -> None:
    cancelled = threading.Event()

    @tool
    async def wait() -> None:
        """Wait."""
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with open_tool_calls(make_plugins(wait), ToolsConfig(time_limit=0.05)) as tool_calls:
        assert (await ask(tool_calls, "wait")).outcome == "time-out"
        assert cancelled.wait(WAIT_LIMIT)


async def test_a_plugin_that_blocks_hurts_only_itself(release: threading.Event) -> None:
    """While one room is blocked, our loop, our time limits and the other plugins' tools go on."""
    rude: list[ToolAnswer] = []

    async def be_rude() -> None:
        rude.append(await ask(tool_calls, "block_room"))

    config = ToolsConfig(named={"block_room": ToolConfig(time_limit=0.2)})
    async with open_tool_calls(make_stubborn_tools(release), config) as tool_calls:
        with trio.fail_after(WAIT_LIMIT / 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(be_rude)
                for _ in range(50):
                    await trio.sleep(0.001)
                    assert (await ask(tool_calls, "add", {"a": 1})).result == "2"
                    assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"
        assert rude[0].outcome == "time-out"
        assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"
        release.set()


async def test_a_tool_that_was_given_up_before_it_began_never_begins(release: threading.Event) -> None:
    blocked, began = threading.Event(), threading.Event()

    @tool
    async def block_room() -> None:
        """Block, although async."""
        blocked.set()
        release.wait(WAIT_LIMIT)

    @tool(time_limit=0.1)
    async def late() -> None:
        """Come late."""
        began.set()

    async with open_tool_calls(make_plugins(block_room, late, add_async), ToolsConfig()) as tool_calls:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, tool_calls, "block_room")
            await trio.to_thread.run_sync(blocked.wait, WAIT_LIMIT)
            assert (await ask(tool_calls, "late")).outcome == "time-out"
            release.set()
        assert (await ask(tool_calls, "add_async", {"a": 1})).outcome == "ok"  # its turn comes after that of `late`
    assert not began.is_set()


@pytest.mark.parametrize("name", STUBBORN)
async def test_the_log_says_where_a_tool_goes_on_that_was_given_up(
    name: str,
    release: threading.Event,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "REACTION_LIMIT", 0.05)
    async with open_tool_calls(make_stubborn_tools(release), ToolsConfig(time_limit=0.05)) as tool_calls:
        assert (await ask(tool_calls, name)).outcome == "time-out"
        with trio.fail_after(WAIT_LIMIT):
            while not caplog.records:  # the log tells nobody
                await trio.sleep(0.01)
        release.set()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f'the tool "{name}" goes on although it was given up, at {__file__}:' in record.message
    assert f" {name} (1 such in all)" in record.message


async def test_a_tool_that_ends_when_it_is_given_up_is_not_worth_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "REACTION_LIMIT", 0.2)
    async with open_tool_calls(SLEEPERS, ToolsConfig(time_limit=0.05)) as tool_calls:
        assert (await ask(tool_calls, "sleep", {"seconds": 5})).outcome == "time-out"
        await trio.sleep(0.3)
    assert caplog.messages == []


# --- many -----------------------------------------------------------------------------------------------------------


async def call_many(tool_calls: ToolCalls, name: str, parameters: Any, count: int) -> tuple[Counter[str], float]:
    """Call a tool ``count`` times at once; returns the outcomes and the seconds until the last."""
    outcomes: Counter[str] = Counter()
    begin = time.monotonic()

    async def call_one(number: int) -> None:
        outcomes[(await ask(tool_calls, name, parameters, f"call_{number}")).outcome] += 1

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(call_one, number)
    return outcomes, time.monotonic() - begin


@pytest.mark.parametrize("name", ["block", "sleep"])
async def test_500_calls_at_once_are_answered_at_once(name: str) -> None:
    async with open_tool_calls(SLEEPERS, ToolsConfig()) as tool_calls:
        outcomes, seconds = await call_many(tool_calls, name, {"seconds": 0.2}, 500)
    assert outcomes == {"ok": 500}
    assert seconds < 5  # one after the other: 100 s; on as many threads as Python's pools have: 12 s


@pytest.mark.parametrize("name", ["block", "sleep"])
async def test_no_more_run_at_once_than_allowed(name: str) -> None:
    most = running = 0
    lock = threading.Lock()

    def count(change: int) -> None:
        nonlocal most, running
        with lock:
            running += change
            most = max(most, running)

    @tool(name="block", parallel=50)
    def counted_block() -> None:
        """Block."""
        count(1)
        time.sleep(0.05)
        count(-1)

    @tool(name="sleep", parallel=50)
    async def counted_sleep() -> None:
        """Sleep."""
        count(1)
        await trio.sleep(0.05)
        count(-1)

    config = ToolsConfig(parallel=20, named={name: ToolConfig(parallel=5)})
    other = {"block": "sleep", "sleep": "block"}[name]
    async with open_tool_calls(make_plugins(counted_block, counted_sleep), config) as tool_calls:
        assert (await call_many(tool_calls, name, None, 15))[0] == {"ok": 15}
        assert most == 5  # the tool's own limit
        assert (await call_many(tool_calls, other, None, 40))[0] == {"ok": 40}
        assert most == 20  # that of all tools


async def test_who_finds_no_place_in_time_is_told_so() -> None:
    config = ToolsConfig(time_limit=0.3, named={"block": ToolConfig(parallel=2)})
    async with open_tool_calls(SLEEPERS, config) as tool_calls:
        outcomes, _ = await call_many(tool_calls, "block", {"seconds": 1.0}, 5)
        assert outcomes == {"time-out": 2, "overloaded": 3}
        # The places of a tool that hangs are its own: others are not kept waiting.
        assert (await ask(tool_calls, "add", {"a": 1})).outcome == "ok"
        late = await ask(tool_calls, "block", {"seconds": 0})
        assert late.outcome == "overloaded"
        assert late.result == 'The tool "block" is busy: no place became free within 0.3 s. Try again in a minute.'
        await trio.sleep(0.6)
        assert (await ask(tool_calls, "block", {"seconds": 0})).outcome == "ok"


async def test_places_are_given_back_whatever_happens() -> None:
    config = ToolsConfig(time_limit=0.05, parallel=1)
    async with open_tool_calls(make_hostile_tools(), config) as tool_calls:
        for name in HOSTILE:
            await ask(tool_calls, name)
            await ask(tool_calls, f"{name}_async")
        with trio.move_on_after(0.01):
            await call_many(tool_calls, "add", {"a": 1}, 5)
    async with open_tool_calls(SLEEPERS, config) as tool_calls:
        for _ in range(3):
            assert (await ask(tool_calls, "sleep", {"seconds": 1})).outcome == "time-out"
            outcomes, _ = await call_many(tool_calls, "sleep", {"seconds": 1}, 5)
            assert outcomes["time-out"] >= 1
            assert outcomes.keys() <= {"time-out", "overloaded"}


async def test_no_thread_to_be_had_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with open_tool_calls(make_plugins(add), ToolsConfig(parallel=1)) as tool_calls:
        with monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "start_thread_soon", refuse)
            answers = [await ask(tool_calls, "add", {"a": 1}) for _ in range(3)]
        assert (await ask(tool_calls, "add", {"a": 1})).result == "2"
    assert [answer.outcome for answer in answers] == ["overloaded"] * 3


async def test_what_a_tool_sets_for_its_thread_does_not_reach_the_next() -> None:
    @tool
    def round_off() -> int:
        """Round."""
        precision = decimal.getcontext().prec
        decimal.getcontext().prec = 3
        return precision

    async with open_tool_calls(make_plugins(round_off), ToolsConfig()) as tool_calls:
        assert {(await ask(tool_calls, "round_off")).result for _ in range(5)} == {"28"}


async def test_plugin_code_cannot_reach_our_loop() -> None:
    @tool
    def reach() -> None:
        """Reach."""
        trio.from_thread.run_sync(os.getpid)

    async with open_tool_calls(make_plugins(reach), ToolsConfig()) as tool_calls:
        assert "RuntimeError" in (await ask(tool_calls, "reach")).result


async def test_calls_from_many_conversations_get_their_own_answers() -> None:
    async def check(tool_calls: ToolCalls, number: int) -> None:
        call = ClientToolCall(("add", "add_async")[number % 2], f"call_{number}", {"a": number})
        answer = await tool_calls.call(call, f"talk_{number % 7}", f"conv_{number}")
        assert answer.result == str(number + 1)

    plugins = make_plugins(add, add_async)
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls, trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(check, tool_calls, number)
