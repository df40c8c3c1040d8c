"""One request of the control API, as those who answer it see it, and the table that leads to them (floor 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import field, frozen

from convaid.calls.desk import Desk
from convaid.control.failures import ControlError
from convaid.control.feed import Feed
from convaid.control.peers import Peer
from convaid.daemon import Daemon
from convaid.keeper import Keeper, Keeping

__all__ = ["Exchange", "Query", "Route"]


@frozen
class Exchange:
    """A request, read and checked."""

    daemon: Daemon
    feed: Feed
    desk: Desk
    peer: Peer
    """Who asks."""
    path: Mapping[str, str]
    """What stands for the names in the route's path."""
    query: Mapping[str, list[str]]
    body: Any
    """An instance of the route's ``body`` class; None without one."""
    content: bytes = field(default=b"", repr=False)
    """The body as it came, where the route takes bytes."""
    content_type: str = ""

    @property
    def keeper(self) -> Keeper:
        """Of the daemon. Raises `ControlError` while that starts: services are there first."""
        if self.daemon.keeper is None:
            raise ControlError(503, "starting", "the daemon is just starting", "Ask again in a moment.")
        return self.daemon.keeper

    def find_conversation(self) -> Keeping:
        """The conversation that the path names. Raises `UnknownConversation`."""
        return self.keeper.find(self.path["name"])


@frozen
class Query:
    """A parameter after the question mark."""

    name: str
    description: str
    is_required: bool = False
    is_repeatable: bool = False


@frozen
class Route:
    """One call of the API. OpenAPI's description is made of these, so that it cannot say anything else."""

    method: str
    path: str
    name: str
    """OpenAPI's operation id."""
    summary: str
    answer: Any
    """The type of what `act` returns; None: it returns a response of its own."""
    act: Callable[[Exchange], Awaitable[Any]]
    body: type | None = None
    """The class of the JSON object that the request has; whatever has defaults may be left out."""
    takes_bytes: bool = False
    """The request's body is a file."""
    status: int = 200
    failures: tuple[int, ...] = ()
    """The statuses by which it fails, beside those of every route."""
    query: tuple[Query, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it does something, which is logged with who asked for it."""
        return self.method != "GET"
