"""What agents may send, and plugins may do, at the edges of a call: it costs that call, and nobody else notices."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, ClassVar

import attrs
import orjson
import pytest
import trio
import trio.testing

from convaid import Tool, ToolContext, ToolError, tool
from convaid.calls import ToolCalls, note_told, open_tool_calls
from convaid.calls.run import Run
from convaid.config.policy import PermissionRule, ToolPolicy, ToolsConfig
from convaid.events import ApprovalRequest
from convaid.journal import open_journal
from convaid.plugins import Plugins
from convaid.protocol.from_agent import ClientToolCall

from .plugin import TIME_LIMIT, WAIT_LIMIT, add, ask, make_plugin, make_plugins
from .test_policy import BOTH, Gated, Told, begin, open_gated
from .test_rooms import wait_for

DEEP = orjson.loads("[" * 1000 + "]" * 1000)  # about as deep as a frame may be


def make_undemanding(work: Tool, work_sync: Tool) -> list[Tool]:
    """The same tools, but for any arguments."""

    async def call(**arguments: Any) -> Any:
        return await work.function(1)

    def call_sync(**arguments: Any) -> Any:
        return work_sync.function(1)

    shape = dict[str, Any]
    return [
        attrs.evolve(work, function=call, arguments_shape=shape),
        attrs.evolve(work_sync, function=call_sync, arguments_shape=shape),
    ]


# --- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [None, {"": None}, {"a": DEEP}, {"a" * 1_000_000: "x" * 1_000_000}])
@BOTH
async def test_a_late_result_is_told_whatever_the_arguments_were(name: str, parameters: Any, tmp_path: Path) -> None:
    gated, told = Gated(), Told()
    plugins = make_plugins(*make_undemanding(*gated.make_tools()))
    config = ToolsConfig(named={"*": ToolPolicy(deliver_late=True)})
    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_tool_calls(plugins, config, journal=journal, deliver=told.deliver) as tool_calls:
            tool_calls.learn_response_timeouts("main", {name: 0.1})
            assert (await ask(tool_calls, name, parameters)).outcome == "time-out"
            gated.go.set()
            text = await told.wait()
            assert text.endswith("has ended: 1")
            assert len(text) < 300
            assert [late.text for late in journal.list_late("main")] == [text]


async def test_arguments_too_deep_to_be_matched_have_the_strictest_permission() -> None:
    rules = (PermissionRule({"a": "x"}, "deny"),)
    async with open_gated(permissions=rules) as (tool_calls, gated, _):
        assert (await ask(tool_calls, "work", {"a": DEEP})).outcome == "denied"
        assert (await ask(tool_calls, "work", {"a": [0] * 1000})).outcome == "denied"
        assert (await ask(tool_calls, "work", {"a": [0]})).outcome == "invalid"
    assert gated.begun == []


async def test_what_the_journal_is_not_to_hold_is_not_in_its_late_results(tmp_path: Path) -> None:
    gated, told = Gated(), Told()
    config = ToolsConfig(named={"*": ToolPolicy(deliver_late=True, redact=("number",))})
    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_tool_calls(
            make_plugins(*gated.make_tools()), config, journal=journal, deliver=told.deliver
        ) as tool_calls:
            tool_calls.learn_response_timeouts("main", {"work": 0.1})
            await ask(tool_calls, "work", {"number": 12345})
            gated.go.set()
            assert '{"number":"***"}' in await told.wait()
    assert b'"number":12345' not in (tmp_path / "journal.sqlite").read_bytes()


# --- the time between two steps -------------------------------------------------------------------------------------


async def test_only_the_latest_of_many_runs_where_it_replaces_the_others() -> None:
    async with open_gated(overlap="replace") as (tool_calls, gated, _), trio.open_nursery() as nursery:
        first = begin(nursery, tool_calls, "work_sync", 1)
        await gated.wait_for(gated.begun, 1)
        waiting = []
        for number in (2, 3, 4):
            waiting.append(begin(nursery, tool_calls, "work_sync", number))
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert [(await each.wait()).outcome for each in (first, *waiting[:-1])] == ["stopped"] * 3
        gated.go.set()
        assert (await waiting[-1].wait()).result == "4"
        assert gated.begun == [1, 4]


@BOTH
async def test_a_call_that_is_replaced_before_it_begins_never_begins(name: str) -> None:
    async with open_gated(overlap="replace") as (tool_calls, gated, _), trio.open_nursery() as nursery:
        gated.go.set()
        calls = [begin(nursery, tool_calls, name, number) for number in range(10)]
        answers = [await each.wait() for each in calls]
        assert sorted(answer.outcome for answer in answers) == ["ok"] + ["stopped"] * 9
        assert len(gated.begun) == 1


async def test_who_puts_the_agent_off_and_is_done_at_once_need_not_have(tmp_path: Path) -> None:
    begun, go, told = threading.Event(), threading.Event(), Told()

    @tool
    def look_up(context: ToolContext) -> str:
        """Look up."""
        begun.set()
        assert go.wait(WAIT_LIMIT)
        context.defer("I am looking.")
        return "found"

    async def hold_up_the_loop() -> None:
        assert await trio.to_thread.run_sync(begun.wait, WAIT_LIMIT)
        go.set()
        while read_outcome(tmp_path / "journal.sqlite") is None:  # so that the loop hears of both at once
            time.sleep(0.001)  # noqa: ASYNC251

    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_tool_calls(
            make_plugins(look_up), ToolsConfig(), journal=journal, deliver=told.deliver
        ) as tool_calls:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hold_up_the_loop)
                answer = await ask(tool_calls, "look_up")
            assert (answer.outcome, answer.result) == ("ok", "found")
            assert (told.results, tool_calls.aftermath.kept, journal.list_late("main")) == ([], set(), [])


async def test_a_result_that_comes_with_its_deadline_is_told_once() -> None:
    @tool
    def look_up() -> str:
        """Look up."""
        time.sleep(0.1)
        return "found"

    told = Told()
    config = ToolsConfig(named={"look_up": ToolPolicy(deliver_late=True)})
    async with open_tool_calls(make_plugins(look_up), config, deliver=told.deliver) as tool_calls:
        tool_calls.learn_response_timeouts("main", {"look_up": 0.1})

        async def hold_up_the_loop() -> None:
            await trio.sleep(0.02)
            time.sleep(0.2)  # noqa: ASYNC251  # so that the loop hears of both at once

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold_up_the_loop)
            answer = await ask(tool_calls, "look_up")
        await wait_for(lambda: not tool_calls.aftermath.kept)
        assert (answer.outcome == "ok") is (not told.results)
        assert len(told.results) <= 1


async def test_a_tool_that_is_given_up_while_the_journal_waits_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convaid.journal.BUSY_LIMIT", WAIT_LIMIT)
    gated = Gated()
    gated.go.set()
    path = tmp_path / "journal.sqlite"
    with open_journal(path) as journal:
        async with open_tool_calls(
            make_plugins(*gated.make_tools()), ToolsConfig(time_limit=0.1), journal=journal
        ) as tool_calls:
            another = sqlite3.connect(path, isolation_level=None)
            another.execute("BEGIN IMMEDIATE")
            for name in ("work", "work_sync"):
                assert (await ask(tool_calls, name, {"number": 1}, name)).outcome == "time-out"
            another.execute("ROLLBACK")

            def list_outcomes() -> list[str | None]:
                return [outcome for (outcome,) in another.execute("SELECT outcome FROM calls")]

            await wait_for(lambda: list_outcomes() == ["time-out", "time-out"])
            another.close()
    assert gated.begun == []


async def test_what_has_been_told_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    go, told = threading.Event(), Told()

    @tool
    def look_up(context: ToolContext) -> str:
        """Look up."""
        context.defer("I am looking.")
        assert go.wait(WAIT_LIMIT)
        return "found"

    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_tool_calls(
            make_plugins(look_up), ToolsConfig(time_limit=TIME_LIMIT), journal=journal, deliver=told.deliver
        ) as tool_calls:
            assert (await ask(tool_calls, "look_up")).outcome == "deferred"
            assert f"took longer than {TIME_LIMIT} s" in await told.wait()
            journal.mark_told("conv_1", "call_1")
            go.set()
            await wait_for(lambda: read_outcome(tmp_path / "journal.sqlite") == "ok")
        assert journal.list_late("main") == []
    assert len(told.results) == 1


def read_outcome(path: Path) -> Any:
    with closing(sqlite3.connect(path)) as connection:
        ((outcome,),) = connection.execute("SELECT outcome FROM calls")
    return outcome


async def test_an_approval_that_has_no_time_is_denied() -> None:
    config = ToolsConfig(time_limit=1e-9, named={"add": ToolPolicy(permission="ask")})
    async with open_tool_calls(make_plugins(add), config) as tool_calls:

        class Silent:
            def ask(self, request: object, answer: object) -> Any:
                return lambda: None

        tool_calls.approvals.approvers.append(Silent())
        assert (await ask(tool_calls, "add", {"a": 1})).outcome in ("denied", "overloaded")


@pytest.mark.parametrize("overlap", ["parallel", "queue", "single", "replace"])
@pytest.mark.parametrize("seed", range(3))
async def test_everything_is_given_back_wherever_a_call_is_cut_off(overlap: Any, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)

    @tool(name="work_sync")
    def work_sync(
        pause: Annotated[float, "how long"], puts_off: Annotated[bool, "whether"], context: ToolContext
    ) -> str:
        """Work."""
        if puts_off:
            context.defer("Later.")
        time.sleep(pause)
        return "done"

    @tool(name="work")
    async def work(
        pause: Annotated[float, "how long"], puts_off: Annotated[bool, "whether"], context: ToolContext
    ) -> str:
        """Work."""
        if puts_off:
            context.defer("Later.")
        await trio.sleep(pause)
        return "done"

    policy = ToolPolicy(
        overlap=overlap,
        deliver_late=chance.random() < 0.5,
        on_disconnect=chance.choice(["keep", "cancel"]),
        on_interrupt="cancel",
        permission="ask",
        parallel=chance.choice([None, 2]),
    )
    config = ToolsConfig(time_limit=0.03, parallel=5, named={"*": policy})

    def approve(request: ApprovalRequest) -> bool:
        return True

    async def call(tool_calls: ToolCalls, number: int) -> None:
        await trio.sleep(chance.random() * 0.2)
        conversation = chance.choice(["one", "two"])
        parameters = {"pause": chance.random() * 0.04, "puts_off": chance.random() < 0.3}
        with trio.move_on_after(chance.choice([0.0, 0.001, 0.01, 0.1, 1.0])):
            name = chance.choice(["work", "work_sync"])
            await tool_calls.call(ClientToolCall(name, f"call_{number}", parameters), conversation, conversation)

    with open_journal(tmp_path / "journal.sqlite") as journal:
        plugins = Plugins((make_plugin(work, work_sync, approve=approve),))
        async with open_tool_calls(plugins, config, journal=journal) as tool_calls:
            gates = tool_calls._gates.values()
            most = {gate: gate.offer.places.value for gate in gates}
            async with trio.open_nursery() as nursery:
                for number in range(200):
                    nursery.start_soon(call, tool_calls, number)
                for _ in range(20):
                    await trio.sleep(0.01)
                    tool_calls.interrupt(chance.choice(["one", "two"]))
            await wait_for(
                lambda: not tool_calls.aftermath.kept and not any(room._has_work for room in tool_calls.rooms)
            )
            await wait_for(lambda: {gate: gate.offer.places.value for gate in gates} == most)
            assert all(turn.value == 1 for gate in gates for turn in gate._turns.values())
            assert (tool_calls._places.value, tool_calls._open_calls, tool_calls._awaited) == (5, 0, set())
            with closing(sqlite3.connect(journal.path)) as connection:  # an agent that waits is told first
                unfinished = "SELECT count(*) FROM calls WHERE outcome IS NULL"
                await wait_for(lambda: connection.execute(unfinished).fetchall() == [(0,)])


# --- what plugins raise ---------------------------------------------------------------------------------------------


def nest(levels: int) -> BaseException:
    error: BaseException = ValueError("innermost")
    for _ in range(levels):
        error = BaseExceptionGroup("around", [error])
    return error


class Slow(ToolError):
    """Says where it is asked what it says, and does not say it."""

    threads: ClassVar[set[int]] = set()

    def __str__(self) -> str:
        self.threads.add(threading.get_ident())
        raise ValueError("no words")


class Unsplit(BaseExceptionGroup[Any]):
    def split(self, *_: Any) -> Any:
        raise SystemExit


@pytest.mark.parametrize("error", [nest(3000), Slow(), Unsplit("many", [ValueError()])])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_cannot_be_described_is_seen_to_in_the_plugins_thread(error: BaseException, is_async: bool) -> None:
    @tool(name="fail")
    def fail_sync() -> None:
        """Fail."""
        raise error

    @tool(name="fail")
    async def fail_async() -> None:
        """Fail."""
        raise error

    async with open_tool_calls(make_plugins(fail_async if is_async else fail_sync, add), ToolsConfig()) as tool_calls:
        answer = await ask(tool_calls, "fail")
        assert (answer.outcome, "because of a fault in it" in answer.result) == ("error", True)
        assert (await ask(tool_calls, "add", {"a": 1})).outcome == "ok"
    assert threading.get_ident() not in Slow.threads


class Text(str):
    """A text whose methods are the plugin's."""

    threads: ClassVar[set[int]] = set()

    def __str__(self) -> str:
        return self

    def __len__(self) -> int:
        self.threads.add(threading.get_ident())
        return 5

    def isascii(self) -> bool:
        self.threads.add(threading.get_ident())
        return True


