"""Conversations that the platform ends, in all the ways there are."""

from __future__ import annotations

import struct

import pybase64

from convaid.protocol.endings import Cause, Retry
from convaid.simulator.faults.fault import WAIT, Fault, write_frame
from convaid.simulator.scenario import Call, Close, Drop, Fail, Frame, Freeze, Raw, Refuse, Silence

__all__ = ["CLOSES", "ERRORS", "REFUSALS"]

OPERATIONAL, CONTRACT, LOST = Cause.OPERATIONAL, Cause.CONTRACT_FAULT, Cause.LINK_LOST
SOON, LATER, REPAIR, NO = Retry.SOON, Retry.LATER, Retry.REPAIR, Retry.NO


def fail(code: int, error_type: str, cause: Cause, retry: Retry, message: str = "") -> Fault:
    """An error frame of a type, and a close with its code."""
    words = f"error `{error_type}`, close {code}"
    return Fault(f"error-{error_type}", words, [Fail(code, error_type, message)], cause, retry)


ERRORS = [
    fail(1000, "max_duration_exceeded", Cause.LIMIT_REACHED, NO),
    fail(1002, "safety_violation", OPERATIONAL, LATER),
    fail(1002, "llm_timeout", OPERATIONAL, SOON),
    fail(1002, "transport_receive_timeout", Cause.LIMIT_REACHED, REPAIR),
    fail(1002, "asyncio_timeout", OPERATIONAL, SOON),
    fail(1002, "http_exception", OPERATIONAL, SOON),
    fail(1002, "llm_error", OPERATIONAL, SOON),
    fail(1002, "custom_llm_error", OPERATIONAL, LATER),
    fail(1002, "cascade_brain_error", OPERATIONAL, SOON),
    fail(1002, "asr_transcription_error", OPERATIONAL, SOON),
    fail(1002, "vad_error", OPERATIONAL, SOON),
    fail(1002, "turn_probability_error", OPERATIONAL, SOON),
    fail(1002, "tts_cascade_error", OPERATIONAL, SOON),
    fail(1002, "redis_timeout_error", OPERATIONAL, SOON),
    fail(1008, "invalid_message", CONTRACT, REPAIR),
    fail(1008, "value_error", CONTRACT, REPAIR),
    fail(1008, "missing_fields", CONTRACT, REPAIR),
    fail(1008, "override_error", CONTRACT, REPAIR),
    fail(1008, "missing_dynamic_variable", CONTRACT, REPAIR),
    fail(1008, "missing_dynamic_variable_transfer", CONTRACT, REPAIR),
    fail(1008, "telephony_agent_error", CONTRACT, REPAIR),
    fail(1008, "mcp_tool_error", CONTRACT, REPAIR),
    fail(1008, "mcp_https_error", CONTRACT, REPAIR),
    fail(1011, "unknown_websocket_crash", Cause.CRASH, SOON),
    fail(1002, "unknown", OPERATIONAL, SOON),
    fail(1002, "websocket_disconnect", LOST, SOON),
    Fault(
        "error-quota",
        "out of credits: error `http_exception`, close 1002, «This request exceeds your quota limit.»",
        [Fail(1002, "http_exception", "This request exceeds your quota limit.")],
        Cause.BUSY,
        LATER,
    ),
    Fault(
        "error-next-year",
        "an error of a type that nobody knows yet, close 1008",
        [Fail(1008, "error_of_next_year")],
        CONTRACT,
        REPAIR,
    ),
    Fault(
        "error-without-close",
        "an error frame, and no close after it",
        [Raw(write_frame("error", "error_event", {"code": 1011, "error_type": "unknown"}))],
    ),
    Fault(
        "error-then-drop",
        "an error frame of code 1008, and the connection is reset",
        [Raw(write_frame("error", "error_event", {"code": 1008, "error_type": "value_error"})), Silence(0.05), Drop()],
        CONTRACT,
        REPAIR,
    ),
    Fault(
        "error-of-other-code",
        "an error frame of code 1002, and a close with 1000",
        [Raw(write_frame("error", "error_event", {"code": 1002, "error_type": "llm_timeout"})), Close(1000)],
        Cause.ENDED_BY_AGENT,
        NO,
    ),
]


def close(code: int, cause: Cause, retry: Retry, words: str = "") -> Fault:
    """A close frame with this code, and nothing else."""
    return Fault(f"close-{code}", f"close {code}{words and f' ({words})'}", [Close(code)], cause, retry)


def close_by_hand(name: str, words: str, payload: bytes, cause: Cause, retry: Retry) -> Fault:
    """A close frame that no library would send."""
    steps = [Frame(pybase64.b64encode_as_string(payload), 8), Silence(2)]
    return Fault(name, words, steps, cause, retry)


