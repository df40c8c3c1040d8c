"""Lifespans and observers in their rooms: begun, ended, broken, blocked; and what the rest sees of it: nothing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from convaid import ToolContext, tool
from convaid.calls import open_tool_calls, room
from convaid.config.policy import ToolsConfig
from convaid.events import Connecting
from convaid.plugins import Plugin, Plugins

from .plugin import WAIT_LIMIT, ask, make_plugin

Lifespan = Callable[[], AbstractAsyncContextManager[Any]]


@tool
def tell_thread() -> int:
    """Tell."""
    return threading.get_ident()


@tool
async def tell_thread_async() -> int:
    """Tell."""
    return threading.get_ident()


@tool
def tell_state(context: ToolContext) -> str:
    """Tell."""
    return str(context.state)


@tool
async def tell_state_async(context: ToolContext) -> str:
    """Tell."""
    return str(context.state)


@tool
async def sleep() -> None:
    """Sleep."""
    await trio.sleep_forever()


@tool
async def stay() -> None:
    """Sleep, and not be cancelled."""
    with trio.CancelScope(shield=True):
        await trio.sleep(WAIT_LIMIT)


@tool(name="work")
async def work() -> str:
    """Work."""
    return "done"


GOOD = make_plugin(work, name="good")


def make_living_plugin(lifespan: Lifespan) -> Plugin:
    return make_plugin(tell_state, tell_state_async, tell_thread_async, sleep, stay, name="living", lifespan=lifespan)


async def test_everything_async_of_a_plugin_is_in_one_thread_and_not_in_ours() -> None:
    seen: list[tuple[str, int]] = []

    def note(what: str) -> None:
        seen.append((what, threading.get_ident()))

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        note("begins")
        await trio.lowlevel.checkpoint()
        try:
            yield "the state"
        finally:
            await trio.sleep(0.01)
            note("ends")

    plugins = Plugins((make_living_plugin(lifespan), make_plugin(tell_thread, name="sync")))
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls:
        assert [what for what, _ in seen] == ["begins"]
        thread = seen[0][1]
        assert thread != threading.get_ident()
        assert (await ask(tool_calls, "tell_state")).result == "the state"
        assert (await ask(tool_calls, "tell_state_async")).result == "the state"
        assert (await ask(tool_calls, "tell_thread_async")).result == str(thread)
        assert (await ask(tool_calls, "tell_thread")).result not in (str(thread), str(threading.get_ident()))
        assert len(tool_calls.rooms) == 1  # a plugin that is all sync needs none
    assert seen == [("begins", thread), ("ends", thread)]


async def test_lifespans_begin_and_end_at_the_same_time() -> None:
    barrier = threading.Barrier(3)

    def make_lifespan() -> Lifespan:
        @asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            await trio.to_thread.run_sync(barrier.wait, WAIT_LIMIT)
            yield
            await trio.to_thread.run_sync(barrier.wait, WAIT_LIMIT)

        return lifespan

    plugins = Plugins(tuple(make_plugin(name=f"plugin_{n}", lifespan=make_lifespan()) for n in range(3)))
    async with open_tool_calls(plugins, ToolsConfig()):
        pass
    assert not barrier.broken


# --- lifespans that fail --------------------------------------------------------------------------------------------


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
    await trio.sleep_forever()
    yield


@asynccontextmanager
async def block_at_once() -> AsyncIterator[None]:
    time.sleep(WAIT_LIMIT)  # noqa: ASYNC251  # that is the point
    yield


@asynccontextmanager
async def yield_nothing() -> AsyncIterator[None]:
    if sys.argv is None:
        yield


def make_no_context_manager() -> Any:
    return 5


@pytest.mark.parametrize(
    ("lifespan", "reason"),
    [
        (raise_at_once, "its lifespan failed (ValueError: no such host)"),
        (exit_at_once, "its lifespan failed (SystemExit: 3)"),
        (never_begin, "its lifespan did not begin within 1 s"),
        (block_at_once, f"its lifespan did not begin within 1 s (at {__file__}:"),
        (yield_nothing, "its lifespan failed (RuntimeError: generator didn't yield)"),
        (make_no_context_manager, "its lifespan failed (TypeError: "),
    ],
)
async def test_a_lifespan_that_does_not_begin_takes_its_plugin_out_of_service(
    lifespan: Lifespan, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "START_LIMIT", 1.0)
    monkeypatch.setattr(room, "CLOSE_LIMIT", 0.2)
    begin = time.monotonic()
    async with open_tool_calls(Plugins((GOOD, make_living_plugin(lifespan))), ToolsConfig()) as tool_calls:
        good, living = tool_calls.plugins
        assert (good.status, living.status) == ("ready", "broken")
        assert living.reason.startswith(reason)
        for name in ("tell_state", "tell_state_async"):
            answer = await ask(tool_calls, name)
            assert (answer.is_error, answer.outcome) == (True, "error")
            assert answer.result == f'The tool "{name}" is out of service. Do not call it again in this conversation.'
        assert (await ask(tool_calls, "work")).result == "done"
    assert time.monotonic() - begin < WAIT_LIMIT / 2
    assert reason in caplog.text


async def test_a_lifespan_that_breaks_later_answers_for_what_runs() -> None:
    break_now = threading.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async def break_down() -> None:
            await trio.to_thread.run_sync(break_now.wait, WAIT_LIMIT)
            raise ConnectionError("gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(break_down)
            yield

    async with open_tool_calls(Plugins((GOOD, make_living_plugin(lifespan))), ToolsConfig()) as tool_calls:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                answer = await ask(tool_calls, "sleep")
                assert (answer.is_error, answer.outcome) == (True, "stopped")
                assert answer.result == 'The tool "sleep" was stopped before it finished.'

            for _ in range(5):
                nursery.start_soon(call)
            await trio.sleep(0.05)
            break_now.set()
        with trio.fail_after(WAIT_LIMIT):
            while tool_calls.plugins[1].status == "ready":  # it is known a moment later
                await trio.sleep(0.01)
        assert "ExceptionGroup" in tool_calls.plugins[1].reason
        assert "out of service" in (await ask(tool_calls, "sleep")).result
        assert (await ask(tool_calls, "work")).result == "done"


async def test_a_lifespan_that_ends_by_itself_is_said() -> None:
    end_now = threading.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async def end() -> None:
            await trio.to_thread.run_sync(end_now.wait, WAIT_LIMIT)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            yield

    async with open_tool_calls(Plugins((make_living_plugin(lifespan),)), ToolsConfig()) as tool_calls:
        end_now.set()
        with trio.fail_after(WAIT_LIMIT):
            while tool_calls.plugins[0].status == "ready":
                assert (await ask(tool_calls, "tell_state_async")).outcome in ("ok", "stopped", "error")
                await trio.sleep(0.001)
        assert tool_calls.plugins[0].reason == "its lifespan ended too early"


async def test_a_lifespan_that_fails_at_its_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise ValueError("too late")

    async with open_tool_calls(Plugins((make_living_plugin(lifespan),)), ToolsConfig()):
        pass
    assert 'the plugin "living" (convaid-living 1.0) did not close well: its lifespan failed (ValueError' in caplog.text


async def test_closing_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "CLOSE_LIMIT", 0.2)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        time.sleep(WAIT_LIMIT)  # noqa: ASYNC251  # that is the point

    begin = time.monotonic()
    async with open_tool_calls(Plugins((GOOD, make_living_plugin(lifespan))), ToolsConfig()):
        pass
    assert time.monotonic() - begin < WAIT_LIMIT / 2
    (record,) = caplog.records
    assert f"does not end and is left behind, at {__file__}:" in record.message


async def test_closing_does_not_wait_for_a_tool_that_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "CLOSE_LIMIT", 0.2)
    staying = threading.Event()

    @tool(name="stay")
    async def begin_to_stay() -> None:
        """Sleep, and not be cancelled."""
        staying.set()
        await stay.function()

    begin = time.monotonic()
    plugins = Plugins((make_plugin(begin_to_stay, sleep),))
    async with open_tool_calls(plugins, ToolsConfig()) as tool_calls, trio.open_nursery() as nursery:
        nursery.start_soon(ask, tool_calls, "stay")
        nursery.start_soon(ask, tool_calls, "sleep")
        await wait_for(staying.is_set)
        nursery.cancel_scope.cancel()
    assert time.monotonic() - begin < WAIT_LIMIT / 2
    assert "is left behind" in caplog.text


async def test_a_start_that_is_cancelled_closes_what_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HURRIED_CLOSE_LIMIT", 1.0)
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        seen.append("begins")
        try:
            yield
        finally:
            seen.append("ends")

    plugins = Plugins((make_living_plugin(lifespan), make_plugin(work, name="slow", lifespan=never_begin)))

    async def open_them() -> None:
        async with open_tool_calls(plugins, ToolsConfig()):
            raise AssertionError("one of them never begins")

    begin = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_them)
        await wait_for(lambda: bool(seen))
        nursery.cancel_scope.cancel()
    assert time.monotonic() - begin < WAIT_LIMIT / 2
    assert seen == ["begins", "ends"]


async def test_cancelled_closing_hurries(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(room, "CLOSE_LIMIT", WAIT_LIMIT * 2)
    monkeypatch.setattr(room, "HURRIED_CLOSE_LIMIT", 1.0)
    seen: list[str] = []

    @asynccontextmanager
    async def end_well() -> AsyncIterator[None]:
        yield
        seen.append("ends")

    @asynccontextmanager
    async def never_end() -> AsyncIterator[None]:
        yield
        await trio.sleep_forever()

    plugins = Plugins((make_living_plugin(never_end), make_plugin(name="good", lifespan=end_well)))
    with trio.fail_after(WAIT_LIMIT), trio.CancelScope() as scope:
        async with open_tool_calls(plugins, ToolsConfig()):
            scope.cancel()
    assert scope.cancel_called
    assert seen == ["ends"]
    (message,) = caplog.messages
    assert message.startswith('the plugin "living" (convaid-living 1.0) does not end and is left behind')


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_tool_calls(Plugins((GOOD,)), ToolsConfig()):
            raise ZeroDivisionError


# --- observers ------------------------------------------------------------------------------------------------------


def make_event(number: int) -> Connecting:
    return Connecting(f"talk_{number}", "example.org")


async def wait_for(check: Callable[[], bool]) -> None:
    with trio.fail_after(WAIT_LIMIT):
        while not check():  # other threads have no event of ours to set
            await trio.sleep(0.005)


@pytest.mark.parametrize("is_async", [False, True])
async def test_observers_see_every_event_in_order_in_their_room(is_async: bool) -> None:
    seen: list[str] = []
    threads: set[int] = set()

    def observe(event: Any) -> None:
        seen.append(event.conversation)
        threads.add(threading.get_ident())

    async def observe_async(event: Any) -> None:
        await trio.lowlevel.checkpoint()
        observe(event)

    plugin = make_plugin(tell_thread_async, observe=observe_async if is_async else observe)
    async with open_tool_calls(Plugins((GOOD, plugin)), ToolsConfig()) as tool_calls:
        for number in range(500):
            tool_calls.observe(make_event(number))
        await wait_for(lambda: len(seen) == 500)
        assert {(await ask(tool_calls, "tell_thread_async")).result} == {str(thread) for thread in threads}
    assert seen == [f"talk_{number}" for number in range(500)]


async def test_an_observer_that_raises_is_logged_once_per_kind_and_sees_on(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def observe(event: Any) -> None:
        seen.append(event.conversation)
        raise (SystemExit if len(seen) % 2 else ValueError)("an observer's")

    async with open_tool_calls(Plugins((make_plugin(work, observe=observe),)), ToolsConfig()) as tool_calls:
        for number in range(20):
            tool_calls.observe(make_event(number))
        await wait_for(lambda: len(seen) == 20)
        assert (await ask(tool_calls, "work")).result == "done"
    assert len(caplog.records) == 2
    assert all("the observer of the plugin" in message for message in caplog.messages)


async def test_an_observer_that_is_slow_loses_events_and_only_those(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "EVENTS_HELD", 10)
    taken, go_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def observe(event: Any) -> None:
        taken.set()
        go_on.wait(WAIT_LIMIT)
        seen.append(event.conversation)

    async with open_tool_calls(Plugins((make_plugin(observe=observe),)), ToolsConfig()) as tool_calls:
        tool_calls.observe(make_event(0))
        await wait_for(taken.is_set)
        for number in range(1, 31):
            tool_calls.observe(make_event(number))
        go_on.set()
        await wait_for(lambda: len(seen) == 11)
        tool_calls.observe(make_event(31))
        await wait_for(lambda: len(seen) == 12)
    assert seen == [f"talk_{number}" for number in [*range(11), 31]]
    assert [message.partition(") ")[2] for message in caplog.messages] == [
        "is too slow to observe: 10 events wait, others are lost",
        "observes again; it has missed 20 events",
    ]


# --- the process ----------------------------------------------------------------------------------------------------


def test_a_process_ends_although_plugins_do_not() -> None:
    """A thread of a tool and a room that block for a minute do not keep the process, nor make it complain."""
    program = """
        import time
        import trio
        from convaid import tool
        from convaid.calls import open_tool_calls, room
        from convaid.config.model import ToolsConfig
        from convaid.plugins import Plugin, Plugins
        from convaid.protocol.from_agent import ClientToolCall

        room.CLOSE_LIMIT = 0.2

        @tool
        def block() -> None:
            "Block."
            time.sleep(60)

        @tool
        async def block_room() -> None:
            "Block."
            time.sleep(60)

        async def main():
            plugin = Plugin("rude", "rude", "rude", "1", "ready", tools=(block, block_room))
            async with open_tool_calls(Plugins((plugin,)), ToolsConfig(time_limit=0.8)) as tool_calls:
                for name in ("block", "block_room"):
                    print((await tool_calls.call(ClientToolCall(name, "call_1"), "main", "conv_1")).outcome)

        trio.run(main)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.split() == ["time-out", "time-out"]
    expected = ("does not end and is left behind", "goes on although it was given up")  # and no traceback
    assert all(any(words in line for words in expected) for line in done.stderr.splitlines())
    assert 'the plugin "rude" (rude 1) does not end and is left behind' in done.stderr
