"""The platform's REST calls that a conversation needs (floor 2)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from convaid.errors import LinkError, LinkRefused
from convaid.protocol.refusal import read_detail, read_json
from convaid.transport import load_trust_store, split_url

if TYPE_CHECKING:
    import httpx

__all__ = ["fetch_signed_url", "mint_signed_url"]

BODY_LIMIT = 65536  # bytes of an answer: a signed URL and its wrapping are below 2 KiB


async def mint_signed_url(base_url: str, api_key: str, query: Mapping[str, str], *, time_limit: float) -> str:
    """Ask the platform for a URL that opens one conversation; ``query`` has ``agent_id`` and what else the call takes.

    The URL is a secret, starts a conversation for 15 minutes, and may be good for one only: mint one for every connect.
    Raises `LinkRefused` for an HTTP status other than 200, `LinkError` for no answer or one without a URL.
    """
    url = f"{base_url}/v1/convai/conversation/get-signed-url"
    return await fetch_signed_url(url, query=query, headers={"xi-api-key": api_key}, time_limit=time_limit)


async def fetch_signed_url(
    url: str,
    *,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    time_limit: float,
) -> str:
    """GET a signed URL from an endpoint that answers with the URL as text or as JSON ``{"signed_url": ...}``.

    Errors as for `mint_signed_url`. Proxies of the environment are not used: the WebSocket could not use them either.
    """
    import httpx

    host = urlsplit(url).hostname
    try:
        with trio.fail_after(time_limit):  # over everything: httpx limits each read, and a body may drip for ever
            async with (
                httpx.AsyncClient(verify=load_trust_store(), timeout=None, trust_env=False) as http,
                http.stream("GET", url, params=query, headers={"Accept-Encoding": "identity", **headers}) as response,
            ):
                body = await read_bounded(response)
    except trio.TooSlowError:
        raise LinkError(f"{host} did not hand out a signed URL in {time_limit:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # the last: host names that cannot be encoded
        raise LinkError(f"cannot fetch a signed URL from {host}: {str(error) or type(error).__name__}") from error
    if response.status_code != httpx.codes.OK:
        raise LinkRefused(response.status_code, read_detail(body))
    signed_url = read_signed_url(body)
    try:
        split_url(signed_url)
    except LinkError as error:
        raise LinkError(f"{host} handed out something that is not a signed URL: {error}") from None
    return signed_url


async def read_bounded(response: httpx.Response) -> bytes:
    """Read a body and keep about `BODY_LIMIT` of it."""
    body = b""
    async for chunk in response.aiter_raw():  # as it came: a small body may unpack to a huge one
        if len(body) < BODY_LIMIT:
            body += chunk
    return body


def read_signed_url(body: bytes) -> str:
    """The URL in an answer, be it text, a JSON string, or the JSON object that the platform sends."""
    answer = read_json(body)
    if isinstance(answer, dict):
        answer = answer.get("signed_url")
    return answer if isinstance(answer, str) else body.decode(errors="replace").strip()
