"""Plugins that need asyncio: their room has it, and everything else is as with trio."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio

from convaid import Tool, ToolContext, tool
from convaid.calls import aftermath, asyncio_loop, open_tool_calls, room
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.plugins import Plugins

from .plugin import TIME_LIMIT, WAIT_LIMIT, add_async, ask, make_plugin
from .test_rooms import make_event, wait_for


def make_plugins(*tools: Tool, **hooks: Any) -> Plugins:
    """A plugin that needs asyncio, and one that does not."""
    return Plugins((make_plugin(*tools, name="needing", loop="asyncio", **hooks), make_plugin(add_async)))


@pytest.fixture
def release() -> Iterator[threading.Event]:
    release = threading.Event()
    yield release
    release.set()


@tool
async def tell_thread() -> int:
    """Tell."""
    await asyncio.sleep(0.001)
    return threading.get_ident()


@tool
async def tell_state(context: ToolContext) -> str:
    """Tell."""
    return str(context.state)


@tool
async def sleep() -> None:
    """Sleep."""
    await asyncio.sleep(WAIT_LIMIT * 2)


async def test_everything_async_of_the_plugin_is_on_asyncio_in_one_thread() -> None:
    seen: list[tuple[str, int]] = []

    def note(what: str) -> None:
        seen.append((what, threading.get_ident()))

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        note("begins")
        await asyncio.sleep(0.001)
        try:
            yield "the state"
        finally:
            await asyncio.sleep(0.001)
            note("ends")

    async def observe(event: Any) -> None:
        await asyncio.sleep(0)
        note(event.conversation)

    plugins = make_plugins(tell_thread, tell_state, lifespan=lifespan, observe=observe)
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
        assert (await ask(tool_calls, "tell_state")).result == "the state"
        thread = int((await ask(tool_calls, "tell_thread")).result)
        assert thread != threading.get_ident()
        for number in range(3):
            tool_calls.observe(make_event(number))
        await wait_for(lambda: len(seen) == 4)
        assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"
    assert seen == [(what, thread) for what in ("begins", "talk_0", "talk_1", "talk_2", "ends")]


async def test_a_tool_that_is_given_up_is_cancelled_for_real() -> None:
    ended = threading.Event()

    @tool
    async def wait() -> None:
        """Wait."""
        try:
            await asyncio.sleep(WAIT_LIMIT)
        except asyncio.CancelledError:
            ended.set()
            raise

    async with open_tool_calls(make_plugins(wait), ToolsConfig(time_limit=TIME_LIMIT)) as tool_calls:
        assert (await ask(tool_calls, "wait")).outcome == "time-out"
        await wait_for(ended.is_set)


async def test_a_tool_that_is_cancelled_before_its_first_step_gives_its_place_back() -> None:
    @tool(parallel=1)
    async def wait() -> str:
        """Wait."""
        await asyncio.sleep(0)
        return "done"

    async with open_tool_calls(make_plugins(wait), ToolsConfig()) as tool_calls:
        for _ in range(50):
            with trio.CancelScope() as scope:
                scope.cancel()
                await ask(tool_calls, "wait")
            with trio.move_on_after(0.0001):
                await ask(tool_calls, "wait")
        assert (await ask(tool_calls, "wait")).result == "done"


async def test_a_tool_that_swallows_its_cancellation_is_named_with_the_line_where_it_waits(
    release: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aftermath, "REACTION_LIMIT", 0.05)

    async def wait_inside() -> None:
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    @tool
    async def stay() -> None:
        """Stay."""
        await wait_inside()

    async with open_tool_calls(make_plugins(stay), ToolsConfig(time_limit=TIME_LIMIT)) as tool_calls:
        assert (await ask(tool_calls, "stay")).outcome == "time-out"
        await wait_for(lambda: bool(caplog.records))
        release.set()
    (record,) = caplog.records
    assert f'the tool "stay" goes on although it was given up, at {__file__}:' in record.message
    assert "wait_inside from " in record.message
    assert " stay (1 such in all)" in record.message


async def test_a_tool_that_blocks_hurts_its_plugin_only(release: threading.Event) -> None:
    @tool
    async def block() -> None:
        """Block."""
        release.wait(WAIT_LIMIT)

    config = ToolsConfig(named={"block": ToolPolicy(time_limit=0.3)})
    async with open_tool_calls(make_plugins(block), config) as tool_calls:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                assert (await ask(tool_calls, "block")).outcome == "time-out"

            nursery.start_soon(call)
            for _ in range(20):
                assert (await ask(tool_calls, "add_async", {"a": 1})).result == "2"
        release.set()


async def test_what_a_tool_raises_is_an_answer_and_the_loop_turns_on() -> None:
    errors: dict[str, BaseException] = {
        "fault": ValueError(),
        "exit": SystemExit(1),
        "interrupt": KeyboardInterrupt(),
        "own_cancellation": asyncio.CancelledError(),
        "stop": StopAsyncIteration(),
    }

    def make_tool(name: str, error: BaseException) -> Tool:
        @tool(name=name)
        async def fail() -> None:
            """Fail."""
            await asyncio.sleep(0)
            raise error

        return fail

    tools = [make_tool(name, error) for name, error in errors.items()]
    async with open_tool_calls(make_plugins(*tools, tell_thread), ToolsConfig()) as tool_calls:
        for name, error in errors.items():
            answer = await ask(tool_calls, name)
            assert answer.outcome == "error"
            assert type(error).__name__ in answer.result
        assert (await ask(tool_calls, "tell_thread")).outcome == "ok"


async def test_each_call_has_a_context_of_its_own() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    variable.set(5)  # ours

    @tool
    async def count() -> int:
        """Count."""
        variable.set(variable.get() + 1)
        await asyncio.sleep(0)
        return variable.get()

    async with open_tool_calls(make_plugins(count), ToolsConfig()) as tool_calls:
        assert [(await ask(tool_calls, "count")).result for _ in range(3)] == ["1"] * 3


async def test_tasks_of_the_plugin_go_on_between_its_calls_and_are_ended_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ticks: list[float] = []
    tasks: list[asyncio.Task[None]] = []
    ended = threading.Event()

    @tool
    async def begin() -> None:
        """Begin."""

        async def tick() -> None:
            try:
                while True:
                    ticks.append(time.monotonic())
                    await asyncio.sleep(0.005)
            finally:
                ended.set()

        tasks.append(asyncio.create_task(tick()))

    async with open_tool_calls(make_plugins(begin), ToolsConfig()) as tool_calls:
        await ask(tool_calls, "begin")
        await wait_for(lambda: len(ticks) > 5)
    assert ended.is_set()
    assert caplog.messages == []


async def test_what_a_task_of_the_plugin_raises_is_logged_once_and_never_fatal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @tool
    async def begin() -> None:
        """Begin."""

        async def fail(error: BaseException) -> None:
            raise error

        for error in (ValueError("in the background"), SystemExit("in the background")):
            asyncio.create_task(fail(error))  # noqa: RUF006  # that nobody keeps it is the point
        asyncio.get_running_loop().call_soon(int, "x")

    async with open_tool_calls(make_plugins(begin, tell_thread), ToolsConfig()) as tool_calls:
        await ask(tool_calls, "begin")
        await wait_for(lambda: len(caplog.records) >= 3)
        assert (await ask(tool_calls, "tell_thread")).outcome == "ok"
        gc.collect()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert all('the plugin "needing"' in message for message in caplog.messages)
    for words in ("ValueError: in the background", "SystemExit: in the background", "invalid literal for int()"):
        assert words in caplog.text


# --- lifespans, the end ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def raise_at_once() -> AsyncIterator[None]:
    raise ValueError("no such host")
    yield


@asynccontextmanager
async def exit_at_once() -> AsyncIterator[None]:
    sys.exit(3)
    yield


@asynccontextmanager
async def never_begin() -> AsyncIterator[None]:
    await asyncio.sleep(WAIT_LIMIT)
    yield


@pytest.mark.parametrize(
    ("lifespan", "reason"),
    [
        (raise_at_once, "its lifespan failed (ValueError: no such host)"),
        (exit_at_once, "its lifespan failed (SystemExit: 3)"),
        (never_begin, "its lifespan did not begin within 1 s"),
    ],
)
async def test_a_lifespan_that_does_not_begin_takes_its_plugin_out_of_service(
    lifespan: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "START_LIMIT", 1.0)
    async with open_tool_calls(make_plugins(tell_state, lifespan=lifespan), ToolsConfig()) as tool_calls:
        needing, other = tool_calls.plugins
        assert (needing.status, other.status) == ("broken", "ready")
        assert needing.reason.startswith(reason)
        assert "out of service" in (await ask(tool_calls, "tell_state")).result


async def test_a_lifespan_that_breaks_later_answers_for_what_runs() -> None:
    break_now = threading.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async def break_down() -> None:
            await asyncio.to_thread(break_now.wait, WAIT_LIMIT)
            raise ConnectionError("gone")

        async with asyncio.TaskGroup() as group:
            group.create_task(break_down())
            yield

    async with open_tool_calls(make_plugins(sleep, lifespan=lifespan), ToolsConfig()) as tool_calls:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                answer = await ask(tool_calls, "sleep")
                assert answer.outcome == "stopped"
                assert answer.result == 'The tool "sleep" was stopped before it finished.'

            for _ in range(5):
                nursery.start_soon(call)
            await trio.sleep(0.05)
            break_now.set()
        await wait_for(lambda: tool_calls.plugins[0].status == "broken")
        assert "ExceptionGroup" in tool_calls.plugins[0].reason


async def test_no_thread_task_or_generator_of_the_plugin_keeps_its_room(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asyncio_loop, "LEFTOVER_LIMIT", 0.1)
    kept: list[Any] = []

    @tool
    async def leave_behind() -> None:
        """Leave behind."""

        async def stay() -> None:
            while not release.is_set():
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    continue

        async def generate() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await asyncio.sleep(WAIT_LIMIT)

        generator = generate()
        await anext(generator)
        future = asyncio.get_running_loop().run_in_executor(None, release.wait, WAIT_LIMIT)
        kept.extend([asyncio.create_task(stay(), name="the one that stays"), generator, future])

    begin = time.monotonic()
    async with open_tool_calls(make_plugins(leave_behind), ToolsConfig()) as tool_calls:
        assert (await ask(tool_calls, "leave_behind")).outcome == "ok"
    assert time.monotonic() - begin < WAIT_LIMIT / 2
    assert "leaves a task behind that does not end: the one that stays" in caplog.text
    assert "is left behind, at" not in caplog.text  # the room itself is gone


def test_asyncio_is_imported_for_a_plugin_that_needs_it_only() -> None:
    program = """
        import sys, trio
        from convaid import tool
        from convaid.calls import open_tool_calls
        from convaid.config.policy import ToolsConfig
        from convaid.plugins import Plugin, Plugins

        @tool
        async def work() -> None:
            "Work."

        async def main(loop):
            plugin = Plugin("one", "one", "one", "1", "ready", tools=(work,), loop=loop)
            async with open_tool_calls(Plugins((plugin,)), ToolsConfig()):
                print("asyncio" in sys.modules)

        trio.run(main, "trio")
        trio.run(main, "asyncio")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.split() == ["False", "True"]


