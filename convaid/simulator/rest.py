"""The simulator's REST side: a table of routes, each a function from a request to an answer. No input or output."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import trio
from attrs import define, field, frozen

from convaid.simulator.scenario import Agent, Refuse

__all__ = ["CONVERSATION_PATH", "Answer", "Authorization", "Request", "RestRoutes"]

CONVERSATION_PATH = "/v1/convai/conversation"  # of the WebSocket
SIGNATURE_LIFE = 15 * 60.0  # seconds in which a signed URL can start a conversation, as on the platform
NO_SUCH_AGENT = "The AI agent you are trying to reach does not exist."


@frozen
class Request:
    """An HTTP request; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def api_key(self) -> str | None:
        """The key that came along, right or wrong."""
        return self.headers.get("xi-api-key")


@frozen
class Answer:
    """What to answer: a status and something to write as JSON (None: no body)."""

    status: int
    content: Any = field(default=None, repr=False)


def refuse(status: int, code: str, message: str) -> Answer:
    """An error in today's shape of the platform's."""
    return Answer(status, {"detail": {"type": code, "code": code, "status": code, "message": message}})


@define
class Authorization:
    """Who may talk to the agent: knows the API key and the signatures that were handed out."""

    api_key: str | None = field(repr=False)
    _signatures: dict[str, tuple[str, float, bool]] = field(factory=dict, repr=False)

    def is_key_accepted(self, api_key: str | None) -> bool:
        """Does this key open the REST API? Without a key of its own the simulator takes any, and none."""
        return self.api_key is None or api_key == self.api_key

    def mint_signature(self, agent_id: str, *, is_single_use: bool) -> str:
        """Make a signature that starts conversations with the agent for the next 15 minutes."""
        now = trio.current_time()
        self._signatures = {token: held for token, held in self._signatures.items() if held[1] > now}
        signature = secrets.token_urlsafe(24)
        self._signatures[signature] = (agent_id, now + SIGNATURE_LIFE, is_single_use)
        return signature

    def find_refusal(self, agent: Agent, request: Request) -> Refuse | None:
        """How the platform would refuse this start of a conversation; None where it would not."""
        agent_id = request.query.get("agent_id", "")
        signature = request.query.get("conversation_signature")
        if signature is not None:
            return None if self._redeem(signature, agent_id) else Refuse()
        if not agent_id or agent.id not in ("", agent_id):
            return Refuse(reason=NO_SUCH_AGENT)
        if agent.requires_authorization and (request.api_key is None or not self.is_key_accepted(request.api_key)):
            return Refuse()
        return None

    def _redeem(self, signature: str, agent_id: str) -> bool:
        signed_agent, expires_at, is_single_use = self._signatures.get(signature, ("", 0.0, False))
        if is_single_use:
            del self._signatures[signature]
        return signed_agent == agent_id and trio.current_time() < expires_at


class RestRoutes:
    """The routes. ``address`` is the simulator's host and port; ``find_agent`` tells who is simulated just now."""

    def __init__(self, address: str, authorization: Authorization, find_agent: Callable[[], Agent]) -> None:
        self._address = address
        self._authorization = authorization
        self._find_agent = find_agent
        self._routes: list[tuple[str, str, Callable[[Request], Answer]]] = [
            ("GET", f"{CONVERSATION_PATH}/get[-_]signed[-_]url", self.sign_url),
            ("GET", f"{CONVERSATION_PATH}/token", self.refuse_token),
        ]

    def answer(self, request: Request) -> Answer:
        """Answer a request; what the simulator does not serve is a 404 in the platform's shape."""
        if request.method == "OPTIONS":  # a browser asks before it sends a key
            return Answer(204)
        for method, pattern, route in self._routes:
            if request.method == method and re.fullmatch(pattern, request.path):
                return route(request)
        return refuse(404, "not_found", f"The simulator does not serve {request.method} {request.path}.")

    def sign_url(self, request: Request) -> Answer:
        """Hand out a URL that starts a conversation with a private agent."""
        if not self._authorization.is_key_accepted(request.api_key):
            return refuse(401, "invalid_api_key", "Invalid API key")
        agent_id = request.query.get("agent_id")
        if not agent_id:
            return Answer(422, {"detail": [{"loc": ["query", "agent_id"], "msg": "Field required", "type": "missing"}]})
        if self._find_agent().id not in ("", agent_id):
            return refuse(404, "agent_not_found", f"Agent with ID '{agent_id}' not found.")
        is_single_use = request.query.get("include_conversation_id", "").lower() in ("true", "1")
        signature = self._authorization.mint_signature(agent_id, is_single_use=is_single_use)
        query = f"agent_id={quote(agent_id, safe='')}&conversation_signature={signature}"
        return Answer(200, {"signed_url": f"ws://{self._address}{CONVERSATION_PATH}?{query}"})

    def refuse_token(self, request: Request) -> Answer:
        """WebRTC is not simulated."""
        return refuse(
            400, "webrtc_unavailable", 'The simulator speaks WebSocket only: ask for connectionType "websocket".'
        )
