"""Signed URLs: minted at the platform, or fetched from an endpoint of the user's, over real HTTP."""

from __future__ import annotations

import pytest
import trio

from convaid.errors import LinkError, LinkRefused
from convaid.rest import fetch_signed_url, mint_signed_url

from .servers import serve_http, serve_raw

SIGNED = "wss://api.elevenlabs.io/v1/convai/conversation?agent_id=a&conversation_signature=s%2B1"
LIMIT = 10.0


async def test_a_signed_url_is_minted_with_the_key_and_the_query() -> None:
    seen: list[bytes] = []
    with trio.fail_after(LIMIT):
        async with serve_http(200, b'{"signed_url": "%b"}' % SIGNED.encode(), seen) as port:
            url = await mint_signed_url(
                f"http://127.0.0.1:{port}", "sk_key", {"agent_id": "a b", "environment": "staging"}, time_limit=5
            )
    assert url == SIGNED  # its percent-encoding kept
    (head,) = seen
    assert head.startswith(b"GET /v1/convai/conversation/get-signed-url?agent_id=a+b&environment=staging HTTP")
    assert b"xi-api-key: sk_key" in head


@pytest.mark.parametrize("body", [SIGNED, f"{SIGNED}\n", f'"{SIGNED}"', f'{{"signed_url": "{SIGNED}"}}'])
async def test_an_endpoint_may_answer_with_text_or_json(body: str) -> None:
    with trio.fail_after(LIMIT):
        async with serve_http(200, body.encode()) as port:
            assert await fetch_signed_url(f"http://127.0.0.1:{port}/url?token=t", time_limit=5) == SIGNED


@pytest.mark.parametrize(
    "body", ["", "{}", '{"signed_url": 3}', "<html>", '{"signed_url": "https://x/"}', "x" * 100_000]
)
async def test_an_answer_without_a_url_is_an_error_that_does_not_repeat_it(body: str) -> None:
    with trio.fail_after(LIMIT):
        async with serve_http(200, body.encode()) as port:
            with pytest.raises(
                LinkError, match=r"127\.0\.0\.1 handed out something that is not a signed URL"
            ) as caught:
                await fetch_signed_url(f"http://127.0.0.1:{port}/", time_limit=5)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (401, b'{"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}', "Invalid API key"),
        (404, b'{"detail": {"status": "document_not_found"}}', "document_not_found"),
        (403, b'{"detail": "not yours"}', "not yours"),
        (502, b"<html>Bad Gateway</html>", "<html>Bad Gateway</html>"),
        (500, b"", ""),
    ],
)
async def test_a_refusal_has_its_status_and_words(status: int, body: bytes, detail: str) -> None:
    with trio.fail_after(LIMIT):
        async with serve_http(status, body) as port:
            with pytest.raises(LinkRefused) as caught:
                await mint_signed_url(f"http://127.0.0.1:{port}", "k", {"agent_id": "a"}, time_limit=5)
    assert (caught.value.status, caught.value.detail) == (status, detail)


async def test_an_endpoint_that_stalls_is_given_up() -> None:
    async def stall(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    with trio.fail_after(LIMIT):
        async with serve_raw(stall) as port:
            with pytest.raises(LinkError, match=r"in 0\.2 s"):
                await fetch_signed_url(f"http://127.0.0.1:{port}/", time_limit=0.2)


async def test_nobody_there_is_an_error_of_one_line() -> None:
    with trio.fail_after(LIMIT), pytest.raises(LinkError, match=r"cannot fetch a signed URL from 127\.0") as caught:
        await fetch_signed_url("http://127.0.0.1:9/", time_limit=5)
    assert "\n" not in str(caught.value)
