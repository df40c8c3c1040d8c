"""Beginnings that go wrong: fetching a signed URL, connecting, shaking hands, the first frame."""

from __future__ import annotations

import math

from convaid.protocol.endings import Cause, Retry
from convaid.simulator.faults.fault import Fault, Limit, write_frame
from convaid.simulator.scenario import Refuse
from convaid.simulator.wire import Trouble, WirePlan

__all__ = ["BEGINNINGS", "CONNECTIONS", "MINTING"]

LOST, REFUSED = Cause.LINK_LOST, Cause.REFUSED
SOON, LATER, REPAIR = Retry.SOON, Retry.LATER, Retry.REPAIR
BIG = 20 * 2**20  # bytes
WORDS = {401: "Invalid API key"}  # without them it would be about credits


def refuse_to_mint(status: int, cause: Cause, retry: Retry) -> Fault:
    """An HTTP status where a signed URL was asked for."""
    words = f"HTTP {status} where a signed URL is asked for"
    return Fault(
        f"mint-{status}",
        words,
        [Refuse(reason=WORDS.get(status, ""), status=status, at="signed_url")],
        cause,
        retry,
        is_signed=True,
    )


def answer_with(name: str, words: str, body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> Fault:
    """A strange answer where a signed URL was asked for."""
    answer = b"%b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    return Fault(
        f"mint-{name}",
        f"a signed URL is asked for, and the answer is {words}",
        wire=WirePlan(answer=answer),
        cause=LOST,
        retry=SOON,
        is_signed=True,
    )


