"""One HTTP request to the platform, whatever it is for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from attrs import field, frozen

from convaid.errors import LinkError
from convaid.transport import load_trust_store

if TYPE_CHECKING:
    import httpx

__all__ = ["Reply", "open_http", "request"]

CLOSE_LIMIT = 1.0  # seconds to say goodbye to the connections that are left


@frozen
class Reply:
    """An answer: its status, and its body as far as it was asked for."""

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None = None
    """Seconds after which to come again, where the answer says so."""


@asynccontextmanager
async def open_http() -> AsyncIterator[httpx.AsyncClient]:
    """Open what requests share. Proxies of the environment are not used: the WebSocket could not use them either."""
    import httpx

    # No limits of httpx's: it limits each read, and a body may drip for ever. `request` limits the whole.
    http = httpx.AsyncClient(verify=load_trust_store(), timeout=None, trust_env=False)
    try:
        yield http
    finally:
        with trio.move_on_after(CLOSE_LIMIT):
            await http.aclose()


async def request(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    deed: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    body: bytes | None = None,
    body_limit: int,
    time_limit: float,
) -> Reply:
    """Send a request and return what came back, whatever its status, with about ``body_limit`` bytes of its body.

    Raises `LinkError` where nothing comes back in ``time_limit`` seconds. ``deed`` is for its sentence: "cannot", deed,
    host.
    """
    import httpx

    host = urlsplit(url).hostname
    try:
        with trio.fail_after(time_limit):
            async with http.stream(
                method, url, params=query, content=body, headers={"Accept-Encoding": "identity", **headers}
            ) as response:
                answer = await read_bounded(response, body_limit)
    except trio.TooSlowError:
        raise LinkError(f"cannot {deed} {host}: no answer in {time_limit:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # the last: host names that cannot be encoded
        raise LinkError(f"cannot {deed} {host}: {str(error) or type(error).__name__}") from error
    return Reply(response.status_code, answer, read_seconds(response.headers.get("retry-after", "")))


async def read_bounded(response: httpx.Response, limit: int) -> bytes:
    """Read a body, and keep about ``limit`` bytes of it: never less than that of a longer one."""
    body = bytearray()
    async for chunk in response.aiter_raw():  # as it came: a small body may unpack to a huge one
        if len(body) < limit:
            body += chunk
    return bytes(body)


def read_seconds(header: str) -> float | None:
    """The seconds of a ``Retry-After`` header. None for a date, and for nothing."""
    return float(header) if header.isascii() and header.isdigit() else None
