"""A server of OpenAI's chat completions over a real socket: it streams, and says what a test has written down."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio
from attrs import define, field, frozen

Message = dict[str, Any]


@frozen
class Pause:
    """Seconds without anything."""

    seconds: float


@frozen
class Reply:
    """What the server answers: pieces of the body as they are, with pauses between them."""

    pieces: Sequence[bytes | Pause]
    status: int = 200
    content_type: str = "text/event-stream"
    headers: Mapping[str, str] = field(factory=dict)


def write_event(content: Any) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def write_delta(delta: Message, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return write_event(chunk)


USAGE = write_event({"id": "chatcmpl-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
END = b"data: [DONE]\n\n"


def say(*words: str | Pause) -> Reply:
    """An answer in text, in these pieces."""
    pieces: list[bytes | Pause] = [b": keep-alive\n\n", write_delta({"role": "assistant", "content": ""})]
    pieces += [word if isinstance(word, Pause) else write_delta({"content": word}) for word in words]
    return Reply([*pieces, write_delta({}, "stop"), USAGE, END])


def call(*calls: tuple[str, Any], words: str = "") -> Reply:
    """An answer that calls tools; their arguments come in fragments."""
    pieces = [write_delta({"role": "assistant", "content": words or None})]
    for index, (name, arguments) in enumerate(calls):
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        head = {"index": index, "id": f"id_{name}_{index}", "type": "function"}
        pieces.append(write_delta({"tool_calls": [head | {"function": {"name": name, "arguments": ""}}]}))
        for start in range(0, len(text), 5):
            part = {"index": index, "function": {"arguments": text[start : start + 5]}}
            pieces += [write_delta({"tool_calls": [part]}), b": keep-alive\n"]
    return Reply([*pieces, write_delta({}, "tool_calls"), USAGE, END])


def refuse(status: int, message: str) -> Reply:
    """An error body as these servers have it."""
    body = {"error": {"message": message, "type": "api_error", "param": None, "code": None}}
    return Reply([json.dumps(body).encode()], status, "application/json")


@define
class ModelServer:
    """The running server: what it was asked, and how many requests were left early."""

    decide: Callable[[list[Message]], Reply]
    base_url: str = ""
    bodies: list[Message] = field(factory=list)
    authorizations: list[str | None] = field(factory=list)
    left_early: int = 0
    models: Sequence[str] = ("first", "second")

    @property
    def last_messages(self) -> list[Message]:
        messages: list[Message] = self.bodies[-1]["messages"]
        return messages

    async def serve(self, stream: trio.SocketStream) -> None:
        connection, head, body = h11.Connection(h11.SERVER), None, b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
        assert head is not None
        headers = dict(head.headers)
        self.authorizations.append(headers[b"authorization"].decode() if b"authorization" in headers else None)
        try:
            await self._answer(stream, connection, self._choose(head.target, body))
        except trio.BrokenResourceError:
            self.left_early += 1

    def _choose(self, target: bytes, body: bytes) -> Reply:
        if target.endswith(b"/models"):
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
            return Reply([json.dumps(listed).encode()], 200, "application/json")
        if not target.endswith(b"/v1/chat/completions"):
            return Reply([b"404 page not found"], 404, "text/plain")
        content = json.loads(body)
        self.bodies.append(content)
        return self.decide(content["messages"])

    async def _answer(self, stream: trio.SocketStream, connection: h11.Connection, reply: Reply) -> None:
        headers = {"Content-Type": reply.content_type, **reply.headers}
        head = h11.Response(status_code=reply.status, headers=[*headers.items()])
        await stream.send_all(connection.send(head) or b"")
        for piece in reply.pieces:
            if isinstance(piece, Pause):
                with trio.move_on_after(piece.seconds):
                    if not await stream.receive_some():  # nobody listens any more
                        raise trio.BrokenResourceError
            else:
                await stream.send_all(connection.send(h11.Data(data=piece)) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


@asynccontextmanager
async def open_model_server(decide: Callable[[list[Message]], Reply]) -> AsyncIterator[ModelServer]:
    """Serve a model that decides by the messages."""
    server = ModelServer(decide)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, server.serve, 0)
        server.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        yield server
        nursery.cancel_scope.cancel()