async def test_what_the_agent_is_put_off_with_is_read_in_the_plugins_thread() -> None:
    go = threading.Event()

    @tool
    def put_off(context: ToolContext) -> str:
        """Put off."""
        context.defer(Text("later"))
        assert go.wait(WAIT_LIMIT)
        raise ToolError(Text("words"))

    told = Told()
    async with open_tool_calls(make_plugins(put_off), ToolsConfig(), deliver=told.deliver) as tool_calls:
        answer = await ask(tool_calls, "put_off")
        assert (answer.outcome, answer.result) == ("deferred", "later")
        go.set()
        assert (await told.wait()).endswith("has ended: words")
    assert threading.get_ident() not in Text.threads
    assert type(answer.result) is str


async def test_asking_to_put_off_a_thousand_times_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = 0
    defer = Run.defer

    def count(run: Run, text: str) -> None:
        nonlocal heard
        heard += 1
        defer(run, text)

    monkeypatch.setattr(Run, "defer", count)
    go = threading.Event()

    @tool
    def put_off(context: ToolContext) -> None:
        """Put off."""
        context.defer("later")
        assert go.wait(WAIT_LIMIT)
        for _ in range(1000):
            context.defer("later")

    async with open_tool_calls(make_plugins(put_off), ToolsConfig()) as tool_calls:
        assert (await ask(tool_calls, "put_off")).outcome == "deferred"
        go.set()
        await wait_for(lambda: not tool_calls.aftermath.kept)
    assert heard == 1


async def test_no_thread_for_the_journal_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", refuse)
    with open_journal(tmp_path / "journal.sqlite") as journal:
        note_told(journal, "conv_1", "call_1")
    assert "is not recorded: can't start new thread" in caplog.text
