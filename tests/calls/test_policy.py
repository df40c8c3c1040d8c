"""What an operator's policy does to tool calls: permission, rate, overlap, what goes on and what is told late."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
from attrs import define, field

from convaid import Tool, ToolContext, tool
from convaid.calls import ToolCalls, gates, open_tool_calls
from convaid.config.policy import PermissionRule, ToolPolicy, ToolsConfig
from convaid.events import ApprovalRequest, ToolAnswer
from convaid.journal import open_journal
from convaid.protocol.from_agent import ClientToolCall
from convaid.session.late import LateResult
from tests.calls.plugin import TIME_LIMIT, WAIT_LIMIT, Number, add, ask, make_plugins


@define(eq=False)
class Gated:
    """Tools that begin, and end when they are let go; an async one and a sync one."""

    begun: list[int] = field(factory=list)
    cancelled: list[int] = field(factory=list)
    go: threading.Event = field(factory=threading.Event)
    _changed: threading.Condition = field(factory=threading.Condition)

    def note(self, numbers: list[int], number: int) -> None:
        with self._changed:
            numbers.append(number)
            self._changed.notify_all()

    async def wait_for(self, numbers: list[int], count: int) -> None:
        def wait() -> None:
            with self._changed:
                assert self._changed.wait_for(lambda: len(numbers) >= count, WAIT_LIMIT)

        await trio.to_thread.run_sync(wait)

    def make_tools(self) -> list[Tool]:
        @tool
        async def work(number: Number) -> int:
            """Work."""
            self.note(self.begun, number)
            try:
                while not self.go.is_set():
                    await trio.sleep(0.01)
            except trio.Cancelled:
                self.note(self.cancelled, number)
                raise
            return number

        @tool
        def work_sync(number: Number) -> int:
            """Work."""
            self.note(self.begun, number)
            assert self.go.wait(WAIT_LIMIT)
            return number

        return [work, work_sync]


@define(eq=False)
class Told:
    """What was delivered late."""

    results: list[LateResult] = field(factory=list)
    _another: trio.Event = field(factory=trio.Event)

    def deliver(self, conversation: str, result: LateResult) -> None:
        assert conversation == "main"
        self.results.append(result)
        self._another.set()

    async def wait(self) -> str:
        with trio.fail_after(WAIT_LIMIT):
            await self._another.wait()
        return self.results[0].text


@asynccontextmanager
async def open_gated(**policy: Any) -> AsyncIterator[tuple[ToolCalls, Gated, Told]]:
    gated, told = Gated(), Told()
    config = ToolsConfig(named={"*": ToolPolicy(**policy)})
    async with open_tool_calls(make_plugins(*gated.make_tools()), config, deliver=told.deliver) as tool_calls:
        try:
            yield tool_calls, gated, told
        finally:
            gated.go.set()


@define(eq=False)
class Asked:
    """One call, made in the background."""

    answer: ToolAnswer | None = None
    done: trio.Event = field(factory=trio.Event)
    scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def make(self, tool_calls: ToolCalls, name: str, number: int) -> None:
        with self.scope:
            call = ClientToolCall(name, f"call_{number}", {"number": number})
            self.answer = await tool_calls.call(call, "main", "conv_1")
        self.done.set()

    async def wait(self) -> ToolAnswer:
        with trio.fail_after(WAIT_LIMIT):
            await self.done.wait()
        assert self.answer is not None
        return self.answer


def begin(nursery: trio.Nursery, tool_calls: ToolCalls, name: str, number: int) -> Asked:
    asked = Asked()
    nursery.start_soon(asked.make, tool_calls, name, number)
    return asked


BOTH = pytest.mark.parametrize("name", ["work", "work_sync"])


# --- whose word counts --------------------------------------------------------------------------------------------


def test_the_closest_table_that_has_a_setting_counts() -> None:
    config = ToolsConfig(
        named={
            "*": ToolPolicy(time_limit=1, overlap="queue", parallel=1),
            "tried.*": ToolPolicy(time_limit=2, overlap="single"),
            "add": ToolPolicy(time_limit=3),
        }
    )
    policy = config.find_policy("add", "tried")
    assert (policy.time_limit, policy.overlap, policy.parallel, policy.result_size) == (3, "single", 1, 65536)
    assert config.find_policy("add", "other").overlap == "queue"
    assert config.find_policy("take", "tried").time_limit == 2


@tool
def take_text(text: Annotated[str, "any"]) -> None:
    """Take a text."""


# --- permission ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "parameters", "expected"),
    [
        ({"a": "1"}, {"a": 1}, "deny"),
        ({"a": "1"}, {"a": 11}, "allow"),
        ({"text": ".*secret.*"}, {"text": "a\nsecret"}, "deny"),
        ({"text": "secret"}, {"text": "a secret"}, "allow"),
        ({"card.number": "4.*"}, {"card": {"number": "4111"}}, "deny"),
        ({"card.number": "4.*"}, {"card": 4}, "allow"),
        ({"a": "1", "b": "2"}, {"a": 1}, "allow"),
        ({"a": "1", "b": "true"}, {"a": 1, "b": True}, "deny"),
        ({"a": ".*"}, None, "allow"),
        ({"a": "x"}, {"a": "y" * 5000}, "deny"),
    ],
)
def test_a_rule_is_for_the_arguments_that_it_names(arguments: dict[str, str], parameters: Any, expected: str) -> None:
    policy = ToolPolicy(permission="allow", permissions=(PermissionRule(arguments, "deny"),))
    assert policy.find_permission(parameters) == expected


def test_the_first_rule_that_fits_wins() -> None:
    rules = (PermissionRule({"a": "1"}, "allow"), PermissionRule({"a": ".*"}, "ask"))
    policy = ToolPolicy(permission="deny", permissions=rules)
    assert [policy.find_permission({"a": a}) for a in (1, 2)] == ["allow", "ask"]
    assert policy.find_permission({}) == "deny"


@pytest.mark.parametrize("strictest", ["deny", "ask"])
async def test_a_pattern_that_takes_too_long_is_told_once_and_allows_nothing(
    strictest: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rules = (PermissionRule({"text": "(a|a)+"}, "allow"), PermissionRule({"text": "never"}, strictest))
    async with open_tool_calls(
        make_plugins(take_text), ToolsConfig(named={"take_text": ToolPolicy(permissions=rules)})
    ) as tool_calls:
        for text, outcome in [("a" * 60 + "!", "denied"), ("aaa", "ok"), ("a" * 70 + "!", "denied")]:
            with trio.fail_after(WAIT_LIMIT):
                assert (await ask(tool_calls, "take_text", {"text": text})).outcome == outcome
    (told,) = [line for line in caplog.messages if "takes too long" in line]
    assert told.startswith('the tool "take_text": in its "permissions", the pattern \'(a|a)+\' takes too long')
    assert told.endswith(f'Until then, calls like this have the permission "{strictest}"')
    assert "aaaaaa" not in caplog.text


async def test_what_is_denied_is_answered_and_not_run() -> None:
    async with open_gated(permission="deny") as (tool_calls, gated, _):
        answer = await ask(tool_calls, "work", {"number": 1})
    assert (answer.outcome, answer.is_error, gated.begun) == ("denied", True, [])
    assert "not permitted" in answer.result


@define
class Person:
    """Whoever is asked for permission."""

    decides: Callable[[ApprovalRequest, Callable[[bool | None], None]], None]
    asked: list[ApprovalRequest] = field(factory=list)
    taken_back: int = 0

    def ask(self, request: ApprovalRequest, answer: Callable[[bool | None], None]) -> Callable[[], None]:
        self.asked.append(request)
        self.decides(request, answer)
        return self._take_back

    def _take_back(self) -> None:
        self.taken_back += 1


def say(decision: bool | None) -> Callable[[ApprovalRequest, Callable[[bool | None], None]], None]:
    return lambda request, answer: answer(decision)


def stay_silent(request: ApprovalRequest, answer: Callable[[bool | None], None]) -> None:
    pass


@pytest.mark.parametrize(
    ("decisions", "outcome", "words"),
    [
        ([say(True)], "ok", "3"),
        ([say(False)], "denied", "permission was denied"),
        ([say(None)], "denied", "nobody allowed it in time"),
        ([say(None), say(True)], "ok", "3"),
        ([stay_silent, say(False)], "denied", "permission was denied"),
        ([stay_silent], "denied", "nobody allowed it in time"),
        ([], "denied", "nobody can be asked"),
    ],
)
async def test_a_call_that_asks_runs_only_if_somebody_allows_it(
    decisions: list[Any], outcome: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "APPROVAL_SHARE", 0.05)
    people = [Person(decides) for decides in decisions]
    config = ToolsConfig(time_limit=2 * WAIT_LIMIT, named={"add": ToolPolicy(permission="ask")})
    async with open_tool_calls(make_plugins(add), config) as tool_calls:
        tool_calls.approvals.approvers.extend(people)
        answer = await ask(tool_calls, "add", {"a": 1, "b": 2})
    assert answer.outcome == outcome
    assert words in answer.result
    assert answer.seconds < WAIT_LIMIT, "it fails closed before the deadline"
    assert all(person.asked[0].call.parameters == {"a": 1, "b": 2} for person in people)
    assert all(person.taken_back == 1 for person in people)


async def test_an_answer_that_comes_too_late_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "APPROVAL_SHARE", 0.02)
    answers: list[Callable[[bool | None], None]] = []
    person = Person(lambda request, answer: answers.append(answer))
    config = ToolsConfig(time_limit=2 * WAIT_LIMIT, named={"add": ToolPolicy(permission="ask")})
    async with open_tool_calls(make_plugins(add), config) as tool_calls:
        tool_calls.approvals.approvers.append(person)
        assert (await ask(tool_calls, "add", {"a": 1})).outcome == "denied"
        answers[0](True)


# --- how often, and how many --------------------------------------------------------------------------------------


async def test_more_calls_than_the_rate_allows_are_told_when_to_come_back() -> None:
    async with open_tool_calls(make_plugins(add), ToolsConfig(named={"add": ToolPolicy(rate="2/h")})) as tool_calls:
        outcomes = [(await ask(tool_calls, "add", {"a": 1})) for _ in range(3)]
    assert [answer.outcome for answer in outcomes] == ["ok", "ok", "overloaded"]
    assert "2 times in 3600 s" in outcomes[2].result


@BOTH
async def test_queue_runs_one_after_the_other(name: str) -> None:
    async with open_gated(overlap="queue") as (tool_calls, gated, _), trio.open_nursery() as nursery:
        first = begin(nursery, tool_calls, name, 1)
        await gated.wait_for(gated.begun, 1)
        second = begin(nursery, tool_calls, name, 2)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert gated.begun == [1]
        gated.go.set()
        assert [(await each.wait()).result for each in (first, second)] == ["1", "2"]


@BOTH
async def test_single_refuses_the_second(name: str) -> None:
    async with open_gated(overlap="single") as (tool_calls, gated, _), trio.open_nursery() as nursery:
        first = begin(nursery, tool_calls, name, 1)
        await gated.wait_for(gated.begun, 1)
        second = await begin(nursery, tool_calls, name, 2).wait()
        assert (second.outcome, gated.begun) == ("overloaded", [1])
        assert "still runs" in second.result
        gated.go.set()
        assert (await first.wait()).result == "1"
        assert (await begin(nursery, tool_calls, name, 3).wait()).result == "3"


async def test_single_is_for_one_conversation() -> None:
    async with open_gated(overlap="single") as (tool_calls, gated, _), trio.open_nursery() as nursery:
        begin(nursery, tool_calls, "work", 1)
        await gated.wait_for(gated.begun, 1)
        gated.go.set()
        call = ClientToolCall("work", "call_1", {"number": 2})
        assert (await tool_calls.call(call, "other", "conv_2")).result == "2"


async def test_replace_stops_the_first_and_answers_it() -> None:
    async with open_gated(overlap="replace") as (tool_calls, gated, _), trio.open_nursery() as nursery:
        first = begin(nursery, tool_calls, "work", 1)
        await gated.wait_for(gated.begun, 1)
        second = begin(nursery, tool_calls, "work", 2)
        answer = await first.wait()
        assert (answer.outcome, "newer call" in answer.result) == ("stopped", True)
        await gated.wait_for(gated.begun, 2)
        assert gated.cancelled == [1]
        gated.go.set()
        assert (await second.wait()).result == "2"


async def test_replace_waits_for_a_thread_that_cannot_be_stopped() -> None:
    async with open_gated(overlap="replace") as (tool_calls, gated, _), trio.open_nursery() as nursery:
        first = begin(nursery, tool_calls, "work_sync", 1)
        await gated.wait_for(gated.begun, 1)
        second = begin(nursery, tool_calls, "work_sync", 2)
        assert (await first.wait()).outcome == "stopped"
        assert gated.begun == [1]
        gated.go.set()
        assert (await second.wait()).result == "2"


# --- interruption and lost connections ----------------------------------------------------------------------------


@pytest.mark.parametrize(("on_interrupt", "outcome"), [("keep", "ok"), ("cancel", "stopped")])
async def test_an_interruption_stops_what_is_to_be_stopped(on_interrupt: str, outcome: str) -> None:
    async with open_gated(on_interrupt=on_interrupt) as (tool_calls, gated, _), trio.open_nursery() as nursery:
        asked = begin(nursery, tool_calls, "work", 1)
        await gated.wait_for(gated.begun, 1)
        tool_calls.interrupt("conv_other")
        tool_calls.interrupt("conv_1")
        if on_interrupt == "keep":
            gated.go.set()
        answer = await asked.wait()
        assert answer.outcome == outcome
        if on_interrupt == "cancel":
            await gated.wait_for(gated.cancelled, 1)
        assert len(gated.cancelled) == (on_interrupt == "cancel")


@pytest.mark.parametrize("deliver_late", [False, True])
@BOTH
async def test_a_kept_tool_outlives_its_connection(name: str, deliver_late: bool) -> None:
    async with open_gated(on_disconnect="keep", deliver_late=deliver_late) as (tool_calls, gated, told):
        async with trio.open_nursery() as nursery:
            asked = begin(nursery, tool_calls, name, 7)
            await gated.wait_for(gated.begun, 1)
            asked.scope.cancel()
        (run,) = tool_calls.aftermath.kept
        gated.go.set()
        with trio.fail_after(WAIT_LIMIT):
            await run.over.wait()
        assert gated.cancelled == []
        assert tool_calls.aftermath.kept == set()
        texts = [result.text for result in told.results]
        expected = f'The tool "{name}", which was called earlier with {{"number":7}}, has ended: 7'
        assert texts == ([expected] if deliver_late else [])


async def test_a_tool_can_end_with_its_connection() -> None:
    async with open_gated(on_disconnect="cancel") as (tool_calls, gated, told):
        async with trio.open_nursery() as nursery:
            asked = begin(nursery, tool_calls, "work", 1)
            await gated.wait_for(gated.begun, 1)
            asked.scope.cancel()
        await gated.wait_for(gated.cancelled, 1)
        assert (tool_calls.aftermath.kept, told.results) == (set(), [])


# --- deadlines, and what comes after them -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "own", "expected"),
    [
        ({"add": 10}, 15, 8),
        ({"add": 60}, 15, 15),
        ({"add": 3}, 15, 1.5),
        ({"add": None}, 100, 100),
        ({}, 100, 18),
        ({}, 15, 15),
        (None, 100, 18),
    ],
)
async def test_the_deadline_is_the_nearer_of_ours_and_the_platforms(known: Any, own: float, expected: float) -> None:
    seen: list[float] = []

    @tool(name="add", time_limit=own)
    def look(context: ToolContext) -> None:
        """Look at the deadline."""
        seen.append(context.count_seconds_left())

    async with open_tool_calls(make_plugins(look), ToolsConfig()) as tool_calls:
        if known is not None:
            tool_calls.learn_response_timeouts("main", known)
        begin = time.monotonic()
        await ask(tool_calls, "add")
        assert seen[0] <= expected <= seen[0] + time.monotonic() - begin + 0.01


@pytest.mark.parametrize("options", [{"expects_response": False}, {"execution_mode": "async"}])
async def test_a_tool_that_the_platform_does_not_wait_for_has_its_own_limit_only(options: Any) -> None:
    seen: list[float] = []

    @tool(time_limit=100, **options)
    def look(context: ToolContext) -> None:
        """Look at the deadline."""
        seen.append(context.count_seconds_left())

    async with open_tool_calls(make_plugins(look), ToolsConfig()) as tool_calls:
        await ask(tool_calls, "look")
    assert seen[0] > 90


@pytest.mark.parametrize("deliver_late", [False, True])
@BOTH
async def test_a_late_result_is_dropped_or_delivered(name: str, deliver_late: bool) -> None:
    async with open_gated(deliver_late=deliver_late) as (tool_calls, gated, told), trio.open_nursery() as nursery:
        tool_calls.learn_response_timeouts("main", {name: 0.1 if deliver_late else 2 * TIME_LIMIT})  # half is ours
        answer = await begin(nursery, tool_calls, name, 1).wait()
        assert answer.outcome == "time-out"
        assert ("You will be told" in answer.result) is deliver_late
        if deliver_late:
            gated.go.set()
            assert (await told.wait()).endswith("has ended: 1")
        elif name == "work":
            await gated.wait_for(gated.cancelled, 1)
    assert len(told.results) == deliver_late


@BOTH
async def test_a_late_result_ends_with_the_tools_own_limit(name: str) -> None:
    async with (
        open_gated(deliver_late=True, time_limit=TIME_LIMIT) as (tool_calls, gated, told),
        trio.open_nursery() as nursery,
    ):
        tool_calls.learn_response_timeouts("main", {name: 0.04})
        assert (await begin(nursery, tool_calls, name, 1).wait()).outcome == "time-out"
        assert f"took longer than {TIME_LIMIT} s" in await told.wait()
        if name == "work":
            await gated.wait_for(gated.cancelled, 1)
        gated.go.set()
    assert len(told.results) == 1


def make_deferring_tools(go: threading.Event) -> list[Tool]:
    @tool
    async def look_up(context: ToolContext) -> str:
        """Look up."""
        context.defer("I am looking.")
        context.defer("I am still looking.")
        while not go.is_set():
            await trio.sleep(0.01)
        return "found"

    @tool
    def look_up_sync(context: ToolContext) -> str:
        """Look up."""
        context.defer("I am looking.")
        assert go.wait(WAIT_LIMIT)
        raise ValueError("lost")

    return [look_up, look_up_sync]


@pytest.mark.parametrize(("name", "words"), [("look_up", "found"), ("look_up_sync", "fault in it (ValueError)")])
async def test_a_deferred_answer_comes_later_be_it_good_or_bad(name: str, words: str) -> None:
    go, told = threading.Event(), Told()
    async with open_tool_calls(
        make_plugins(*make_deferring_tools(go)), ToolsConfig(), deliver=told.deliver
    ) as tool_calls:
        answer = await ask(tool_calls, name)
        assert (answer.result, answer.outcome, answer.is_error) == ("I am looking.", "deferred", False)
        go.set()
        assert words in await told.wait()
        assert len(told.results) == 1


async def test_a_deferred_tool_that_takes_too_long_is_told_to_have() -> None:
    go, told = threading.Event(), Told()
    config = ToolsConfig(time_limit=TIME_LIMIT)
    async with open_tool_calls(make_plugins(*make_deferring_tools(go)), config, deliver=told.deliver) as tool_calls:
        assert (await ask(tool_calls, "look_up")).outcome == "deferred"
        assert f"took longer than {TIME_LIMIT} s" in await told.wait()
    assert len(told.results) == 1


# --- rehearsal and journal ----------------------------------------------------------------------------------------


async def test_a_rehearsal_runs_nothing_and_the_log_says_what_it_would_have(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    gated = Gated()
    config = ToolsConfig(named={"work_sync": ToolPolicy(mock="done it", redact=("number",))})
    async with open_tool_calls(make_plugins(*gated.make_tools()), config, is_dry=True) as tool_calls:
        answers = [await ask(tool_calls, name, {"number": 1}) for name in ("work", "work_sync")]
        wrong = await ask(tool_calls, "work", {"number": "one"})
    assert gated.begun == []
    assert [answer.outcome for answer in (*answers, wrong)] == ["dry run", "dry run", "invalid"]
    assert answers[1].result == "done it"
    assert not answers[0].is_error
    assert caplog.messages == [
        'main: the tool "work" would have run with {"number":1}',
        'main: the tool "work_sync" would have run with {"number":"***"}',
    ]


async def test_a_result_is_cut_where_the_operator_says() -> None:
    @tool
    def talk() -> str:
        """Talk."""
        return "x" * 100

    for size in (1, 60):
        async with open_tool_calls(make_plugins(talk), ToolsConfig(named={"*": ToolPolicy(result_size=size)})) as calls:
            assert len((await ask(calls, "talk")).result) == size


async def test_a_call_is_run_once_however_often_it_comes(tmp_path: Path) -> None:
    gated = Gated()
    gated.go.set()
    answers = []
    for _ in range(2):  # the second time after a restart
        with open_journal(tmp_path / "journal.sqlite") as journal:
            async with open_tool_calls(make_plugins(*gated.make_tools()), ToolsConfig(), journal=journal) as tool_calls:
                answers += [await ask(tool_calls, name, {"number": 1}, name) for name in ("work", "work_sync")]
                answers += [await ask(tool_calls, name, {"number": 1}, name) for name in ("work", "work_sync")]
    assert gated.begun == [1, 1]
    assert [answer.outcome for answer in answers] == ["ok", "ok", *["repeated"] * 6]
    assert "made before" in answers[2].result


async def test_what_cannot_be_recorded_is_not_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gated = Gated()
    with open_journal(tmp_path / "journal.sqlite") as journal:
        journal.close()
        async with open_tool_calls(make_plugins(*gated.make_tools()), ToolsConfig(), journal=journal) as tool_calls:
            answer = await ask(tool_calls, "work", {"number": 1})
    assert (answer.outcome, gated.begun) == ("error", [])
    assert "cannot be recorded" in answer.result
    assert "journal.sqlite" in caplog.text


async def test_a_result_that_nobody_was_told_waits_in_the_journal(tmp_path: Path) -> None:
    gated, told = Gated(), Told()
    config = ToolsConfig(named={"*": ToolPolicy(deliver_late=True)})
    with open_journal(tmp_path / "journal.sqlite") as journal:
        async with open_tool_calls(
            make_plugins(*gated.make_tools()), config, journal=journal, deliver=told.deliver
        ) as tool_calls:
            tool_calls.learn_response_timeouts("main", {"work": 0.1})
            assert (await ask(tool_calls, "work", {"number": 1})).outcome == "time-out"
            gated.go.set()
            text = await told.wait()
            (late,) = journal.list_late("main")
            assert late.text == text
            told.results[0].told()
            with trio.fail_after(WAIT_LIMIT):
                while journal.list_late("main"):
                    await trio.sleep(0.01)
