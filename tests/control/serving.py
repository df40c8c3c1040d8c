"""A daemon whose control API is served on a real socket, and one who asks it and holds the answers against OpenAPI."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import trio
from attrs import define

from convaid.control.application import ROUTES
from convaid.control.openapi import describe_api
from convaid.control.serving import serve_control

from ..daemon.holding import Held, hold

__all__ = ["HANG_UP", "LISTEN", "Api", "on_demand", "open_api", "open_control"]

LISTEN = 'agent.text_only = true\nsteps = [{say = "Hello."}]\n[[rules]]\nsay = "I see."'
HANG_UP = 'steps = [{say = "Hello."}, {end = {}}]'
DOCUMENT = describe_api(ROUTES)


def on_demand(*names: str) -> str:
    """A configuration with conversations that somebody has to ask for; text, so that the agent's turns are short."""
    table = '[conversations.{}]\nagent_id = "agent_test"\nstart = "on_demand"\noverrides.text_only = true\n'
    return "".join(table.format(name) for name in names)


@define(eq=False)
class Api:
    """Asks the API; every answer must be as its description has it."""

    socket: Path
    held: Held
    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Make a request and return what it is answered, which has this status."""
        content = body if isinstance(body, bytes) else None
        answer = await self.http.request(method, path, json=None if content else body, content=content)
        assert answer.status_code == status, answer.text
        check_answer(method, path, answer)
        return answer.json()

    async def get(self, path: str, status: int = 200) -> Any:
        return await self.ask("GET", path, status=status)

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        return await self.ask("POST", path, body, status)


def check_answer(method: str, path: str, answer: httpx.Response) -> None:
    """Hold an answer against the description."""
    for template, operations in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path.partition("?")[0]) and method.lower() in operations:
            described = operations[method.lower()]["responses"]
            described = described.get(str(answer.status_code), described["default"])
            schema = described["content"]["application/json"]["schema"]
            jsonschema.validate(answer.json(), {**schema, "components": DOCUMENT["components"]})
            return
    schema = DOCUMENT["components"]["schemas"]["Failure"]
    jsonschema.validate(answer.json(), {**schema, "components": DOCUMENT["components"]})


@asynccontextmanager
async def open_control(*scenarios: str, configuration: str, **options: Any) -> AsyncIterator[tuple[Held, Path]]:
    """Run a daemon with its control API until the end of the body."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's are too long for a socket
        path = Path(folder, "control.sock")
        text = f'{configuration}\n[control]\npath = "{path}"\n'
        async with hold(*scenarios, configuration=text, services=[serve_control], **options) as held:
            while held.daemon.keeper is None:
                assert not held.over.is_set()
                await trio.sleep(0.005)
            yield held, path


@asynccontextmanager
async def open_api(*scenarios: str, configuration: str, **options: Any) -> AsyncIterator[Api]:
    """Run a daemon, and ask its API."""
    async with open_control(*scenarios, configuration=configuration, **options) as (held, path):
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://daemon", timeout=15) as http:
            yield Api(path, held, http)
