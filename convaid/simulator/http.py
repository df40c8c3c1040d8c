"""One HTTP/1.1 connection as a server sees it: requests in, JSON answers out, by h11."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

import h11
import orjson
import trio
from attrs import evolve

from convaid.simulator.answers import Answer, Request, refuse

__all__ = ["HttpConnection"]

READ_SIZE = 65536  # bytes of one read
BODY_LIMIT = 2**20  # bytes of a request's body
FILE_LIMIT = 20 * 2**20  # bytes of one that brings a file
IDLE_LIMIT = 75.0  # seconds that a peer may take for its next request
ANSWER_HEADERS = {
    "Access-Control-Allow-Origin": "*",  # a page of any origin may call the simulator, as it may call the platform
    "Access-Control-Allow-Methods": "GET, POST, PATCH, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Expose-Headers": "*",
}


class HttpConnection:
    """Reads requests one after the other, each to be answered before the next; the stream is the caller's to close."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)
        self._has_body = True
        self.received = bytearray()
        """Every byte from the beginning of the current request on, for another protocol to begin with."""

    async def receive(self) -> Request | None:
        """Wait for the next request. None at the end of the connection, also where the peer has no manners."""
        if self._http.our_state is h11.DONE:
            self.received = bytearray(self._http.trailing_data[0])
            self._http.start_next_cycle()
        try:
            with trio.move_on_after(IDLE_LIMIT):
                return await self._read_request()
        except h11.RemoteProtocolError as error:
            refusal = refuse(error.error_status_hint, "bad_request", str(error))
            # Said, so that the peer does not send its next request into a connection that is closed meanwhile.
            await self.answer(evolve(refusal, headers={"Connection": "close"}))
        except trio.BrokenResourceError:
            pass
        return None

    async def answer(self, answer: Answer) -> bool:
        """Send the answer to the current request. False where the connection cannot go on."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        content = answer.content
        body = b"" if content is None else content if isinstance(content, bytes) else orjson.dumps(content)
        own = {"Content-Type": answer.media_type, "Content-Length": str(len(body))}
        headers = list({**ANSWER_HEADERS, **own, **answer.headers}.items())
        frames = self._http.send(h11.Response(status_code=answer.status, headers=headers))
        if self._has_body:
            frames += self._http.send(h11.Data(data=body))
        frames += self._http.send(h11.EndOfMessage())
        try:
            await self._stream.send_all(frames)
        except trio.BrokenResourceError:
            return False
        return self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}

    async def _read_request(self) -> Request | None:
        head, body, limit = None, bytearray(), BODY_LIMIT
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                chunk = await self._stream.receive_some(READ_SIZE)
                self.received += chunk
                self._http.receive_data(bytes(chunk))
            elif isinstance(event, h11.Request):
                head = event
                if dict(head.headers).get(b"content-type", b"").startswith(b"multipart/"):
                    limit = FILE_LIMIT
                self._has_body = head.method != b"HEAD"
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > limit:
                    raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return make_request(head, bytes(body))
            else:
                return None  # the peer has closed the connection


def make_request(head: h11.Request, body: bytes) -> Request:
    """Take the parts that routes look at out of a request."""
    path, _, query = head.target.decode("ascii").partition("?")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    parameters = parse_qsl(query, True)
    return Request(head.method.decode("ascii"), unquote(path), dict(parameters), headers, body, parameters)
