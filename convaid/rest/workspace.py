"""The tools and agents of a workspace: what a program may read of them and change. Source: the OpenAPI description."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson
import trio
from attrs import evolve, field, frozen

from convaid.config.secrets import MASK, Secret
from convaid.errors import LinkError, LinkRefused
from convaid.protocol.bodies import read_json
from convaid.protocol.refusal import read_detail
from convaid.rest.request import Reply, open_http, request
from convaid.wording import escape_controls

if TYPE_CHECKING:
    import httpx

__all__ = ["PlatformTool", "Workspace", "open_workspace"]

BODY_LIMIT = 4 * 2**20  # bytes of an answer: an agent with its prompt and workflow may be large
TIME_LIMIT = 10.0  # seconds for one request and its answer
DETAIL_LENGTH = 2000  # characters of the platform's own words in an error: a 422 has a line for each fault
PAGE_SIZE = 100  # tools or agents in one answer: the most that the platform gives
PAGES = 100  # answers to one question: whoever has more of them is not getting anywhere
ATTEMPTS = 3
PAUSE = 0.5  # seconds before the second attempt; twice as long before the third
LONGEST_PAUSE = 5.0  # seconds, whatever the platform asks for: somebody waits
BUSY = (429, 500, 502, 503, 504)  # statuses after which another attempt may succeed


@frozen
class PlatformTool:
    """A tool as the platform has it."""

    id: str
    config: Mapping[str, Any]
    """Its ``tool_config``, of whatever ``type``; it has a ``name``."""
    mocks: Any = field(default=None, repr=False)
    """Its ``response_mocks``: they must be sent along with every change of the configuration."""

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def is_client_tool(self) -> bool:
        return self.config.get("type") == "client"


@asynccontextmanager
async def open_workspace(base_url: str, api_key: Secret | None) -> AsyncIterator[Workspace]:
    """Open the workspace that the key belongs to; the simulator may need none. No request is made yet."""
    async with open_http() as http:
        yield Workspace(http, base_url, api_key)


class Workspace:
    """The REST calls. Made by `open_workspace`.

    All raise `LinkRefused` where the platform refuses, in a sentence with what can be done about it, and `LinkError`
    where there is no answer, or a senseless one. What reads is attempted three times where the platform is busy or out
    of reach; what changes something is not: nobody knows what became of the first attempt.
    """

    def __init__(self, http: httpx.AsyncClient, base_url: str, api_key: Secret | None) -> None:
        self._http = http
        self._base_url = base_url
        self._api_key = api_key

    async def list_tools(self) -> list[PlatformTool]:
        """Return all tools of the workspace, of every type."""
        return [self._read_tool(entry) for entry in await self._list("/tools", "tools", "list the tools of")]

    async def get_tool(self, tool_id: str) -> PlatformTool:
        """Return one tool."""
        return self._read_tool(await self._call("GET", f"/tools/{quote(tool_id, '')}", "read a tool of"))

    async def create_tool(self, config: Mapping[str, Any]) -> PlatformTool:
        """Create a tool and return what the platform made of it."""
        return self._read_tool(await self._call("POST", "/tools", "create a tool on", {"tool_config": config}))

    async def update_tool(self, tool: PlatformTool) -> PlatformTool:
        """Replace a tool's whole configuration, and return what the platform made of it.

        What is left out falls back to the platform's defaults: begin with what `get_tool` returns.
        """
        body = {"tool_config": tool.config, **({} if tool.mocks is None else {"response_mocks": tool.mocks})}
        return self._read_tool(await self._call("PATCH", f"/tools/{quote(tool.id, '')}", "change a tool of", body))

    async def delete_tool(self, tool_id: str) -> None:
        """Delete a tool. The platform refuses while an agent uses it."""
        await self._call("DELETE", f"/tools/{quote(tool_id, '')}", "delete a tool of")

    async def list_dependent_agents(self, tool_id: str) -> list[str]:
        """Return the ids of the agents that use a tool; "" for each that the key may not see."""
        path = f"/tools/{quote(tool_id, '')}/dependent-agents"
        users = await self._list(path, "agents", "list the users of a tool of")
        return [str(user.get("id", "")) for user in users]

    async def get_agent(self, agent_id: str, branch_id: str = "") -> dict[str, Any]:
        """Return an agent, complete; ``branch_id`` "" is its main branch."""
        return await self._call("GET", _agent_path(agent_id), "read the agent on", query=_branch(branch_id))

    async def update_agent(self, agent_id: str, changes: Mapping[str, Any], branch_id: str = "") -> dict[str, Any]:
        """Change an agent and return it. ``changes`` are merged into it table by table; a list is replaced whole."""
        return await self._call("PATCH", _agent_path(agent_id), "change the agent on", changes, _branch(branch_id))

    async def get_conversation(self, conversation_id: str) -> dict[str, Any]:
        """Return a conversation that was held, with its transcript and, once that is reckoned, its cost."""
        return await self._call("GET", f"/conversations/{quote(conversation_id, '')}", "read a conversation of")

    async def _list(self, path: str, name: str, deed: str) -> list[dict[str, Any]]:
        """Return the entries of every page of a list."""
        listed: list[dict[str, Any]] = []
        query = {"page_size": str(PAGE_SIZE)}
        for _ in range(PAGES):
            page = await self._call("GET", path, deed, query=query)
            entries = page.get(name)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise self._make_senseless(deed, f'its answer has no list "{name}"')
            listed += entries
            cursor = page.get("next_cursor")
            if not page.get("has_more") or not isinstance(cursor, str) or not cursor:
                return listed
            query["cursor"] = cursor
        raise self._make_senseless(deed, f"after {PAGES} pages there are still more")

    async def _call(
        self, method: str, path: str, deed: str, body: object = None, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Make a call, again where that may help, and return the JSON object that answers it."""
        reply = await self._attempt(method, path, deed, body, query)
        if not 200 <= reply.status < 300:
            if self._api_key is not None:  # before anything is cut: half a key is too much, too
                masked = reply.body.replace(self._api_key.reveal().encode(), MASK.encode())
                reply = evolve(reply, body=masked)
            words = _explain(method, path, reply)
            raise LinkRefused(reply.status, f"cannot {deed} {self._host}" + (f": {words}" if words else ""))
        if method == "DELETE":  # is answered with any JSON, or with nothing
            return {}
        if len(reply.body) >= BODY_LIMIT:
            raise self._make_senseless(deed, f"its answer is longer than {BODY_LIMIT // 2**20} MiB")
        answer = read_json(reply.body)
        if not isinstance(answer, dict):
            raise self._make_senseless(deed, "its answer is not a JSON object; is base_url in [platform] right?")
        return answer

    async def _attempt(self, method: str, path: str, deed: str, body: object, query: Mapping[str, str] | None) -> Reply:
        headers = {} if self._api_key is None else {"xi-api-key": self._api_key.reveal()}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(body)
        for left in reversed(range(ATTEMPTS if method == "GET" else 1)):
            pause = PAUSE * 2 ** (ATTEMPTS - 1 - left)
            try:
                reply = await request(
                    self._http,
                    method,
                    f"{self._base_url}/v1/convai{path}",
                    deed=deed,
                    query=query,
                    headers=headers,
                    body=content,
                    body_limit=BODY_LIMIT,
                    time_limit=TIME_LIMIT,
                )
            except LinkError:
                if not left:
                    raise
            else:
                if not left or reply.status not in BUSY:
                    return reply
                pause = min(reply.retry_after or pause, LONGEST_PAUSE)
            await trio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    @property
    def _host(self) -> str:
        return urlsplit(self._base_url).hostname or ""

    def _read_tool(self, answer: Mapping[str, Any]) -> PlatformTool:
        tool_id, config = answer.get("id"), answer.get("tool_config")
        if not isinstance(tool_id, str) or not isinstance(config, dict) or not isinstance(config.get("name"), str):
            raise self._make_senseless("read a tool of", "it has no id, no tool_config or no name")
        return PlatformTool(tool_id, config, answer.get("response_mocks"))

    def _make_senseless(self, deed: str, fault: str) -> LinkError:
        return LinkError(f"cannot {deed} {self._host}: {fault}")


