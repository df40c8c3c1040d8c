"""The part of the control API that is about tools, their calls and permissions (floor 6)."""

from __future__ import annotations

import secrets
import time
from collections import Counter

import trio

from convaid import events
from convaid.calls.arguments import redact_arguments
from convaid.calls.desk import Question
from convaid.calls.run import Run
from convaid.control.exchange import Exchange, Route
from convaid.control.failures import ControlError
from convaid.control.forms import (
    ApprovalStatus,
    Calls,
    CallStatus,
    Decision,
    RunResult,
    RunTool,
    Stopped,
    ToolStatus,
)
from convaid.control.status import PluginStatus, describe_plugins
from convaid.protocol.from_agent import ClientToolCall, McpToolCall
from convaid.wording import nearest

__all__ = ["BY_HAND", "TOOL_ROUTES"]

BY_HAND = "by_hand"  # stands where a call otherwise has the name of its conversation
RUNNING_SHOWN = 100  # calls: to write down the arguments of more takes time


async def list_tools(exchange: Exchange) -> list[ToolStatus]:
    running = Counter(run.call.tool_name for run in exchange.daemon.tool_calls.running)
    return [
        ToolStatus(
            offer.tool.name,
            offer.plugin.name,
            offer.tool.description,
            offer.tool.parameters,
            offer.runs,
            offer.policy.permission or "allow",
            offer.time_limit,
            running[offer.tool.name],
        )
        for offer in exchange.daemon.tool_calls.offers
    ]


async def list_plugins(exchange: Exchange) -> list[PluginStatus]:
    return list(describe_plugins(exchange.daemon.tool_calls))


async def run_tool(exchange: Exchange) -> RunResult:
    tool_calls, name = exchange.daemon.tool_calls, exchange.path["name"]
    if tool_calls.find_offer(name) is None:
        names = [offer.tool.name for offer in tool_calls.offers]
        found = nearest(name, names, 3)
        hint = f"did you mean {' or '.join(found)}?" if found else f"there are: {', '.join(names) or 'none'}"
        raise ControlError(404, "unknown_tool", f'there is no tool "{name}"; {hint}', "GET /v1/tools lists them.")
    call = ClientToolCall(name, f"by_hand_{secrets.token_hex(6)}", exchange.body.arguments)
    publish = exchange.daemon.announcer.publish
    publish(events.ToolCallStarted(BY_HAND, BY_HAND, call))
    answer = events.ToolAnswer("The daemon ended meanwhile.", True, "stopped", 0.0)
    try:
        answer = await tool_calls.call(call, BY_HAND, BY_HAND)
    finally:
        publish(events.ToolCallEnded(BY_HAND, BY_HAND, call, answer, True))
    return RunResult(call.tool_call_id, answer.outcome, answer.is_error, answer.result, answer.seconds)


async def list_calls(exchange: Exchange) -> Calls:
    tool_calls = exchange.daemon.tool_calls
    running = tool_calls.running
    kept = tool_calls.aftermath.kept
    recent = [
        CallStatus(
            **{name: getattr(ended, name) for name in ("tool", "conversation", "conversation_id", "tool_call_id")},
            at=ended.ended_at,
            seconds=ended.seconds,
            state="over",
            arguments=None,
            outcome=ended.outcome,
            result=ended.result,
        )
        for ended in reversed(tool_calls.recent)
    ]
    return Calls([describe_run(run, run in kept) for run in running[:RUNNING_SHOWN]], len(running), recent)


def describe_run(run: Run, is_kept: bool) -> CallStatus:
    """Return the state of a call that is not over; ``is_kept``: its agent waits for it no more."""
    seconds = trio.current_time() - run.began_at
    return CallStatus(
        run.call.tool_name,
        run.conversation,
        run.conversation_id,
        run.call.tool_call_id,
        time.time() - seconds,
        seconds,
        "unawaited" if is_kept else "running" if run.has_begun else "waiting",
        run.arguments,
        None,
        None,
    )


async def cancel_call(exchange: Exchange) -> Stopped:
    stopped = exchange.daemon.tool_calls.stop(exchange.path["id"])
    if not stopped:
        words = f'no call "{exchange.path["id"]}" is running; it may be over'
        raise ControlError(404, "unknown_call", words, "GET /v1/calls lists them.")
    return Stopped(len(stopped))


async def list_approvals(exchange: Exchange) -> list[ApprovalStatus]:
    return [describe_question(exchange, question) for question in exchange.desk.open.values()]


async def decide(exchange: Exchange) -> ApprovalStatus:
    question = exchange.desk.decide(exchange.path["id"], exchange.body.allow, str(exchange.peer))
    return describe_question(exchange, question)


def describe_question(exchange: Exchange, question: Question) -> ApprovalStatus:
    """Return what a person wants to know who decides."""
    request, call = question.request, question.request.call
    offer = None if isinstance(call, McpToolCall) else exchange.daemon.tool_calls.find_offer(call.tool_name)
    redacted = (offer.policy.redact or ()) if offer is not None else ()
    return ApprovalStatus(
        question.id,
        request.conversation,
        request.conversation_id,
        call.tool_name,
        isinstance(call, McpToolCall),
        redact_arguments(call.parameters, redacted),
        max(0.0, request.deadline - time.monotonic()),
    )


TOOL_ROUTES = (
    Route("GET", "/v1/tools", "listTools", "The tools that agents may call.", list[ToolStatus], list_tools),
    Route(
        "GET",
        "/v1/plugins",
        "listPlugins",
        "The installed plugins, and how each is.",
        list[PluginStatus],
        list_plugins,
    ),
    Route(
        "POST",
        "/v1/tools/{name}/run",
        "runTool",
        "Run a tool as a conversation would: with its permission, limits and journal. That it fails is an answer, too.",
        RunResult,
        run_tool,
        RunTool,
        failures=(404,),
    ),
    Route("GET", "/v1/calls", "listCalls", "The tool calls of now, and the latest ones.", Calls, list_calls),
    Route(
        "POST",
        "/v1/calls/{id}/cancel",
        "cancelCall",
        "Stop a call, by its tool_call_id; its agent is told so.",
        Stopped,
        cancel_call,
        failures=(404,),
    ),
    Route(
        "GET",
        "/v1/approvals",
        "listApprovals",
        "The tool calls that wait for somebody to allow or deny them.",
        list[ApprovalStatus],
        list_approvals,
    ),
    Route(
        "POST",
        "/v1/approvals/{id}",
        "decideApproval",
        "Allow or deny a tool call; the first decision counts.",
        ApprovalStatus,
        decide,
        Decision,
        failures=(404,),
    ),
)
