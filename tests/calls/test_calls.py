"""Tool calls, well-behaved and hostile: every call has one answer, whatever the tool does.

The real clock: worker threads and rooms have loops of their own.
"""

from __future__ import annotations

import decimal
import json
import os
import sys
from contextlib import nullcontext
from typing import Annotated, Any

import pytest
import trio
from attrs import field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convaid import ToolContext, ToolError, tool
from convaid.calls import ToolCalls, open_tool_calls
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.events import Outcome
from convaid.plugins import Plugins
from convaid.plugins.loading import find_misplaced_tools, find_stray_tables
from convaid.protocol.from_agent import ClientToolCall

from .plugin import WAIT_LIMIT, add, add_async, ask, make_plugin, make_plugins

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
    config = ToolsConfig(named={"add_async": ToolPolicy(enabled=False)})
    async with open_tool_calls(make_plugins(add, add_async), config) as tool_calls:
        near, far, disabled = [await ask(tool_calls, name) for name in ("Ad", "x" * 1000, "add_async")]
    assert (near.outcome, near.is_error) == ("unknown", True)
    assert near.result == 'There is no tool named "Ad" here. Did you mean add?'
    assert far.result == f'There is no tool named "{"x" * 80}" here. There are: add.'
    assert disabled.outcome == "unknown"


def test_names_of_policies_are_held_against_what_there_is() -> None:
    slips, absent = find_stray_tables(make_plugins(add), ["ad", "add", "xyzzy", "*", "tried.*", "tired.*"])
    assert [str(problem) for problem in slips] == [
        'tools.ad: no plugin in use offers this tool; did you mean "add"?',
        'tools."tired.*": no plugin in use offers this tool; did you mean "tried.*"?',
    ]
    assert [problem.path for problem in absent] == ["tools.xyzzy"]


def test_a_tool_is_not_sent_where_it_cannot_run() -> None:
    config = ToolsConfig(named={"*": ToolPolicy(runs="thread"), "add": ToolPolicy(runs="room")})
    problems = find_misplaced_tools(make_plugins(add, add_async), config)
    assert [str(problem) for problem in problems] == [
        'tools.add: the tool is a def, which cannot have runs="room": leave it out, or write async def',
        'tools.add_async: the tool is an async def, which cannot have runs="thread": leave it out, or write def',
    ]
    config = ToolsConfig(named={"*": ToolPolicy(runs="process")})
    assert find_misplaced_tools(make_plugins(add, add_async), config) == []
    plugin = make_plugin(add, tell_context, lifespan=nullcontext)
    assert [str(problem) for problem in find_misplaced_tools(Plugins((plugin,)), config)] == [
        "tools.tell_context: the tool may use what its plugin has opened, which a process does not have: "
        'leave runs="process" out'
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


async def test_places_are_given_back_whatever_a_tool_does() -> None:
    async with open_tool_calls(make_hostile_tools(), ToolsConfig(time_limit=WAIT_LIMIT, parallel=1)) as tool_calls:
        for name in HOSTILE:
            assert (await ask(tool_calls, name)).outcome != "overloaded"
            assert (await ask(tool_calls, f"{name}_async")).outcome != "overloaded"


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
