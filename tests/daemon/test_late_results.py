"""Tools that outlive their calls: what the agent is told of them, and when; the journal; a rehearsal."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import pytest
import trio
import trio.testing

from convaid import ToolContext, events, tool
from convaid.errors import ConfigurationError, JournalError
from convaid.journal import Journal, LateResult, find_journal_path, open_journal
from convaid.protocol.to_agent import ContextualUpdate
from convaid.simulator.record import ConversationRecord

from .holding import LIMIT, MAIN, hold

CALL = '{call = {tool = "look_up", parameters = {place = "Rome"}, wait = false}}'
WAIT = "{expect_results = {}}"
LATE = "\n[tools.look_up]\ndeliver_late = true\n"


def list_updates(record: ConversationRecord) -> list[str]:
    return [message.text for message in record.messages if isinstance(message, ContextualUpdate)]


async def wait_for_update(record: ConversationRecord) -> str:
    while not list_updates(record):
        await trio.sleep(0.01)
    return list_updates(record)[0]


async def test_a_deferred_result_reaches_the_agent_in_the_same_conversation() -> None:
    go = threading.Event()

    @tool
    def look_up(place: Annotated[str, "where"], context: ToolContext) -> str:
        """Look up."""
        context.defer("I am looking.")
        assert go.wait(LIMIT)
        return "sunny"

    async with hold(f"steps = [{CALL}, {{expect_results = {{}}}}]", tools=[look_up]) as held:
        (ended,) = await held.wait_for(events.ToolCallEnded)
        assert ended.answer.outcome == "deferred"
        record = held.simulator.conversations[0]
        await record.calls[0].answered.wait()
        assert record.calls[0].result == "I am looking."
        go.set()
        text = await wait_for_update(record)
        assert text == 'The tool "look_up", which was called earlier with {"place":"Rome"}, has ended: sunny'
        assert record.calls[0].is_error is False


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_result_that_missed_its_conversation_is_told_in_the_next(is_async: bool) -> None:
    go, began = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert go.wait(LIMIT)

    @tool(name="look_up")
    def look_up_sync(place: Annotated[str, "where"]) -> str:
        """Look up."""
        work()
        return "sunny"

    @tool(name="look_up")
    async def look_up_async(place: Annotated[str, "where"]) -> str:
        """Look up."""
        await trio.to_thread.run_sync(work)
        return "sunny"

    tools = [look_up_async if is_async else look_up_sync]
    listen = "steps = [{silence = 10}]"
    async with hold(
        f"steps = [{CALL}, {{expect_text = {{}}}}, {{drop = {{}}}}]", listen, tools=tools, configuration=MAIN + LATE
    ) as held:
        await trio.to_thread.run_sync(began.wait, LIMIT)
        held.daemon.conversations["main"].say("It has begun.")
        (ended,) = await held.wait_for(events.ToolCallEnded)
        assert (ended.answer.outcome, ended.is_delivered) == ("stopped", False)
        await held.wait_for(events.Connected, 2)
        go.set()
        first, second = held.simulator.conversations
        assert (await wait_for_update(second)).endswith("has ended: sunny")
        assert list_updates(first) == []


async def test_a_result_that_nobody_was_told_is_told_after_a_restart() -> None:
    with open_journal(find_journal_path()) as journal:
        journal.begin("conv_old", "call_1", "look_up", "main")
        journal.end("conv_old", "call_1", "ok", late="It was sunny.")
        journal.begin("conv_old", "call_2", "look_up", "another")
        journal.end("conv_old", "call_2", "ok", late="It was rainy.")
    async with hold("steps = [{silence = 10}]") as held:
        await held.wait_for(events.Connected)
        assert await wait_for_update(held.simulator.conversations[0]) == "It was sunny."
    with open_journal(find_journal_path()) as journal:
        assert journal.list_late("main") == []
        assert len(journal.list_late("another")) == 1


async def test_calls_that_a_crash_cut_off_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with open_journal(find_journal_path()) as journal:
        journal.begin("conv_old", "call_1", "look_up", "main")
    async with hold("steps = [{end = {}}]") as held:
        await held.over.wait()
    assert 'the tool "look_up" was running when the daemon ended' in caplog.text
    assert "conv_old, call_1" in caplog.text


async def test_a_journal_that_cannot_be_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    configuration = f'{MAIN}\n[tools]\njournal = "{tmp_path}/file/journal"\n'
    with pytest.RaisesGroup(
        pytest.RaisesExc(ConfigurationError, match="tools.journal: the journal of tool calls cannot be opened"),
        flatten_subgroups=True,
    ):
        async with hold("steps = [{end = {}}]", configuration=configuration):
            await trio.sleep_forever()


async def test_an_interruption_cancels_the_tools_that_are_not_to_go_on() -> None:
    began, cancelled = threading.Event(), threading.Event()

    @tool
    async def look_up(place: Annotated[str, "where"]) -> str:
        """Look up."""
        began.set()
        try:
            await trio.sleep(LIMIT)
        except trio.Cancelled:
            cancelled.set()
            raise
        return "never"

    speech = '{say = "This goes on for longer than the user cares to listen to it."}'
    steps = f"steps = [{CALL}, {{expect_text = {{}}}}, {speech}, {{interrupt = {{}}}}, {WAIT}, {{end = {{}}}}]"
    configuration = f'{MAIN}\n[tools.look_up]\non_interrupt = "cancel"\n'
    async with hold(steps, tools=[look_up], configuration=configuration) as held:
        await trio.to_thread.run_sync(began.wait, LIMIT)
        held.daemon.conversations["main"].say("It has begun.")
        await held.over.wait()
        (record,) = held.simulator.conversations
        assert "because the user interrupted" in (record.calls[0].result or "")
        assert record.problem is None
        assert await trio.to_thread.run_sync(cancelled.wait, LIMIT)


async def test_a_journal_that_cannot_be_read_costs_only_what_it_would_have_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> list[LateResult]:
        raise JournalError("the journal cannot be used (disk I/O error)")

    monkeypatch.setattr(Journal, "list_late", fail)
    async with hold("steps = [{end = {}}]") as held:
        await held.over.wait()
        assert held.of_kind(events.Connected)
    assert "what earlier tools came to is not told: the journal cannot be used (disk I/O error)" in caplog.text
