"""Opening, using and closing a WebSocket against servers that behave and servers that do not, on real sockets."""

from __future__ import annotations

import os
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket
from wsproto.events import CloseConnection

from convaid.errors import LinkError, LinkRefused
from convaid.transport import MESSAGE_LIMIT, Address, LinkClosed, load_trust_store, open_link, split_url

from .servers import accept_by_hand, serve_raw, serve_websockets

LIMIT = 10.0  # seconds for a test's own waits


async def echo(websocket: WebSocketConnection) -> None:
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except ConnectionClosed:
        pass


async def test_a_message_goes_there_and_back() -> None:
    with trio.fail_after(LIMIT):
        async with serve_websockets(echo) as port, open_link(f"ws://127.0.0.1:{port}/path?query=1") as link:
            assert await link.send("hello")
            assert await link.receive() == "hello"
            before = link.heard_at
            link.ping()
            while link.heard_at == before:  # its pong
                await trio.sleep(0.01)


async def test_the_sub_protocol_and_headers_are_sent() -> None:
    seen: dict[str, object] = {}

    async def look(request: WebSocketRequest) -> None:
        seen["subprotocols"] = request.proposed_subprotocols
        seen["key"] = dict(request.headers).get(b"xi-api-key")
        seen["path"] = request.path
        await echo(await request.accept(subprotocol="convai"))

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket, look, "127.0.0.1", 0, ssl_context=None))
            url = f"ws://127.0.0.1:{server.port}/v1/convai/conversation?agent_id=a%20b"
            async with open_link(url, headers={"xi-api-key": "k"}):
                pass
            nursery.cancel_scope.cancel()
    assert seen == {
        "subprotocols": ("convai",),
        "key": b"k",
        "path": "/v1/convai/conversation?agent_id=a%20b",
    }


async def test_leaving_says_goodbye_with_1000_and_cancelling_does_not() -> None:
    codes: list[int] = []

    async def note_close(websocket: WebSocketConnection) -> None:
        try:
            await websocket.get_message()
        except ConnectionClosed as closed:
            codes.append(closed.reason.code if closed.reason else 0)
        ended.set()

    with trio.fail_after(LIMIT):
        async with serve_websockets(note_close) as port:
            ended = trio.Event()
            async with open_link(f"ws://127.0.0.1:{port}/"):
                pass
            await ended.wait()
            ended = trio.Event()
            with trio.CancelScope() as scope:
                async with open_link(f"ws://127.0.0.1:{port}/"):
                    scope.cancel()
                    await trio.sleep_forever()
            await ended.wait()
    assert codes == [1000, 1006]


async def test_the_peers_code_and_reason_arrive_after_its_last_message() -> None:
    async def refuse(websocket: WebSocketConnection) -> None:
        await websocket.send_message("last words")
        await websocket.aclose(3000, "Could not authorize the conversation.")

    with trio.fail_after(LIMIT):
        async with serve_websockets(refuse) as port, open_link(f"ws://127.0.0.1:{port}/") as link:
            assert await link.receive() == "last words"
            assert await link.receive() == LinkClosed(3000, "Could not authorize the conversation.")
            assert not await link.send("too late")
            link.ping()  # harmless


async def test_a_reset_is_1006() -> None:
    async def reset(stream: trio.SocketStream) -> None:
        await accept_by_hand(stream)
        await trio.aclose_forcefully(stream)

    with trio.fail_after(LIMIT):
        async with serve_raw(reset) as port, open_link(f"ws://127.0.0.1:{port}/") as link:
            closed = await link.receive()
            assert isinstance(closed, LinkClosed)
            assert closed.code == 1006


async def test_a_message_over_the_limit_ends_the_link_with_1009() -> None:
    async def flood(websocket: WebSocketConnection) -> None:
        await websocket.send_message("x" * (MESSAGE_LIMIT + 1))
        await echo(websocket)

    with trio.fail_after(30):
        async with serve_websockets(flood) as port, open_link(f"ws://127.0.0.1:{port}/") as link:
            closed = await link.receive()
            assert isinstance(closed, LinkClosed)
            assert closed.code == 1009


async def test_a_silent_server_is_given_up_in_time() -> None:
    async def be_silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    with trio.fail_after(LIMIT):
        async with serve_raw(be_silent) as port:
            with pytest.raises(LinkError, match=r"handshake in 0\.2 s"):
                async with open_link(f"ws://127.0.0.1:{port}/", handshake=0.2):
                    pass


async def test_a_server_that_hangs_up_in_the_handshake_is_noticed_at_once() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await trio.aclose_forcefully(stream)

    with trio.fail_after(LIMIT):
        async with serve_raw(hang_up) as port:
            with pytest.raises(LinkError, match="hung up during the WebSocket handshake"):
                async with open_link(f"ws://127.0.0.1:{port}/", handshake=60):
                    pass


async def test_nobody_listening_is_an_error_of_one_line() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with trio.fail_after(LIMIT), pytest.raises(LinkError, match=f"cannot connect to 127.0.0.1:{port}") as caught:
        async with open_link(f"ws://127.0.0.1:{port}/"):
            pass
    assert "\n" not in str(caught.value)


