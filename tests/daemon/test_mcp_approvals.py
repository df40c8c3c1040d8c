"""The platform asks whether a server of the agent's may run a call: whoever decides on our own tools decides."""

from __future__ import annotations

import json

import trio

from convaid import events
from convaid.calls.desk import Desk
from convaid.protocol.from_agent import McpToolCall
from convaid.protocol.to_agent import McpToolApprovalResult

from .holding import MAIN, Held, hold


def ask(call_id: str, seconds: int = 300, state: str = "awaiting_approval") -> str:
    """A scenario's step."""
    call = {
        "service_id": "srv",
        "tool_call_id": call_id,
        "tool_name": "delete_everything",
        "parameters": {"really": True},
        "state": state,
        "approval_timeout_secs": seconds,
        "timestamp": "2026-11-22T10:00:00Z",
    }
    if state == "success":
        call["result"] = []
    return f"{{raw = {json.dumps(json.dumps({'type': 'mcp_tool_call', 'mcp_tool_call': call}))}}}"


def play(*steps: str) -> str:
    return f'steps = [{{say = "Hello."}}, {", ".join(steps)}]\n[[rules]]\nsay = "I see."'


def decisions(held: Held) -> list[tuple[str, bool]]:
    """What the platform was told."""
    messages = [each for record in held.simulator.conversations for each in record.messages]
    return [(each.tool_call_id, each.is_approved) for each in messages if isinstance(each, McpToolApprovalResult)]


async def wait_decisions(held: Held, count: int) -> list[tuple[str, bool]]:
    while len(decisions(held)) < count:
        await trio.sleep(0.001)
    return decisions(held)


async def sit_down(held: Held) -> Desk:
    """Have people asked."""
    while held.daemon.keeper is None:
        await trio.sleep(0.001)
    desk = Desk(held.daemon.announcer.publish)
    held.daemon.tool_calls.approvals.approvers.append(desk)
    return desk


async def test_people_decide_once_on_each_call() -> None:
    scenario = play("{silence = 0.1}", ask("m1"), ask("m1"), ask("m2"))
    async with hold(scenario) as held:
        desk = await sit_down(held)
        first, second = await held.wait_for(events.ApprovalAsked, 2)
        assert isinstance(first.call, McpToolCall)
        assert (first.call.tool_name, first.call.parameters) == ("delete_everything", {"really": True})
        desk.decide(second.id, True, "ada")
        await wait_decisions(held, 1)
        desk.decide(first.id, False, "ada")
        assert await wait_decisions(held, 2) == [("m2", True), ("m1", False)]
        session = held.daemon.conversations["main"].session
        assert session is not None
        assert session.side.counts["duplicate approval request"] == 1


async def test_nobody_there_and_nobody_in_time_are_denials() -> None:
    async with hold(play(ask("m1"))) as held:
        assert await wait_decisions(held, 1) == [("m1", False)]
    async with hold(play("{silence = 0.1}", ask("m1", seconds=1))) as held:
        await sit_down(held)
        assert await wait_decisions(held, 1) == [("m1", False)]
        (answered,) = await held.wait_for(events.ApprovalAnswered)
        assert answered.is_allowed is None


async def test_a_decision_that_nobody_waits_for_any_more_is_not_sent() -> None:
    async with hold(play("{silence = 0.1}", ask("m1"), ask("m1", state="success")), configuration=MAIN) as held:
        desk = await sit_down(held)
        (asked,) = await held.wait_for(events.ApprovalAsked)
        while not any(
            isinstance(event.message, McpToolCall) and event.message.state == "success"
            for event in held.of_kind(events.MessageReceived)
        ):
            await trio.sleep(0.001)
        desk.decide(asked.id, True, "ada")
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert decisions(held) == []