def test_a_thread_of_asyncio_does_not_keep_the_process() -> None:
    program = """
        import asyncio, time, trio
        from convaid import tool
        from convaid.calls import aftermath, open_tool_calls
        from convaid.config.policy import ToolsConfig
        from convaid.plugins import Plugin, Plugins
        from convaid.protocol.from_agent import ClientToolCall

        aftermath.REACTION_LIMIT = 60

        @tool
        async def block() -> None:
            "Block."
            await asyncio.to_thread(time.sleep, 60)

        async def main():
            plugin = Plugin("rude", "rude", "rude", "1", "ready", tools=(block,), loop="asyncio")
            async with open_tool_calls(Plugins((plugin,)), ToolsConfig(time_limit=0.8)) as tool_calls:
                print((await tool_calls.call(ClientToolCall("block", "call_1"), "main", "conv_1")).outcome)

        trio.run(main)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=20, check=True
    )
    assert (done.stdout, done.stderr) == ("time-out\n", "")


async def test_a_program_of_the_plugin_can_be_awaited() -> None:
    """Its child watcher has to work outside of the main thread."""

    @tool
    async def run() -> int | None:
        """Run."""
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(7)")
        return await process.wait()

    async with open_tool_calls(make_plugins(run), ToolsConfig()) as tool_calls:
        assert (await ask(tool_calls, "run")).result == "7"
