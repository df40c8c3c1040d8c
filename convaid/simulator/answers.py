"""A REST request and its answer, and the routes between them: no input or output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import Factory, field, frozen

__all__ = ["Answer", "Request", "Route", "refuse"]


@frozen
class Request:
    """An HTTP request; header names in lower case. ``query`` has the last value of a parameter that is repeated."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    parameters: Sequence[tuple[str, str]] = field(default=(), repr=False)  # the query as it came

    @property
    def api_key(self) -> str | None:
        """The key that came along, right or wrong."""
        return self.headers.get("xi-api-key")


@frozen
class Answer:
    """What to answer: a status and something to write as JSON; bytes as they are, and for None no body."""

    status: int
    content: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = Factory(dict)
    media_type: str = "application/json"


@frozen
class Route:
    """One call of the REST API: ``answer`` gets the request, and what the groups of ``path`` have matched."""

    method: str
    path: str  # a regular expression
    answer: Callable[..., Answer]
    needs_key: bool = True


def refuse(status: int, code: str, message: str, *, kind: str = "", status_name: str = "") -> Answer:
    """An error in today's shape of the platform's."""
    detail = {"type": kind or code, "code": code, "status": status_name or code, "message": message}
    return Answer(status, {"detail": detail})
