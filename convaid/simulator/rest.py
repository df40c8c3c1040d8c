"""The simulator's REST side: a table of routes, each a function from a request to an answer. No input or output."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import quote

import trio
from attrs import define, field

from convaid.simulator.answers import Answer, Request, Route, refuse
from convaid.simulator.scenario import Agent, Refuse

__all__ = ["CONVERSATION_PATH", "Authorization", "RestRoutes"]

CONVERSATION_PATH = "/v1/convai/conversation"  # of the WebSocket
SIGNATURE_LIFE = 15 * 60.0  # seconds in which a signed URL can start a conversation, as on the platform
NO_SUCH_AGENT = "The AI agent you are trying to reach does not exist."


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

    def find_refusal(self, agent: Agent | None, request: Request) -> Refuse | None:
        """How the platform would refuse this start of a conversation with ``agent``; None where it would not."""
        agent_id = request.query.get("agent_id", "")
        signature = request.query.get("conversation_signature")
        if signature is not None and not self._redeem(signature, agent_id):
            return Refuse()
        if not agent_id or agent is None:
            return Refuse(reason=NO_SUCH_AGENT)
        needs_key = agent.requires_authorization and signature is None
        if needs_key and (request.api_key is None or not self.is_key_accepted(request.api_key)):
            return Refuse()
        return None

    def _redeem(self, signature: str, agent_id: str) -> bool:
        signed_agent, expires_at, is_single_use = self._signatures.get(signature, ("", 0.0, False))
        if is_single_use:
            del self._signatures[signature]
        return signed_agent == agent_id and trio.current_time() < expires_at


class RestRoutes:
    """The routes: those that start conversations, and ``more``.

    ``address`` is the simulator's host and port; ``is_known`` tells whether a conversation with the agent of an id is
    to be had.
    """

    def __init__(
        self,
        address: str,
        authorization: Authorization,
        is_known: Callable[[str], bool],
        more: Sequence[Route] = (),
    ) -> None:
        self._address = address
        self._authorization = authorization
        self._is_known = is_known
        self._routes = [
            Route("GET", f"{CONVERSATION_PATH}/get[-_]signed[-_]url", self.sign_url),
            Route("GET", f"{CONVERSATION_PATH}/token", self.refuse_token, needs_key=False),
            *more,
        ]

    def answer(self, request: Request) -> Answer:
        """Answer a request; what the simulator does not serve is a 404 in the platform's shape."""
        if request.method == "OPTIONS":  # a browser asks before it sends a key
            return Answer(204)
        methods = []
        for route in self._routes:
            if found := re.fullmatch(route.path, request.path):
                if request.method == route.method:
                    if route.needs_key and not self._authorization.is_key_accepted(request.api_key):
                        return refuse(401, "invalid_api_key", "Invalid API key")
                    return route.answer(request, *found.groups())
                methods.append(route.method)
        if methods:
            return refuse(405, "method_not_allowed", f"There is {' and '.join(methods)} {request.path} alone.")
        return refuse(404, "not_found", f"The simulator does not serve {request.method} {request.path}.")

    def sign_url(self, request: Request) -> Answer:
        """Hand out a URL that starts a conversation with a private agent."""
        agent_id = request.query.get("agent_id")
        if not agent_id:
            return Answer(422, {"detail": [{"loc": ["query", "agent_id"], "msg": "Field required", "type": "missing"}]})
        if not self._is_known(agent_id):
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
