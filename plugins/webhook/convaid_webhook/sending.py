"""One call of a tool: the request, the answer, and every way in which there is none, in words for the agent."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, quote_plus, urlencode

import httpx
import orjson
import trio

from convaid import ToolContext, ToolError
from convaid.config.secrets import MASK, Secret
from convaid.plugins.templates import write_text
from convaid.wording import escape_controls
from convaid_webhook.filling import LEFT_OUT, fill_tree, write_pairs
from convaid_webhook.settings import has_dots

if TYPE_CHECKING:
    from convaid_webhook.connecting import Http
    from convaid_webhook.settings import WebhookTool

__all__ = ["build_request", "send"]

UNREPEATABLE = ("POST", "PATCH")  # twice may not be the same as once
PASSING = (502, 503, 504)  # what a server in between answers while the one behind it restarts
PAUSE = 0.2  # seconds before the first repetition; twice as long before each further one
HEAD_START = 0.3  # seconds before the call's deadline, whatever set it: time to say what happened
ERROR_TOLD = 400  # characters of an error that the agent gets, the beginning of the body included
ERROR_READ = 4000  # bytes of an error's body that are read


async def send(tool: WebhookTool, arguments: Mapping[str, Any], context: ToolContext) -> Any:
    """Make the tool's request and return the result. Raises ToolError; no secret is in it, nor in the result."""
    total = max(0.0, min(tool.limits.total, context.count_seconds_left() - HEAD_START))
    try:
        secrets = tool.read_secrets()
    except ValueError as error:
        context.log.error("%s", error)
        raise ToolError("This is out of order: a secret is missing. The log says which.") from None
    try:
        with trio.move_on_after(total):
            request = build_request(tool, arguments, context.state)
            async with _take_place(context.state, tool), _open_answer(context.state, tool, request) as response:
                return _mask(_find_result(tool, await _read_answer(tool, response)), secrets)
    except ToolError as error:
        told = escape_controls(_mask(str(error), secrets))
        raise ToolError(told if len(told) <= ERROR_TOLD else f"{told[:ERROR_TOLD]}…") from None
    raise ToolError(f"{tool.host} was not done within {total:.3g} s, the total limit. {_warn(tool)}".strip())


def build_request(tool: WebhookTool, arguments: Mapping[str, Any], http: httpx.AsyncClient) -> httpx.Request:
    """Return the request with the arguments in it. Raises ToolError for one that cannot stand where it belongs."""
    headers = {}
    for name, template in tool.header_texts.items():
        text = template.fill(arguments)
        if text is not None:
            if not text.replace("\t", " ").isprintable():
                raise ToolError(f"A line break or another control character cannot stand in the header {name}.")
            headers[name] = text.strip()
    content = None
    if tool.form is not None:
        content = urlencode([*write_pairs(tool.body, arguments)]).encode()
    elif tool.json is not None and (value := fill_tree(tool.body, arguments)) is not LEFT_OUT:
        content = json.dumps(value, separators=(",", ":")).encode()
    if content is not None and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = tool.body_type
    limits = tool.limits
    try:
        request = http.build_request(
            tool.method,
            _build_url(tool, arguments),
            headers=[(name.encode(), text.encode()) for name, text in headers.items()],
            content=content,
            timeout=httpx.Timeout(connect=limits.connect, write=limits.write, read=limits.read, pool=None),
        )
    except httpx.InvalidURL as error:  # too long, say
        raise ToolError(f"The address for {tool.host} cannot be: {error}.") from None
    request.stream = WholeBody(content or b"")
    return request


