"""Connections for httpx that never lead into the local network, unless that is allowed.

Addresses are checked where a connection is opened: what a name resolved to earlier, or resolves to later, does not
matter. TLS still verifies the name.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore
import httpx
import trio

from convaid import ToolError

__all__ = ["Connecting", "Http", "is_local", "open_http"]

logger = logging.getLogger(__name__)

NAT64 = IPv6Network("64:ff9b::/96")
NEVER_PUBLIC = (
    IPv4Network("192.0.0.0/24"),  # for protocols; a cloud answers there, and Python's own list has but parts of it
    IPv4Network("168.63.129.16/32"),  # another cloud's address of the machine that one runs on
)
MOST_REQUESTS = 100  # at once
MOST_KEPT = 10  # connections without a request: the pool looks through all of them at each request, and that often
KEPT_IDLE = 15.0  # seconds: servers close an idle connection after 5 to 75; one that they just close costs a call


@asynccontextmanager
async def open_http(may_be_local: Callable[[str], bool]) -> AsyncIterator[Http]:
    """Open what the tools send their requests with: TLS verified, no redirects, proxies, compression or cookies.

    ``may_be_local`` says of a host's name whether it may be in the local network.
    """
    pool = httpcore.AsyncConnectionPool(
        ssl_context=ssl.create_default_context(),  # the system's authorities; $SSL_CERT_FILE names others
        network_backend=Connecting(may_be_local),
        max_connections=None,  # `Http` sees to that
        max_keepalive_connections=MOST_KEPT,
        keepalive_expiry=KEPT_IDLE,
    )
    # A small answer in a compressed form could be a large one.
    headers = {"Accept-Encoding": "identity", "User-Agent": "convaid-webhook"}
    # What one conversation was given must not come back in another.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    transport = CheckedTransport(pool)
    async with Http(transport=transport, headers=headers, cookies=no_cookies, trust_env=False) as http:
        yield http


class Http(httpx.AsyncClient):
    """httpx's own, with a place for each request that may be under way.

    What sends a request waits for one. The pool's own way to let requests wait takes seconds for some hundred.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.places = trio.CapacityLimiter(MOST_REQUESTS)


def is_local(text: str) -> bool:
    """Whether an IP address is anything but a public one of a single machine, whichever way it is written."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = _find_inner(address) or address
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or any(address in network for network in NEVER_PUBLIC)
        or (isinstance(address, IPv6Address) and address.is_site_local)
    )


def _find_inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that one of IPv6 stands for, or that the way to it leads through."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


class Connecting(httpcore.TrioBackend):
    """Opens connections, only to addresses that are allowed."""

    def __init__(self, may_be_local: Callable[[str], bool]) -> None:
        self.may_be_local = may_be_local

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect within ``timeout`` seconds, the look-up of the name included. Raises httpcore's errors, ToolError."""
        failure: Exception = httpcore.ConnectError("the name has no address")
        limit = float("inf") if timeout is None else timeout
        with trio.move_on_after(limit):
            addresses = await self._find_addresses(host, port)
            for address in addresses:
                try:
                    share = limit / len(addresses)  # an address of IPv6 that leads nowhere leaves time for the next
                    return await super().connect_tcp(address, port, share, local_address, socket_options)
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    failure = error
            raise failure
        raise httpcore.ConnectTimeout

    async def _find_addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"its name cannot be looked up: {error.strerror or error}") from None
        except UnicodeError:
            raise httpcore.ConnectError("its name cannot be looked up: it is no name of a host") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        local = [address for address in addresses if is_local(address)]
        if local and not self.may_be_local(host):
            logger.warning("%s is at %s, which is not allowed: see allow_local", host, ", ".join(local))
            raise ToolError(
                f"{host} is in the local network, where requests are not allowed. Nothing was sent. "
                "Whoever runs this can allow it (allow_local)."
            )
        return addresses


class CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx's own, around a pool of ours: its constructor takes no network backend.

    ``_pool`` is not public. If httpx renames it, every request fails, and none goes unchecked.
    """

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool
