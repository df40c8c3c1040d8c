"""The server of a language model: one request for each answer, streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal, TypeVar

import orjson
import trio
from attrs import field, frozen

from convaid.protocol.bodies import read_json
from convaid.simulator.brain.chunks import Answer, EventReader, read_error
from convaid.simulator.brain.exchange import ANSWER_PROBLEMS, Exchange, open_exchange
from convaid.simulator.brain.settings import OLLAMA, Brain
from convaid.wording import escape_controls

__all__ = ["Model", "ModelFailed"]

T = TypeVar("T")

ERROR_LENGTH = 500  # characters of a server's own words
BODY_LIMIT = 2**22  # bytes of an answer that is not streamed
ANSWER_LENGTH = 32_000  # characters: half an hour of speech; a model that goes on and on is cut short


class ModelFailed(Exception):
    """The model has not answered; the platform's word for that, and a sentence with the remedy."""

    def __init__(self, error_type: Literal["llm_timeout", "custom_llm_error"], message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


@frozen
class Model:
    """A language model on a server."""

    brain: Brain
    api_key: str = field(default="", repr=False)

    async def find_name(self) -> str:
        """The model's name: the first that the server lists where none is given. Raises ModelFailed."""
        if self.brain.model:
            return self.brain.model
        if names := await self._list_models():
            return names[0]
        raise self._fail("lists no models; for Ollama, `ollama pull` one first")

    async def ask(self, body: dict[str, Any], say: Callable[[str], Awaitable[None]]) -> Answer:
        """Ask for an answer, which is handed to ``say`` piece by piece as it comes.

        Raises ModelFailed, also where nothing comes for ``time_limit`` seconds, in which those of ``say`` do not count.
        """
        answer, reader, whole = Answer(), EventReader(), bytearray()
        deadline = trio.current_time() + self.brain.time_limit
        async with self._open("POST", "/chat/completions", {**body, "stream": True}, deadline) as exchange:
            if exchange.status != 200:
                raise self._describe_refusal(exchange, await self._read_body(exchange, deadline), body["model"])
            is_streamed = "json" not in exchange.headers.get("content-type", "")
            while not answer.is_complete and len(answer.text) < ANSWER_LENGTH:
                with self._translate(deadline):
                    if not (chunk := await exchange.read()):
                        break
                if not is_streamed:
                    whole += chunk[: BODY_LIMIT - len(whole)]
                    continue
                for event in self._read(reader.feed, chunk):
                    if added := self._read(answer.take, event):
                        await say(added)
                    deadline = trio.current_time() + self.brain.time_limit
            if whole and (added := self._read(answer.take, bytes(whole))):
                await say(added)
        if not answer.is_complete and len(answer.text) < ANSWER_LENGTH:
            raise self._fail("broke off in the middle of an answer; its log may say why")
        if not answer.text.strip() and not answer.calls:
            raise self._fail("answers with nothing, neither words nor a tool call; its log may say why")
        return answer

    async def _list_models(self) -> list[str]:
        deadline = trio.current_time() + self.brain.time_limit
        async with self._open("GET", "/models", None, deadline) as exchange:
            body = await self._read_body(exchange, deadline)
        if exchange.status != 200:
            raise self._describe_refusal(exchange, body, "")
        listed = read_json(body)
        models = listed.get("data") if isinstance(listed, dict) else None
        named = [model.get("id") for model in models if isinstance(model, dict)] if isinstance(models, list) else []
        return [name for name in named if isinstance(name, str)]

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: dict[str, Any] | None, deadline: float
    ) -> AsyncIterator[Exchange]:
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        content = b"" if body is None else orjson.dumps(body)
        async with AsyncExitStack() as stack:
            with self._translate(deadline):
                exchange = await stack.enter_async_context(
                    open_exchange(method, self.brain.base_url.rstrip("/") + path, headers, content)
                )
            yield exchange

    @contextmanager
    def _translate(self, deadline: float) -> Iterator[None]:
        """Wait for the server until the deadline; what goes wrong with it is a ModelFailed."""
        try:
            with trio.fail_at(deadline):
                yield
        except trio.TooSlowError:
            words = f"{self.brain.base_url}: nothing came from the model in {self.brain.time_limit:g} s"
            raise ModelFailed("llm_timeout", f"{words}; brain.time_limit may be more, or choose a faster one") from None
        except ANSWER_PROBLEMS as error:
            raise self._fail(
                f"broke off: {error.__cause__ or error or type(error).__name__}; its log may say why"
            ) from None
        except OSError as error:
            raise self._fail(
                f"cannot be reached: {error}; start its server (for Ollama: `ollama serve`), or correct brain.base_url"
            ) from None

    async def _read_body(self, exchange: Exchange, deadline: float) -> bytes:
        body = bytearray()
        with self._translate(deadline):
            while len(body) < BODY_LIMIT and (chunk := await exchange.read()):
                body += chunk
        return bytes(body)

    def _read(self, read: Callable[[bytes], T], text: bytes) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise self._fail(f"does not answer as it should: {error}") from None

    def _describe_refusal(self, exchange: Exchange, body: bytes, name: str) -> ModelFailed:
        """Say why a request was refused, and what to do about it."""
        status, content = exchange.status, read_json(body)
        if 300 <= status < 400:
            place = exchange.headers.get("location", "nowhere")[:ERROR_LENGTH]
            return self._fail(f"answers {status}, a redirect to {place}: let brain.base_url be where it really is")
        words = (body.decode(errors="replace") if content is None else read_error(content)).strip()
        if status in (401, 403):
            remedy = "brain.api_key_env names the environment variable that has its key"
        elif status == 404:
            remedy = f'is brain.model = "{name}" one that it has, and brain.base_url complete, as {OLLAMA} is?'
        elif status >= 500:
            remedy = "its log may say why"
        else:
            remedy = "not every model takes tools: another one may"
        return self._fail(f"answers {status}: {words[:ERROR_LENGTH]}; {remedy}")

    def _fail(self, words: str) -> ModelFailed:
        """A failure of the server, in words without its key."""
        words = f"{self.brain.base_url} {words}"
        return ModelFailed(
            "custom_llm_error", escape_controls(words.replace(self.api_key, "***") if self.api_key else words)
        )
