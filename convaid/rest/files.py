"""Files for a conversation that is going on: uploaded here, shown to the agent by a message of the session."""

from __future__ import annotations

from urllib.parse import quote

from convaid.config.secrets import Secret
from convaid.errors import LinkError, LinkRefused
from convaid.protocol.bodies import read_json
from convaid.protocol.refusal import read_detail
from convaid.rest.request import open_http, request

__all__ = ["upload_file"]

BODY_LIMIT = 65536  # bytes of an answer, which is one id


async def upload_file(
    base_url: str,
    api_key: Secret | None,
    conversation_id: str,
    *,
    name: str,
    kind: str,
    content: bytes,
    time_limit: float,
) -> str:
    """Upload a file to a conversation and return its id. ``kind`` is its media type.

    The platform wants a key where the agent is private. Raises `LinkRefused` where it refuses, and `LinkError` where
    there is no answer, or one without an id.
    """
    import httpx

    path = f"{base_url}/v1/convai/conversations/{quote(conversation_id, safe='')}/files"
    form = httpx.Request("POST", path, files={"file": (name, content, kind)})  # it writes the multipart body for us
    headers = {"Content-Type": form.headers["content-type"]}
    if api_key is not None:
        headers["xi-api-key"] = api_key.reveal()
    async with open_http() as http:
        reply = await request(
            http,
            "POST",
            path,
            deed="upload a file to",
            headers=headers,
            body=form.read(),
            body_limit=BODY_LIMIT,
            time_limit=time_limit,
        )
    if not 200 <= reply.status < 300:
        raise LinkRefused(reply.status, read_detail(reply.body))
    answer = read_json(reply.body)
    file_id = answer.get("file_id") if isinstance(answer, dict) else None
    if not isinstance(file_id, str):
        raise LinkError("the platform took the file, and gave no id for it")
    return file_id
