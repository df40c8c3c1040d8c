"""The server of signed URLs beside a platform, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import trio
from attrs import frozen

from convaid.config import Configuration, Secret, parse_configuration
from convaid.signed_urls.serving import make_office, serve_office

LIMIT = 15.0  # seconds for everything that a test waits for
KEY = "sk_of_the_platform_0123456789"
SECRET = "a-secret-of-some-length"
PAGE = "https://app.example.com"
MAIN = '[conversations.main]\nagent_id = "agent_demo"\n'


@frozen
class Served:
    """A running server."""

    http: httpx.AsyncClient
    address: str
    stop: trio.Event
    ended: trio.Event

    async def ask(self, path: str = "/signed-url", **headers: str) -> httpx.Response:
        """Make a request; underscores in the names of headers are hyphens."""
        return await self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def configure(base_url: str, text: str = MAIN, settings: str = "") -> Configuration:
    return parse_configuration(
        f'{text}\n[platform]\nbase_url = "{base_url}"\n[signed_urls]\nport = 0\n{settings}\n', "test"
    )


@asynccontextmanager
async def open_served(
    base_url: str, text: str = MAIN, settings: str = "", *, secret: str = "", key: str = KEY, grace: float = 5.0
) -> AsyncIterator[Served]:
    """Run the server until the end of the body."""
    office = make_office(configure(base_url, text, settings), Secret(key), Secret(secret) if secret else None)
    stop, ended = trio.Event(), trio.Event()

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        await serve_office(office, stop, grace, task_status=task_status)
        ended.set()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve)
            async with httpx.AsyncClient(base_url=address, timeout=10) as http:
                yield Served(http, address, stop, ended)
            stop.set()
            await ended.wait()