CLOSES = [
    close(1000, Cause.ENDED_BY_AGENT, NO, "the agent hangs up"),
    close(1001, OPERATIONAL, SOON, "going away"),
    close(1002, OPERATIONAL, SOON),
    close(1003, OPERATIONAL, SOON),
    close_by_hand("close-1005", "a close frame without a code (1005)", b"", Cause.ENDED_BY_AGENT, NO),
    Fault("close-1006", "the connection is reset, without a close frame (1006)", [Drop()], LOST, SOON),
    close(1007, OPERATIONAL, SOON),
    close(1008, CONTRACT, REPAIR),
    close(1009, CONTRACT, SOON),
    close(1010, OPERATIONAL, SOON),
    close(1011, Cause.CRASH, SOON),
    close(1012, OPERATIONAL, SOON, "restarting"),
    close(1013, Cause.BUSY, LATER, "try again later"),
    close(1014, OPERATIONAL, SOON),
    close_by_hand(
        "close-1015", "close 1015, which no close frame may have", struct.pack("!H", 1015), OPERATIONAL, SOON
    ),
    close(3000, Cause.REFUSED, REPAIR),
    close(3008, Cause.BUSY, LATER),
    close(4300, Cause.BUSY, LATER),
    close(4999, OPERATIONAL, SOON, "a code that nobody knows"),
    close_by_hand("close-half", "a close frame with half a code", b"\x03", OPERATIONAL, SOON),
    close_by_hand("close-not-utf8", "a close frame whose reason is not UTF-8", b"\x03\xe8\xff\xfe", OPERATIONAL, SOON),
    Fault(
        "drop-in-tool",
        "the connection is reset while a tool runs",
        [Call(WAIT, {"seconds": 0.3}, wait=False), Silence(0.1), Drop()],
        LOST,
        SOON,
    ),
    Fault(
        "close-in-tool",
        "close 1011 while a tool runs",
        [Call(WAIT, {"seconds": 0.3}, wait=False), Silence(0.1), Close(1011)],
        Cause.CRASH,
        SOON,
    ),
    Fault(
        "no-goodbye",
        "no answer to our goodbye",
        [Freeze(5)],
        Cause.ENDED_BY_USER,
        NO,
        "disconnect",
        stops=True,
    ),
]


def refuse(
    name: str, words: str, cause: Cause, retry: Retry, code: int = 3000, *, reason: str = "", status: int | None = None
) -> Fault:
    """A conversation that does not begin."""
    return Fault(name, words, [Refuse(code, reason, status)], cause, retry)


REFUSALS = [
    refuse("refuse-1000", "close 1000 before it began", Cause.REFUSED, LATER, 1000),
    refuse("refuse-1002", "close 1002 before it began", OPERATIONAL, SOON, 1002),
    refuse("refuse-1008", "close 1008 before it began", CONTRACT, REPAIR, 1008),
    refuse("refuse-1011", "close 1011 before it began", Cause.CRASH, SOON, 1011),
    refuse(
        "refuse-authorization",
        "close 3000, «Could not authorize the conversation.»",
        Cause.REFUSED,
        REPAIR,
        reason="Could not authorize the conversation.",
    ),
    refuse(
        "refuse-no-agent",
        "close 3000, «The AI agent you are trying to reach does not exist.»",
        Cause.REFUSED,
        REPAIR,
        reason="The AI agent you are trying to reach does not exist.",
    ),
    refuse(
        "refuse-misconfigured",
        "close 3000, «… appears to be misconfigured …»",
        Cause.REFUSED,
        REPAIR,
        reason="The agent appears to be misconfigured.",
    ),
    refuse(
        "refuse-credits",
        "close 3000, «[quota_exceeded] You've run out of credits.»",
        Cause.BUSY,
        LATER,
        reason="[quota_exceeded] You've run out of credits.",
    ),
    refuse("refuse-busy", "close 3008, too many concurrent connections", Cause.BUSY, LATER, 3008),
    refuse("refuse-queue", "close 4300, after waiting in a queue", Cause.BUSY, LATER, 4300),
    *(
        refuse(
            f"handshake-{status}", f"HTTP {status} instead of the WebSocket", cause, retry, reason=said, status=status
        )
        for status, cause, retry, said in (
            (400, Cause.REFUSED, REPAIR, ""),
            (401, Cause.REFUSED, REPAIR, "Invalid API key"),
            (403, Cause.REFUSED, REPAIR, ""),
            (404, Cause.REFUSED, REPAIR, ""),
            (429, Cause.BUSY, LATER, ""),
            (500, OPERATIONAL, SOON, ""),
            (503, OPERATIONAL, SOON, ""),
        )
    ),
]