async def test_descriptors_are_constant_over_100_refused_handshakes() -> None:
    async def refuse(request: WebSocketRequest) -> None:
        await request.reject(403, body=b'{"detail": "no"}')

    def count_descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_websocket, refuse, "127.0.0.1", 0, ssl_context=None))
            counts = []
            for _ in range(100):
                with pytest.raises(LinkRefused, match="no") as caught:
                    async with open_link(f"ws://127.0.0.1:{server.port}/"):
                        pass
                assert caught.value.status == 403
                counts.append(count_descriptors())
            nursery.cancel_scope.cancel()
    # The server's half of the last few may still be closing; ours never remains.
    assert max(counts[10:]) <= counts[5] + 3


async def test_a_ping_after_our_close_frame_harms_nobody() -> None:
    async def ping_while_closing(stream: trio.SocketStream) -> None:
        websocket = await accept_by_hand(stream)
        while True:
            try:
                data = await stream.receive_some()
            except trio.BrokenResourceError:
                return  # we are gone, with the ping unread
            if not data:
                return
            websocket.receive_data(data)
            for event in websocket.events():
                if isinstance(event, CloseConnection):
                    await stream.send_all(b"\x89\x02hi")  # a ping frame, then the answer to the close
                    await stream.send_all(websocket.send(event.response()))

    with trio.fail_after(LIMIT):
        async with serve_raw(ping_while_closing) as port, open_link(f"ws://127.0.0.1:{port}/"):
            pass


async def test_a_server_that_never_answers_the_close_is_left_in_time() -> None:
    async def ignore_close(stream: trio.SocketStream) -> None:
        await accept_by_hand(stream)
        await trio.sleep_forever()

    with trio.fail_after(LIMIT):
        async with serve_raw(ignore_close) as port, open_link(f"ws://127.0.0.1:{port}/", disconnect=0.2):
            pass


async def test_a_server_that_keeps_tcp_open_after_the_close_is_not_waited_for() -> None:
    async def keep_open(stream: trio.SocketStream) -> None:
        websocket = await accept_by_hand(stream)
        await stream.send_all(websocket.send(CloseConnection(code=1000)))
        await trio.sleep_forever()

    with trio.fail_after(LIMIT):
        async with serve_raw(keep_open) as port, open_link(f"ws://127.0.0.1:{port}/", disconnect=60) as link:
            assert await link.receive() == LinkClosed(1000)


async def test_pings_are_answered_while_messages_wait() -> None:
    answered = trio.Event()

    async def ping_behind_messages(websocket: WebSocketConnection) -> None:
        for number in range(100):
            await websocket.send_message(f"{number}")
        await websocket.ping()
        answered.set()
        await echo(websocket)

    with trio.fail_after(LIMIT):
        async with serve_websockets(ping_behind_messages) as port, open_link(f"ws://127.0.0.1:{port}/"):
            await answered.wait()  # although we have received none of the messages


async def test_a_trusted_certificate_is_accepted_and_another_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    store = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(store))
    with trio.fail_after(LIMIT):
        async with serve_websockets(echo, tls=context) as port:
            load_trust_store.cache_clear()
            with pytest.raises(LinkError, match="certificate verify failed"):
                async with open_link(f"wss://localhost:{port}/"):
                    pass
            monkeypatch.setenv("SSL_CERT_FILE", str(store))
            load_trust_store.cache_clear()
            async with open_link(f"wss://localhost:{port}/") as link:
                assert await link.send("hello")
                assert await link.receive() == "hello"
    load_trust_store.cache_clear()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://api.elevenlabs.io/v1?a=b", Address("api.elevenlabs.io", 443, "/v1?a=b", True)),
        ("ws://localhost:8080", Address("localhost", 8080, "/", False)),
        ("ws://[::1]:9/x", Address("::1", 9, "/x", False)),
    ],
)
def test_a_url_is_taken_apart(url: str, address: Address) -> None:
    assert split_url(url) == address


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ws://api.elevenlabs.io/", "unencrypted connection to api.elevenlabs.io"),
        ("https://api.elevenlabs.io/", "must begin with wss://"),
        ("wss://", "must begin with wss://"),
        ("wss://host:port/", "cannot be read"),
        ("nonsense", "must begin with wss://"),
        ("wss://a..b/", "host name that cannot be one"),
        (f"wss://{'a' * 70}.com/", "host name that cannot be one"),
        ("wss://host/a b", "percent-encoded"),
        ("wss://host/é", "percent-encoded"),
    ],
)
def test_an_unfit_url_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(LinkError, match=complaint):
        split_url(url)


def test_an_address_does_not_show_its_secret() -> None:
    address = split_url("wss://api.elevenlabs.io/v1/convai/conversation?conversation_signature=s3cret")
    assert "s3cret" not in repr(address)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>captive portal</html>\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: \xff\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 999 What\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ],
)
async def test_whatever_answers_the_handshake_is_at_worst_a_link_error(answer: bytes) -> None:
    async def answer_oddly(stream: trio.SocketStream) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(answer)
            await stream.receive_some()
        except trio.BrokenResourceError:
            pass

    with trio.fail_after(LIMIT):
        async with serve_raw(answer_oddly) as port:
            with pytest.raises(LinkError):
                async with open_link(f"ws://127.0.0.1:{port}/", handshake=1):
                    pass