def _agent_path(agent_id: str) -> str:
    return f"/agents/{quote(agent_id, '')}"


def _branch(branch_id: str) -> dict[str, str] | None:
    return {"branch_id": branch_id} if branch_id else None


def _explain(method: str, path: str, reply: Reply) -> str:
    """What the platform says, and what can be done about it."""
    words = escape_controls(read_detail(reply.body)[:DETAIL_LENGTH]).rstrip(".")
    access = "read" if method == "GET" else "write"
    if reply.status in (401, 403) and "permission" in f"{words} {reply.body[:DETAIL_LENGTH]!r}":
        remedy = f"give the API key {access} access to agents (dashboard: Developers, API Keys)"
    elif reply.status == 401:
        remedy = "set an API key of this workspace (dashboard: Developers, API Keys) and of the region in base_url"
    elif reply.status == 403:
        remedy = "use an API key of the workspace that owns this, and look whether its plan allows it"
    elif reply.status == 404 and path.startswith("/agents") and method == "PATCH":  # it was there a moment ago
        remedy = "a tool that the agent has may be gone: take it from the agent (dashboard, agent, Tools)"
    elif reply.status == 404 and path.startswith("/agents"):
        remedy = (
            "compare agent_id and branch_id in [conversations.NAME] with the dashboard, and base_url with its region"
        )
    elif reply.status in (301, 302, 303, 307, 308) or (reply.status == 404 and path == "/tools"):
        remedy = "is base_url in [platform] right?"
    elif reply.status == 404:
        remedy = "somebody may have deleted it meanwhile: try again"
    elif reply.status in BUSY:
        remedy = "try again in a minute"
    else:
        remedy = ""
    return "; ".join(filter(None, (words, remedy)))
