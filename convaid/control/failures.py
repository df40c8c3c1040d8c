"""What can go wrong with a request, as HTTP has it: a status, and an object with code, message and remedy (floor 6)."""

from __future__ import annotations

from collections.abc import Sequence

from convaid.calls.desk import NoSuchQuestion
from convaid.control.forms import Error
from convaid.errors import ConfigurationError, ConvaidError, LinkError, LinkRefused, StructureError
from convaid.keeper import Refused, UnknownConversation
from convaid.supervisor import NotConnected

__all__ = ["ControlError", "describe_failure"]


class ControlError(ConvaidError):
    """A request that cannot be granted."""

    def __init__(self, status: int, code: str, message: str, remedy: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.error = Error(code, message, remedy, list(problems))


def describe_failure(error: ConvaidError) -> ControlError:
    """Return an error of ours as the API tells it."""
    words = str(error)
    match error:
        case ControlError():
            return error
        case UnknownConversation():
            return ControlError(404, "unknown_conversation", words, "GET /v1/conversations lists them.")
        case NoSuchQuestion():
            return ControlError(404, "unknown_approval", words, "GET /v1/approvals lists them.")
        case NotConnected():
            return ControlError(409, "not_connected", words, "Start it, or wait until it is connected.")
        case Refused():
            return ControlError(409, "refused", words)
        case StructureError():
            problems = [str(problem) for problem in error.problems]
            remedy = "GET /v1/openapi.json describes every request."
            return ControlError(422, "invalid", f"the request does not fit: {words}", remedy, problems)
        case ConfigurationError():
            problems = [str(problem) for problem in error.problems]
            remedy = "Correct the file and reload again; nothing has changed."
            return ControlError(422, "configuration", f"not reloaded: {words}", remedy, problems)
        case LinkRefused():
            return ControlError(502, "platform", f"the platform refuses: {words}")
        case LinkError():
            return ControlError(502, "platform", words, "Try again; the log says more.")
        case _:
            return ControlError(500, "failed", words)
