"""The simulator's REST side: a table of routes, each a function from a request to an answer. No input or output."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence, Set
from urllib.parse import quote, urlsplit

import trio
from attrs import define, field

from convaid.simulator.answers import Answer, Request, Route, refuse
from convaid.simulator.scenario import Agent, Refuse

__all__ = ["CONVERSATION_PATH", "SCOPES", "SIGNED_URL_PATH", "Authorization", "RestRoutes"]

CONVERSATION_PATH = "/v1/convai/conversation"  # of the WebSocket
SIGNED_URL_PATH = f"{CONVERSATION_PATH}/get[-_]signed[-_]url"  # a regular expression
SCOPES = frozenset({"convai_read", "convai_write"})
"""What an API key may be allowed: to read what there is of agents, and to change it."""
NO_SUCH_AGENT = "The AI agent you are trying to reach does not exist."


@define
class Authorization:
    """Who may talk to the agent: knows the API key and the signatures that were handed out."""

    api_key: str | None = field(repr=False)
    scopes: Set[str] = SCOPES
    _signatures: dict[str, tuple[str, float, bool]] = field(factory=dict, repr=False)

    def is_key_accepted(self, api_key: str | None) -> bool:
        """Does this key open the REST API? Without a key of its own the simulator takes any, and none."""
        return self.api_key is None or api_key == self.api_key

    def find_key_refusal(self, request: Request) -> Answer | None:
        """Why the key that came with a REST call does not open it; None where it does."""
        if not self.is_key_accepted(request.api_key):
            return refuse(401, "invalid_api_key", "Invalid API key")
        scope = "convai_read" if request.method == "GET" else "convai_write"
        if scope in self.scopes or not request.path.startswith("/v1/convai/"):
            return None
        words = f"The API key you used is missing the permission {scope} to execute this operation."
        return refuse(401, "unauthorized", words, kind="authentication_error", status_name="missing_permissions")

    def mint_signature(self, agent_id: str, life: float, *, is_single_use: bool) -> str:
        """Make a signature that starts conversations with the agent for the next ``life`` seconds."""
        now = trio.current_time()
        self._signatures = {token: held for token, held in self._signatures.items() if held[1] > now}
        signature = secrets.token_urlsafe(24)
        self._signatures[signature] = (agent_id, now + life, is_single_use)
        return signature

    def find_refusal(self, agent: Agent | None, request: Request) -> Refuse | None:
        """How the platform would refuse this start of a conversation with ``agent``; None where it would not."""
        agent_id = request.query.get("agent_id", "")
        signature = request.query.get("conversation_signature")
        if signature is not None and not self._redeem(signature, agent_id):
            return Refuse()
        if not agent_id or agent is None:
            return Refuse(reason=NO_SUCH_AGENT)
        if not is_welcome(agent, request.headers.get("origin")):
            return Refuse()
        needs_key = agent.requires_authorization and signature is None
        if needs_key and (request.api_key is None or not self.is_key_accepted(request.api_key)):
            return Refuse()
        return None

    def _redeem(self, signature: str, agent_id: str) -> bool:
        signed_agent, expires_at, is_single_use = self._signatures.get(signature, ("", 0.0, False))
        if is_single_use:
            del self._signatures[signature]
        return signed_agent == agent_id and trio.current_time() < expires_at


def is_welcome(agent: Agent, origin: str | None) -> bool:
    """May a page of this origin talk to the agent? Programs that are no browsers send none."""
    if not agent.allowlist:
        return True
    if not origin:
        return not agent.require_origin_header
    parts = urlsplit(origin)
    return not {parts.netloc, parts.hostname or origin}.isdisjoint(agent.allowlist)


class RestRoutes:
    """The routes: those that start conversations, and ``more``.

    ``address`` is the simulator's host and port; ``find_agent`` finds whom a conversation with an id is to be had with.
    """

    def __init__(
        self,
        address: str,
        authorization: Authorization,
        find_agent: Callable[[str], Agent | None],
        more: Sequence[Route] = (),
    ) -> None:
        self._address = address
        self._authorization = authorization
        self._find_agent = find_agent
        self._routes = [
            Route("GET", SIGNED_URL_PATH, self.sign_url),
            Route("GET", f"{CONVERSATION_PATH}/token", self.refuse_token, needs_key=False),
            *more,
        ]

    def answer(self, request: Request) -> Answer:
        """Answer a request; what the simulator does not serve is a 404 in the platform's shape."""
        if request.method == "OPTIONS":  # a browser asks before it sends a key
            return Answer(204, headers=answer_preflight(request))
        methods = []
        for route in self._routes:
            if found := re.fullmatch(route.path, request.path):
                if request.method == route.method:
                    if route.needs_key and (refusal := self._authorization.find_key_refusal(request)):
                        return refusal
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
        agent = self._find_agent(agent_id)
        if agent is None:
            return refuse(404, "agent_not_found", f"Agent with ID '{agent_id}' not found.")
        is_single_use = request.query.get("include_conversation_id", "").lower() in ("true", "1")
        signature = self._authorization.mint_signature(agent_id, agent.signed_url_life, is_single_use=is_single_use)
        query = f"agent_id={quote(agent_id, safe='')}&conversation_signature={signature}"
        address = request.headers.get("host", self._address)  # there may be a proxy in between
        return Answer(200, {"signed_url": f"ws://{address}{CONVERSATION_PATH}?{query}"})

    def refuse_token(self, request: Request) -> Answer:
        """WebRTC is not simulated."""
        return refuse(
            400, "webrtc_unavailable", 'The simulator speaks WebSocket only: ask for connectionType "websocket".'
        )


def answer_preflight(request: Request) -> dict[str, str]:
    """What lets a page of any origin go on with its call: all that it has asked for."""
    headers = {"Access-Control-Max-Age": "600"}
    if wanted := request.headers.get("access-control-request-headers"):
        headers["Access-Control-Allow-Headers"] = wanted
    if "access-control-request-private-network" in request.headers:
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers
