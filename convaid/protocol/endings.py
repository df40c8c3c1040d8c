"""How a session ended, as a value: who ended it, with which code, what was said, and what a person can do about it."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from convaid.protocol.from_agent import Error
from convaid.protocol.verdicts import (
    AGENT_SILENT,
    CLOSE_CODES,
    ERROR_TYPES,
    LIMITS,
    LINK_LOST,
    NO_SOUND,
    NORMAL,
    NOT_BEGUN,
    ODD_FORMAT,
    OWN_FAULT,
    REASONS,
    STATUSES,
    STOPPED,
    Cause,
    Retry,
    Verdict,
)

__all__ = [
    "Cause",
    "Retry",
    "SessionEnd",
    "agent_silent",
    "classify_close",
    "classify_refusal",
    "format_unknown",
    "limit_reached",
    "link_lost",
    "over_budget",
    "own_fault",
    "sound_failed",
    "stopped_by_user",
]

DETAIL_LENGTH = 300  # characters kept of the platform's own words
NO_CLOSE_FRAME = 1006  # the WebSocket's word for a connection that broke
BARE_CLOSE_FRAME = 1005  # and for a close frame without a code


@frozen
class SessionEnd:
    """How a session ended. ``remedy`` is one sentence, and empty if nothing is wrong."""

    cause: Cause
    code: int | None
    """Of the close frame, or the HTTP status of a refusal; None if we ended it, or the link gave neither."""
    detail: str
    retry: Retry
    remedy: str
    error_type: str | None = None
    """Of the platform's error frame, if one said why."""


def classify_close(code: int, reason: str, error: Error | None, *, had_metadata: bool) -> SessionEnd:
    """A link that the other side closed, or that broke (1006).

    ``error`` is the last error frame. It counts if it has the close frame's code, or if there was no such code.
    """
    if error is not None and code in (BARE_CLOSE_FRAME, NO_CLOSE_FRAME):
        code = error.code
    if error is not None and error.code != code:
        error = None
    error_type = error.error_type if error else None
    said = [text for text in (error.message, reason, error.reason, error.debug_message) if text] if error else [reason]
    verdict = CLOSE_CODES.get(code, CLOSE_CODES[1002] if had_metadata else NOT_BEGUN)
    if verdict is NORMAL and not had_metadata:
        verdict = NOT_BEGUN
    verdict = ERROR_TYPES.get(error_type or "", verdict)
    return _conclude(_find_reason(" ".join(said)) or verdict, code, said[0] if said else "", error_type)


def classify_refusal(status: int, detail: str) -> SessionEnd:
    """An HTTP status where a signed URL or a WebSocket was asked for."""
    verdict = STATUSES.get(status) or STATUSES[500 if status >= 500 else 400]
    return _conclude(_find_reason(detail) or verdict, status, detail)


def format_unknown(detail: str) -> SessionEnd:
    """The platform announced audio in a format that is none of its own; we hang up."""
    return _conclude(ODD_FORMAT, None, detail)


def link_lost(detail: str) -> SessionEnd:
    """A link that could not be opened, or that we gave up."""
    return _conclude(LINK_LOST, None, detail)


def agent_silent(seconds: float) -> SessionEnd:
    """The agent owed an answer for too long; we hang up."""
    return _conclude(AGENT_SILENT, None, f"the agent owed an answer for {seconds:g} s")


def limit_reached(which: Literal["idle", "life"], seconds: float) -> SessionEnd:
    """A limit of the configuration's was reached; we hang up. ``which`` is its name there."""
    words = {"idle": "nobody said anything for", "life": "the conversation had lasted for"}
    return _conclude(LIMITS[which], None, f"{words[which]} {seconds:g} s")


def over_budget(detail: str) -> SessionEnd:
    """A limit of the budget's is reached: we hang up, or do not begin; ``detail`` says which."""
    return _conclude(LIMITS["budget"], None, detail)


def own_fault(detail: str) -> SessionEnd:
    """A fault of this program's; the log has its traceback."""
    return _conclude(OWN_FAULT, None, detail)


def sound_failed(detail: str) -> SessionEnd:
    """The microphone or the speaker cannot be opened as configured; we hang up."""
    return _conclude(NO_SOUND, None, detail)


def stopped_by_user(detail: str = "asked to stop") -> SessionEnd:
    """Somebody asked us to stop; we hang up."""
    return _conclude(STOPPED, None, detail)


def _find_reason(said: str) -> Verdict | None:
    said = said.lower()
    return next((verdict for part, verdict in REASONS.items() if part in said), None)


def _conclude(verdict: Verdict, code: int | None, detail: str, error_type: str | None = None) -> SessionEnd:
    detail = " ".join(detail.split())[:DETAIL_LENGTH] or error_type or ""  # one line, for the log
    detail = detail or ("the agent hung up" if verdict is NORMAL else "no reason was given")
    return SessionEnd(verdict.cause, code, detail, verdict.retry, verdict.remedy, error_type)
