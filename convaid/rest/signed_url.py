"""The URL that opens one conversation with a private agent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from convaid.config import ConversationConfig
from convaid.errors import LinkError, LinkRefused
from convaid.protocol.bodies import read_json
from convaid.protocol.refusal import read_detail
from convaid.rest.request import open_http, request
from convaid.transport import split_url

__all__ = ["fetch_signed_url", "make_agent_query", "make_authorization", "mint_signed_url"]

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

    Errors as for `mint_signed_url`.
    """
    async with open_http() as http:
        reply = await request(
            http,
            "GET",
            url,
            deed="fetch a signed URL from",
            query=query,
            headers=headers,
            body_limit=BODY_LIMIT,
            time_limit=time_limit,
        )
    if reply.status != 200:
        raise LinkRefused(reply.status, read_detail(reply.body), reply.retry_after)
    signed_url = read_signed_url(reply.body)
    try:
        split_url(signed_url)
    except LinkError as error:
        raise LinkError(f"{urlsplit(url).hostname} handed out something that is not a signed URL: {error}") from None
    return signed_url


def make_agent_query(settings: ConversationConfig) -> dict[str, str]:
    """The query that names a conversation's agent, where a signed URL for it is asked for."""
    named = {"agent_id": settings.agent_id, "environment": settings.environment, "branch_id": settings.branch_id}
    return {name: value for name, value in named.items() if value}


def make_authorization(variable: str) -> dict[str, str]:
    """The headers that show a server of the user's the secret in an environment variable; none where "" is named."""
    secret = os.environ.get(variable, "").strip() if variable else ""
    return {"Authorization": f"Bearer {secret}"} if secret else {}


def read_signed_url(body: bytes) -> str:
    """The URL in an answer, be it text, a JSON string, or the JSON object that the platform sends."""
    answer = read_json(body)
    if isinstance(answer, dict):
        answer = answer.get("signed_url")
    return answer if isinstance(answer, str) else body.decode(errors="replace").strip()
