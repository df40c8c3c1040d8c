"""What is examined in the tests, made of a configuration's text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from convaid.config import parse_configuration
from convaid.doctor import Finding, Subject
from convaid.plugins import Plugins
from tests.transport.servers import serve_raw

LIMIT = 10.0  # seconds for everything that a test waits for
MAIN = '[conversations.main]\nagent_id = "agent_demo"\n'
RIGHT = "sk_right_0123456789"

Reply = tuple[int, Any] | tuple[int, Any, str]
Answer = Callable[[str, str], Reply]


def make_subject(
    text: str = MAIN, base_url: str = "http://127.0.0.1:9", environ: Mapping[str, str] | None = None, **options: Any
) -> Subject:
    """A subject whose platform is at ``base_url``; nothing of the developer's environment gets into it."""
    configuration = parse_configuration(f'{text}\n[platform]\nbase_url = "{base_url}"\n', "test")
    return Subject(configuration, options.pop("plugins", Plugins(())), environ=environ or {}, **options)


def tell(findings: list[Finding], check: str) -> list[tuple[str, str]]:
    """The levels and lines of what was found of one thing."""
    return [(finding.level, str(finding)) for finding in findings if finding.check == check]


@asynccontextmanager
async def serve_platform(answer: Answer, seen: list[str] | None = None) -> AsyncIterator[str]:
    """A platform that answers each request, by method and path, with a status, JSON, and a header line perhaps."""

    async def serve(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (chunk := await stream.receive_some()):
                return
            head += chunk
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if seen is not None:
            seen.append(f"{method} {target}")
        status, content, *headers = answer(method, target.partition("?")[0])
        body = b"" if method == "HEAD" else orjson.dumps(content)
        more = "".join(f"{header}\r\n" for header in headers).encode()
        start = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n%b\r\n" % (status, len(body), more)
        await stream.send_all(start + body)

    async with serve_raw(serve) as port:
        yield f"http://127.0.0.1:{port}"


async def check(looking: Awaitable[list[Finding]]) -> list[Finding]:
    """Wait for a check, and not for ever."""
    with trio.fail_after(LIMIT):
        return await looking
