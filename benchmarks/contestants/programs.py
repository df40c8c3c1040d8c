"""The floor of voice: `parec`, `pacat` and a socket, threads that block on them, WebSocket frames made by hand.

Every block that comes from `parec` goes out at once, speech goes to `pacat` as it comes, and an interruption kills
`pacat`. Nothing is queued, checked, counted or waited for: a program that has ended is started again. Arguments: the
platform's base URL; the agent id.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO
from urllib.parse import urlsplit

import orjson
import pybase64

FORMAT = ["--raw", "--format=s16le", "--rate=16000", "--channels=1", "--latency-msec=10"]
RESTART_PAUSE = 0.1  # seconds
MASK = bytes(4)  # no protection here against what does not happen here


class Link:
    """A WebSocket without fragments and pings."""

    def __init__(self, base_url: str, agent_id: str) -> None:
        address = urlsplit(base_url)
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader: BinaryIO = self._socket.makefile("rb")
        self._sending = threading.Lock()
        lines = [
            f"GET /v1/convai/conversation?agent_id={agent_id} HTTP/1.1",
            f"Host: {address.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while self._reader.readline() != b"\r\n":
            pass

    def send(self, text: bytes) -> None:
        size = len(text)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        with self._sending:
            self._socket.sendall(b"\x81" + length + MASK + text)

    def read(self) -> bytes:
        """The text of the next frame; ends the process when there are no more."""
        head = self._reader.read(2)
        if len(head) < 2 or head[0] & 15 != 1:
            os._exit(0)
        size = head[1]
        if size > 125:
            size = int.from_bytes(self._reader.read(2 if size == 126 else 8), "big")
        return self._reader.read(size)


def record(send: Callable[[bytes], None]) -> None:
    while True:
        with subprocess.Popen(["parec", *FORMAT], stdout=subprocess.PIPE, bufsize=0) as program:
            assert program.stdout is not None
            while block := os.read(program.stdout.fileno(), 2**16):
                send(b'{"user_audio_chunk":"' + pybase64.b64encode(block) + b'"}')
        time.sleep(RESTART_PAUSE)


def start_player() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["pacat", *FORMAT], stdin=subprocess.PIPE, bufsize=0)


def converse(link: Link) -> None:
    link.send(b'{"type":"conversation_initiation_client_data"}')
    player = start_player()
    while True:
        frame = orjson.loads(link.read())
        match frame["type"]:
            case "ping":
                link.send(orjson.dumps({"type": "pong", "event_id": frame["ping_event"]["event_id"]}))
            case "conversation_initiation_metadata":
                threading.Thread(target=record, args=(link.send,), daemon=True).start()
            case "audio":
                speech = pybase64.b64decode(frame["audio_event"]["audio_base_64"])
                if player.poll() is not None:
                    player = start_player()
                assert player.stdin is not None
                try:
                    player.stdin.write(speech)
                except BrokenPipeError:
                    player = start_player()
            case "interruption":
                player.kill()
                player.wait()
                player = start_player()


if __name__ == "__main__":
    converse(Link(*sys.argv[1:]))
