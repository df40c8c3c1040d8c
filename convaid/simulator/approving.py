"""The platform's own calls to the agent's MCP servers, as far as the user's side sees them: states, and approval."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import trio

from convaid.protocol.from_agent import AgentToolRequest, AgentToolResponse, McpToolCall
from convaid.simulator.conversation import Conversation
from convaid.simulator.record import Failure
from convaid.simulator.scenario import McpCall

__all__ = ["call_mcp_tool"]

SERVICE = "mcp_simulator"
REJECTED = "The user has rejected the tool call."
EXPIRED = "The approval of the tool call has timed out."


async def call_mcp_tool(conversation: Conversation, step: McpCall, place: str) -> str:
    """Call a tool that there is not, with all that the user's side hears of it; returns the result or the error."""
    event_id = conversation.next_event_id()
    call_id = f"mcp_{event_id}_{conversation.record.conversation_id}"
    now = datetime.now(UTC).isoformat()
    tell = partial(McpToolCall, SERVICE, call_id, step.tool, step.parameters, timestamp=now)
    await conversation.send(AgentToolRequest(step.tool, call_id, "mcp", event_id))
    await conversation.send(tell(state="loading"))
    is_approved: bool | None = None
    if step.needs_approval:
        approval = conversation.inbox.expect_approval(call_id)
        await conversation.send(tell(state="awaiting_approval", approval_timeout_secs=step.approval_timeout_secs))
        with trio.move_on_after(step.approval_timeout_secs):
            is_approved = await approval.receive()
    error = step.error
    if step.needs_approval and not is_approved:
        error = EXPIRED if is_approved is None else REJECTED
    if error:
        await conversation.send(tell(state="failure", error_message=error))
    else:
        await conversation.send(tell(state="success", result=[{"type": "text", "text": step.result}]))
    is_called = not step.needs_approval or bool(is_approved)
    await conversation.send(
        AgentToolResponse(step.tool, call_id, "mcp", bool(error), is_called, conversation.next_event_id())
    )
    if step.expect_approved not in (None, is_approved):
        wanted = "an approval" if step.expect_approved else "a rejection"
        got = {True: "an approval", False: "a rejection", None: "nothing in time"}[is_approved]
        await conversation.break_off(Failure(place, f"expected {wanted} of {step.tool}, got {got}", wanted, got))
    return error or step.result