MINTING = [
    refuse_to_mint(401, REFUSED, REPAIR),
    refuse_to_mint(403, REFUSED, REPAIR),
    refuse_to_mint(404, REFUSED, REPAIR),
    refuse_to_mint(422, REFUSED, REPAIR),
    refuse_to_mint(429, Cause.BUSY, LATER),
    refuse_to_mint(500, Cause.OPERATIONAL, SOON),
    refuse_to_mint(503, Cause.OPERATIONAL, SOON),
    answer_with("not-json", "not JSON", b"<html>Welcome to the airport's network</html>"),
    answer_with("no-url", "JSON without a URL", b'{"url": "wss://example.com/"}'),
    answer_with("null", "`null`", b"null"),
    answer_with("empty", "empty", b""),
    answer_with("number", "a number in place of the URL", b'{"signed_url": 17}'),
    answer_with("http-url", "a URL of `http://`", b'{"signed_url": "http://127.0.0.1/"}'),
    answer_with("plain-url", "an unencrypted URL of another machine", b'{"signed_url": "ws://192.0.2.1/"}'),
    answer_with("bad-url", "a URL that is none", b'{"signed_url": "wss://[::1"}'),
    answer_with("huge", "20 MB long", b'{"signed_url": "' + b"x" * BIG + b'"}'),
    answer_with("deep", "nested 100 000 levels deep", b"[" * 100_000),
    Fault(
        "mint-cut",
        "a signed URL is asked for, and the answer stops in the middle",
        wire=WirePlan(answer=b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"signed_url": "wss'),
        cause=LOST,
        retry=SOON,
        is_signed=True,
    ),
    Fault(
        "mint-garbage",
        "a signed URL is asked for, and the answer is not HTTP",
        wire=WirePlan(answer=b"\x16\x03\x01\x00\xa5\x01\x00\x00 SSH-2.0-OpenSSH_9.6\r\n"),
        cause=LOST,
        retry=SOON,
        is_signed=True,
    ),
    Fault(
        "mint-reset",
        "the connection is reset where a signed URL is asked for",
        wire=WirePlan("reset", after=10),
        cause=LOST,
        retry=SOON,
        is_signed=True,
    ),
    Fault(
        "mint-stall",
        "no answer where a signed URL is asked for",
        wire=WirePlan("stall"),
        cause=LOST,
        retry=SOON,
        limit="connect",
        is_signed=True,
    ),
    Fault(
        "mint-drip",
        "the answer with the signed URL comes at 5 bytes a second",
        wire=WirePlan("drip", rate=5),
        cause=LOST,
        retry=SOON,
        limit="connect",
        is_signed=True,
    ),
    Fault(
        "signature-expired",
        "the signed URL has expired when it is used",
        cause=REFUSED,
        retry=REPAIR,
        agent={"signed_url_life": 1e-6},
        is_signed=True,
    ),
]


def connect(
    name: str, words: str, trouble: Trouble, after: int = 0, *, limit: Limit | None = None, rate: float = 1.0
) -> Fault:
    """A connection that does not come about."""
    plan = WirePlan(trouble, after=after, rate=rate)
    return Fault(f"connect-{name}", words, wire=plan, cause=LOST, retry=SOON, limit=limit)


def shake(name: str, words: str, answer: bytes, cause: Cause = LOST, retry: Retry = SOON) -> Fault:
    """A handshake that is not answered as a WebSocket does."""
    words = f"the answer to the handshake is {words}"
    return Fault(f"handshake-{name}", words, wire=WirePlan(answer=answer), cause=cause, retry=retry)


CONNECTIONS = [
    Fault("connect-nobody", "nobody gets through (SYN without an answer)", (), LOST, SOON, "connect", is_full=True),
    connect("refused", "the connection is reset as soon as it is open", "refuse"),
    connect("stall", "the handshake is never answered", "stall", limit="handshake"),
    connect("stall-half", "half an answer to the handshake, and nothing more", "stall", 40, limit="handshake"),
    connect("drip", "the answer to the handshake comes at 5 bytes a second", "drip", limit="handshake", rate=5),
    connect("reset", "a reset in the answer to the handshake", "reset", 40),
    connect("close", "the end of the stream in the answer to the handshake", "close", 40),
    shake("garbage", "not HTTP", b"\x00\xff\x00\xff what?\r\n\r\n"),
    shake("empty", "nothing at all", b""),
    shake("ssh", "another protocol's", b"SSH-2.0-OpenSSH_9.6\r\n"),
    shake("200", "HTTP 200 with a page", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello", Cause.REFUSED, REPAIR),
    shake(
        "302",
        "a redirection",
        b"HTTP/1.1 302 Found\r\nLocation: https://login.example.com/\r\nContent-Length: 0\r\n\r\n",
        Cause.REFUSED,
        REPAIR,
    ),
    shake(
        "wrong-key",
        "a WebSocket's with the wrong key",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    ),
    shake("long", "1 MB of headers", b"HTTP/1.1 101 Switching Protocols\r\nX-Long: " + b"x" * 2**20 + b"\r\n\r\n"),
]

PING = write_frame("ping", "ping_event", {"event_id": 1, "ping_ms": None})
SAID = write_frame("agent_response", "agent_response_event", {"agent_response": "Hello", "event_id": 1})


def announce(name: str, words: str, payload: object, cause: Cause | None = None, retry: Retry = Retry.NO) -> Fault:
    """A metadata frame that is not as it should be, before the one that is."""
    frame = write_frame("conversation_initiation_metadata", "conversation_initiation_metadata_event", payload)
    return Fault(f"metadata-{name}", words, (), cause, retry, agent={"first_frames": [frame]}, is_voice=True)


BEGINNINGS = [
    Fault("metadata-late", "the metadata comes late, in time", agent={"metadata_delay": 0.3}),
    Fault(
        "metadata-never",
        "the metadata never comes",
        cause=LOST,
        retry=SOON,
        limit="handshake",
        agent={"metadata_delay": math.inf},
    ),
    Fault("ping-first", "a ping comes before the metadata", agent={"first_frames": [PING]}),
    Fault("response-first", "the agent speaks before the metadata", agent={"first_frames": [SAID]}),
    Fault("nonsense-first", "the first frame is not JSON", agent={"first_frames": ["nonsense"]}),
    Fault("unknown-first", "the first frame is of an unknown type", agent={"first_frames": ['{"type": "hello"}']}),
    announce("without-id", "metadata without a conversation id, then as it should be", {}),
    announce("null", "metadata without its content, then as it should be", None),
    announce(
        "unknown-format",
        "an audio format that nobody knows (`opus_48000`)",
        {"conversation_id": "conv_opus", "agent_output_audio_format": "opus_48000"},
        Cause.CONTRACT_FAULT,
        REPAIR,
    ),
]
