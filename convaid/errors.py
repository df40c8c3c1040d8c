"""Every error that convaid raises on purpose (floor 0: imports nothing of ours).

``str()`` of each is a sentence for a person, with the remedy where there is one. The type says who is to blame:
`LocalProtocolError` (this program), `RemoteProtocolError` (the other side), `ConfigurationError` (a file of a user's).
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen


class ConvaidError(Exception):
    """The base of all errors that convaid raises on purpose; anything else that escapes is a bug."""


class ProtocolError(ConvaidError):
    """The rules of the conversation were broken; see the two subclasses for by whom."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol. Raised: it is a bug of ours, and nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the protocol. Returned as a value, never raised: one bad frame does not end a session.

    ``excerpt`` is the beginning of the offending frame, bounded, for the log.
    """

    EXCERPT_LENGTH = 200  # characters: enough to recognise a frame, too little to flood a log

    def __init__(self, reason: str, frame: str | bytes = "") -> None:
        super().__init__(reason)
        self.excerpt = frame[: self.EXCERPT_LENGTH]


@frozen
class Problem:
    """One thing that is wrong with what somebody wrote: where (a path such as ``conversations.main.auth``) and what."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class StructureError(ConvaidError):
    """A value does not have the shape that was asked for; ``problems`` holds every deviation, not just the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class ConfigurationError(ConvaidError):
    """The configuration cannot be used. ``problems`` are all that were found; ``source`` names the file."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


class LinkError(ConvaidError):
    """A connection to the platform could not be opened: name look-up, TCP, TLS or a time limit."""


class LinkRefused(LinkError):
    """The platform answered with an HTTP status instead of what was asked for (a WebSocket, a signed URL)."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        """``retry_after``: the seconds after which the platform wants to be asked again, where it says so."""
        super().__init__(f"HTTP {status}: {detail}" if detail else f"HTTP {status}")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


class JournalError(ConvaidError):
    """The journal of tool calls cannot be opened or written: what runs at most once must not run unrecorded."""


class ToolDefinitionError(ConvaidError):
    """A function cannot be offered as a tool as it is written; raised where it is decorated, not in a conversation."""


class ToolError(ConvaidError):
    """For plugin authors: raise it in a tool to tell the agent, in your own words, what went wrong and what to try."""