class WholeBody(httpx.AsyncByteStream):
    """A body in one piece. httpx's own is an async generator, which trio would have to clean up after a time limit."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        self.left = [self.content]
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


def _build_url(tool: WebhookTool, arguments: Mapping[str, Any]) -> str:
    for name in tool.path.names:
        if arguments.get(name) in (None, ""):
            raise ToolError(f'"{name}" cannot be empty.')
    path = tool.path.fill(arguments, _quote)
    if path is None or has_dots(path):
        raise ToolError(f'{", ".join(tool.path.names)}: "." and ".." cannot stand here.')
    query = "&".join(
        filter(None, [tool.extra_query.fill(arguments, _quote), urlencode([*write_pairs(tool.queries, arguments)])])
    )
    return f"{tool.origin}{path}{'?' if query else ''}{query}"


def _quote(value: Any) -> str:
    return quote(write_text(value), safe="")


@asynccontextmanager
async def _take_place(http: Http, tool: WebhookTool) -> AsyncIterator[None]:
    with trio.move_on_after(tool.limits.pool) as waiting:
        await http.places.acquire()
    if waiting.cancelled_caught:
        raise ToolError(
            f"So many requests are under way that there was no place within {tool.limits.pool:g} s, the pool limit. "
            "Nothing was sent."
        )
    try:
        yield
    finally:
        http.places.release()


@asynccontextmanager
async def _open_answer(http: Http, tool: WebhookTool, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    """Send the request, again if it may be and it helps, and close the answer in the end."""
    left = 0 if tool.method in UNREPEATABLE else tool.retries
    pause = PAUSE
    while True:
        try:
            response = await http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if not left:
                _explain(tool, error)
        except httpx.TransportError as error:
            _explain(tool, error)
        else:
            if response.status_code not in PASSING or not left:
                break
            await response.aclose()
        left -= 1
        await trio.sleep(pause)
        pause *= 2
    try:
        yield response
    except httpx.TransportError as error:
        _explain(tool, error)
    finally:
        await response.aclose()


def _explain(tool: WebhookTool, error: httpx.TransportError) -> NoReturn:
    limits = tool.limits
    match error:
        case httpx.ConnectTimeout():
            text = f"{tool.host} could not be reached within {limits.connect:g} s, the connect limit. Nothing was sent."
        case httpx.ConnectError():
            text = f"{tool.host} cannot be reached: {_find_reason(error)}. Nothing was sent."
        case httpx.WriteTimeout():
            text = f"{tool.host} has not taken the request within {limits.write:g} s, the write limit. {_warn(tool)}"
        case httpx.ReadTimeout():
            text = f"{tool.host} has not answered for {limits.read:g} s, the read limit. {_warn(tool)}"
        case _:
            text = f"The connection to {tool.host} broke: {_find_reason(error)}. {_warn(tool)}"
    raise ToolError(text.strip()) from None


def _find_reason(error: BaseException) -> str:
    """Return the innermost reason that has words: httpx wraps its errors two or three times, some without any."""
    reason = type(error).__name__
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({inner.verify_message})"
        if isinstance(inner, OSError) and inner.errno and not isinstance(inner, ssl.SSLError):
            return os.strerror(inner.errno)
        reason = str(inner).rstrip(".") or reason
        inner = inner.exceptions[0] if isinstance(inner, BaseExceptionGroup) else inner.__cause__ or inner.__context__
    return reason


def _warn(tool: WebhookTool) -> str:
    if tool.method not in UNREPEATABLE:
        return ""
    return "It may have been done all the same: find out before you call this again."


async def _read_answer(tool: WebhookTool, response: httpx.Response) -> str:
    """Return the body of an answer that says yes; ToolError with the status and the words of any other."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    is_compressed = response.headers.get("Content-Encoding", "identity").lower() != "identity"
    if response.is_success:
        if is_compressed:
            raise ToolError(f"{tool.host} has accepted the request, but its answer is compressed and cannot be read.")
        body = await _read_body(response, tool.answer_size)
        if len(body) > tool.answer_size:
            raise ToolError(
                f"{tool.host} has accepted the request, but its answer is longer than {tool.answer_size} bytes."
            )
        return body.decode("utf-8-sig", "replace")
    if response.has_redirect_location:
        place = re.split("[?#]", response.headers["Location"])[0]
        raise ToolError(f"{tool.host} answers {status} and refers to {place}, which is not followed.")
    excerpt = b"" if is_compressed else (await _read_body(response, ERROR_READ))[:ERROR_READ]
    words = " ".join(excerpt.decode("utf-8", "replace").split())
    raise ToolError(f"{tool.host} answers {status}{': ' if words else '.'}{words}")


async def _read_body(response: httpx.Response, most: int) -> bytes:
    """Return the body, or the beginning of one that is longer than ``most`` bytes: that and some more."""
    parts = []
    left = most
    # Leaving the loop would leave three async generators of httpx's half-way, which trio would have to clean up.
    with trio.CancelScope() as enough:
        async for part in response.aiter_raw():
            parts.append(part)
            left -= len(part)
            if left < 0:
                enough.cancel()
    return b"".join(parts)


def _find_result(tool: WebhookTool, text: str) -> Any:
    if not tool.result:
        return text or None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ToolError(f"{tool.host} has accepted the request, but its answer is not JSON.") from None
    for step in tool.result.split("."):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ToolError(f'{tool.host} has accepted the request, but its answer has no "{tool.result}".') from None
    return value


def _mask(value: Any, secrets: Iterable[Secret]) -> Any:
    """Return a text, or what JSON holds, without the secrets, in any of the forms in which a server may repeat them."""
    match value:
        case str():
            for form in {form for secret in secrets for form in _find_forms(secret.reveal())}:
                value = value.replace(form, MASK)
        case dict():
            return {_mask(name, secrets): _mask(inner, secrets) for name, inner in value.items()}
        case list():
            return [_mask(inner, secrets) for inner in value]
        case int() | float() if str(value) in [secret.reveal() for secret in secrets]:
            return MASK
    return value


def _find_forms(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret, safe=""), quote(secret), quote_plus(secret))
    for is_ascii in (True, False):
        written = json.dumps(secret, ensure_ascii=is_ascii)[1:-1]
        yield from (written, written.replace("/", "\\/"))
