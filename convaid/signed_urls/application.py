"""The server as an ASGI application (floor 6)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import orjson
import trio
from attrs import define, field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from convaid.config import Configuration, ConversationConfig, Rate, Secret
from convaid.errors import ConfigurationError, LinkError, LinkRefused, Problem
from convaid.rest import make_agent_query, mint_signed_url
from convaid.signed_urls.admission import Admission, Refusal
from convaid.signed_urls.rates import Allowance
from convaid.wording import escape_controls, nearest

__all__ = ["Office", "find_agents", "make_application"]

log = logging.getLogger(__name__)

PATH = "/signed-url"
EVERYBODY = ""  # the name under which all requests together are counted
PREFLIGHT_AGE = 600  # seconds for which a browser need not ask again what it may ask
PATIENCE = 5.0  # seconds after which to come again, where a busy platform does not say
HEADERS = {
    "Cache-Control": "no-store",  # a URL is for whoever asked
    "Vary": "Origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def find_agents(configuration: Configuration) -> dict[str, ConversationConfig]:
    """Return the conversations for whose agents there are URLs. Raises `ConfigurationError` where that is none."""
    known = {name: settings for name, settings in configuration.conversations.items() if settings.agent_id}
    chosen = configuration.signed_urls.conversations
    problems = []
    for name in chosen:
        if name not in known:
            found = nearest(name, known)
            hint = f'did you mean "{found[0]}"?' if found else f"there are: {', '.join(known) or 'none'}"
            words = f'there is no conversation "{name}" with an agent_id; {hint}'
            problems.append(Problem("signed_urls.conversations", words))
    if not known:
        problems.append(Problem("conversations", "none has an agent_id, for which there could be a signed URL"))
    if problems:
        raise ConfigurationError("the configuration", problems)
    return {name: known[name] for name in chosen or known}


@define(eq=False)
class Office:
    """Hands out signed URLs."""

    agents: Mapping[str, ConversationConfig]
    base_url: str
    api_key: Secret | None
    """None is for the simulator."""
    admission: Admission
    rate: Rate
    rate_in_all: Rate
    _of_each: Allowance = field(init=False)
    _of_all: Allowance = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._of_each = Allowance(self.rate)
        self._of_all = Allowance(self.rate_in_all)

    async def hand_out(self, request: Request) -> str:
        """Return a URL. Raises `Refusal`."""
        address = self.admission.find_address(request.client.host if request.client else "", request.headers)
        self._count(self._of_each, address)
        self.admission.check(request.headers)
        name = self._choose(request)
        self._count(self._of_all, EVERYBODY)
        url = await self._mint(name)
        origin = escape_controls(request.headers.get("origin", "a program"))
        log.info("a signed URL of %s for %s, %s", name, address, origin)
        return url

    def _count(self, allowance: Allowance, name: str) -> None:
        if wait := allowance.take(name, trio.current_time()):
            raise Refusal(429, "too_many", "too many requests; come again later", write_wait(wait))

    def _choose(self, request: Request) -> str:
        """The conversation that a request means."""
        query = request.query_params
        names, ids = query.getlist("conversation"), query.getlist("agent_id")
        if unknown := query.keys() - {"conversation", "agent_id"}:
            words = f'there is no parameter "{escape_controls(min(unknown))[:50]}"; there are conversation and agent_id'
            raise Refusal(422, "invalid", words)
        if len(names) + len(ids) > 1:
            raise Refusal(422, "invalid", "name one conversation, or one agent_id")
        if not names and not ids and len(self.agents) > 1:
            raise Refusal(422, "invalid", f"say which conversation, as in {PATH}?conversation=NAME")
        for name, settings in self.agents.items():
            if (not names or name == names[0]) and (not ids or settings.agent_id == ids[0]):
                return name
        raise Refusal(404, "unknown_agent", "there are no signed URLs for this conversation or agent")

    async def _mint(self, name: str) -> str:
        settings = self.agents[name]
        key = self.api_key.reveal() if self.api_key else ""
        try:
            return await mint_signed_url(
                self.base_url, key, make_agent_query(settings), time_limit=settings.limits.connect
            )
        except LinkRefused as refusal:
            log.warning("%s: the platform gives no signed URL: %s", name, refusal)
            if refusal.status == 429:
                wait = refusal.retry_after or PATIENCE
                raise Refusal(
                    429, "platform_busy", "the platform is busy; come again later", write_wait(wait)
                ) from None
            words = "the platform gives no signed URL for this agent; the server's log says why"
            raise Refusal(502, "platform_refuses", words) from None
        except LinkError as error:
            log.warning("%s: no signed URL: %s", name, error)
            raise Refusal(502, "platform_unreachable", "the platform does not answer; try again") from None


def make_application(office: Office) -> Starlette:
    """Return the application of an office."""
    origins = office.admission.config.origins

    def answer(
        request: Request, status: int, content: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        allowed = {}
        if (origin := request.headers.get("origin")) in origins:
            allowed = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}
        body = b"" if content is None else orjson.dumps(content)
        return Response(body, status, {**HEADERS, **allowed, **(headers or {})}, "application/json" if body else None)

    async def hand_out(request: Request) -> Response:
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            raise Refusal(413, "too_large", "this request has no body", {"Connection": "close"})
        return answer(request, 200, {"signed_url": await office.hand_out(request)})

    async def allow(request: Request) -> Response:
        """What browsers ask before they send a page's request: may its origin, and may it send the secret?"""
        if request.headers.get("origin") not in origins:
            raise Refusal(403, "origin_refused", "pages of this origin may not ask")
        permission = {
            "Access-Control-Allow-Methods": "GET",
            "Access-Control-Allow-Headers": "Authorization",
            "Access-Control-Max-Age": str(PREFLIGHT_AGE),
        }
        return answer(request, 204, headers=permission)

    async def tell_health(request: Request) -> Response:
        return answer(request, 200, {"status": "ok"})

    async def tell_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return answer(request, error.status, {"error": {"code": error.code, "message": str(error)}}, error.headers)

    async def tell_http_failure(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code, words = {
            404: ("not_found", f"there are GET {PATH} and GET /health"),
            405: ("wrong_method", "this is for GET"),
        }.get(error.status_code, ("http", error.detail))
        return await tell_refusal(request, Refusal(error.status_code, code, words, error.headers or {}))

    async def tell_fault(request: Request, error: Exception) -> Response:
        return await tell_refusal(request, Refusal(500, "fault", "a fault of convaid's; the server's log says more"))

    routes = [
        Route(PATH, hand_out, methods=["GET"]),
        Route(PATH, allow, methods=["OPTIONS"]),
        Route("/health", tell_health, methods=["GET"]),
    ]
    for route in routes:
        (route.methods or set()).discard("HEAD")  # starlette's addition: a URL would be made for nobody
    failures: Any = {Refusal: tell_refusal, HTTPException: tell_http_failure, Exception: tell_fault}
    return Starlette(routes=routes, exception_handlers=failures)


def write_wait(seconds: float) -> dict[str, str]:
    """The header that says when to come again."""
    return {"Retry-After": str(math.ceil(seconds))}
