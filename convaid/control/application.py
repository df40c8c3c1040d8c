"""The control API as an ASGI application: requests are read and checked, answers and errors written (floor 6)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, nullcontext
from functools import partial
from typing import Any

import attrs
import orjson
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from convaid.calls.desk import Desk
from convaid.control.conversations import CONVERSATION_ROUTES
from convaid.control.daemon_routes import DAEMON_ROUTES
from convaid.control.exchange import Exchange, Route
from convaid.control.failures import ControlError, describe_failure
from convaid.control.feed import Feed
from convaid.control.openapi import describe_api
from convaid.control.peers import PEER
from convaid.control.tools import TOOL_ROUTES
from convaid.daemon import Daemon
from convaid.errors import ConvaidError
from convaid.structuring import structure
from convaid.wording import escape_controls, nearest

__all__ = ["ROUTES", "make_application"]

log = logging.getLogger(__name__)

BODY_LIMIT = 2**20  # bytes of a request in JSON
LOOKS_AT_ONCE = 2  # requests that change nothing: between two turns of the loop there is no time for more
READ_LIMIT = 60.0  # seconds for a request to come
FILE_LIMIT = 20 * 2**20  # bytes of a file for the agent


async def show_description(exchange: Exchange) -> Response:
    return write_json(describe_api(ROUTES))


ROUTES = (
    *DAEMON_ROUTES,
    *CONVERSATION_ROUTES,
    *TOOL_ROUTES,
    Route("GET", "/v1/openapi.json", "describeApi", "This description.", dict[str, Any], show_description),
)
"""All there is."""


def make_application(daemon: Daemon, feed: Feed, desk: Desk) -> Starlette:
    """Return the application that serves a daemon."""
    looking = trio.Semaphore(LOOKS_AT_ONCE)

    def serve(route: Route) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            exchange = await read_exchange(route, request, partial(Exchange, daemon, feed, desk, PEER.get()))
            if route.changes:
                log.info("%s %s, by %s", route.method, escape_controls(request.url.path), exchange.peer)
            async with nullcontext() if route.changes else looking:
                answer = await route.act(exchange)
                return answer if isinstance(answer, Response) else write_json(answer, route.status)

        return answer

    routes = [StarletteRoute(route.path, serve(route), methods=[route.method]) for route in ROUTES]
    for each in routes:  # HEAD is starlette's addition: events without a body would be nothing, for ever
        (each.methods or set()).discard("HEAD")
    return Starlette(
        routes=routes,
        exception_handlers={ConvaidError: tell_failure, HTTPException: tell_http_failure, Exception: tell_fault},
    )


async def read_exchange(route: Route, request: Request, make_exchange: Callable[..., Exchange]) -> Exchange:
    """Read a request and check it. Raises `ConvaidError`."""
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    check_query(route, query)
    try:
        with trio.fail_after(READ_LIMIT):
            content = await read_content(request, FILE_LIMIT if route.takes_bytes else BODY_LIMIT)
    except trio.TooSlowError:
        raise ControlError(408, "too_slow", f"the request did not come within {READ_LIMIT:g} s") from None
    body = read_body(route, content)
    kind = request.headers.get("content-type", "").partition(";")[0]
    return make_exchange(request.path_params, query, body, content, kind)


def check_query(route: Route, query: dict[str, list[str]]) -> None:
    """Raise `ControlError` for a parameter that there is not, and for one that is missing."""
    known = [each.name for each in route.query]
    problems = [f'there is no parameter "{name}"' for name in query if name not in known]
    missing = [each.name for each in route.query if each.is_required and not any(query.get(each.name, []))]
    problems += [f'the parameter "{name}" is missing' for name in missing]
    if problems:
        hint = f"there are: {', '.join(known)}" if known else "this request takes none"
        raise ControlError(422, "invalid", f"the request does not fit: {'; '.join(problems)}; {hint}", "", problems)


async def read_content(request: Request, limit: int) -> bytes:
    """Read the body. Raises `ControlError` where it is too long, or broke off."""
    content = bytearray()
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > limit:
                    words = f"the request is longer than {limit // 2**20} MiB"
                    raise ControlError(413, "too_large", words, "Send less.")
    except ClientDisconnect:  # nobody is there to hear it
        raise ControlError(400, "broken_off", "the request broke off") from None
    return bytes(content)


def read_body(route: Route, content: bytes) -> Any:
    """Return the body as the route wants it. Raises `ControlError` and `StructureError`."""
    if route.body is None:
        return None
    try:
        plain = orjson.loads(content) if content.strip() else {}
    except orjson.JSONDecodeError as error:
        raise ControlError(400, "not_json", f"the request is not JSON: {error}", "Send a JSON object.") from None
    return structure(plain, route.body)


def write_json(answer: object, status: int = 200) -> Response:
    """Return the response for a value, be it plain or of the value classes."""
    return Response(orjson.dumps(answer, default=_write_other), status, media_type="application/json")


def _write_other(value: Any) -> Any:
    if attrs.has(type(value)):
        return attrs.asdict(value, recurse=False)
    return str(value)


async def tell_failure(_: Request, error: Exception) -> Response:
    """Answer with an error of ours."""
    assert isinstance(error, ConvaidError)
    failure = describe_failure(error)
    return write_json({"error": failure.error}, failure.status)


async def tell_http_failure(request: Request, error: Exception) -> Response:
    """Answer with one of starlette's: no such path, no such method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        found = nearest(path, {route.path for route in ROUTES})
        hint = f"; did you mean {found[0]}?" if found else ""
        failure = ControlError(
            404, "not_found", f"there is no {path}{hint}", "GET /v1/openapi.json lists what there is."
        )
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        failure = ControlError(405, "wrong_method", f"{path} is not for {request.method}, but for {allowed}")
    else:
        failure = ControlError(error.status_code, "http", error.detail)
    response = write_json({"error": failure.error}, failure.status)
    response.headers.update(error.headers or {})
    return response


async def tell_fault(_: Request, error: Exception) -> Response:
    """Answer with a fault of ours; starlette raises it again, so that the log has its traceback."""
    words = f"a fault of convaid's ({type(error).__name__})"
    remedy = "Report it, with the traceback that the log has."
    return write_json({"error": ControlError(500, "fault", words, remedy).error}, 500)
