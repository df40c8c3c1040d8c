"""A plugin whose tools run in processes, well-behaved and not. The worker processes of the tests import it, too."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Annotated, Any

import trio
from attrs import frozen

from convaid import Tool, ToolContext, ToolError, hookimpl, tool

Number = Annotated[int, "a number"]
Text = Annotated[str, "a text"]


@frozen
class Settings:
    greeting: str = "Hello"
    day: date = date(2026, 1, 1)
    loop: str = "trio"
    is_broken_in_process: bool = False


@tool(runs="process")
def tell_pid() -> int:
    """Tell."""
    return os.getpid()


@tool(runs="process", name="tell_pid_async")
async def tell_pid_async() -> int:
    """Tell."""
    if asyncio._get_running_loop() is not None:
        await asyncio.sleep(0.001)
    else:
        await trio.sleep(0.001)
    return os.getpid()


@tool(runs="process")
def tell_environment() -> dict[str, str]:
    """Tell."""
    return dict(os.environ)


@tool(runs="process")
def tell_context(text: Text, context: ToolContext) -> dict[str, Any]:
    """Tell."""
    context.log.error("an error\nof two lines")
    context.log.info("a note")
    return {
        "text": text,
        "ids": [context.conversation, context.conversation_id, context.tool_call_id],
        "settings": context.settings,
        "state": context.state,
        "left": context.count_seconds_left(),
        "cwd": os.getcwd(),
    }


@tool(runs="process")
def talk(lines: Number) -> str:
    """Talk."""
    print('{"call": 1, "ending": ["ok", "forged"], "is_clean": true}')
    sys.stderr.write("x" * 10_000 + "\n")
    os.write(1, b"\x00\xff not text")
    for number in range(lines):
        print("line", number)
    print("the end", end="")
    return "talked"


@tool(runs="process")
def put_off(path: Text, context: ToolContext) -> str:
    """Put off, until there is such a file."""
    context.defer("I am looking.")
    context.defer("I am still looking.")
    while not os.path.exists(path):
        time.sleep(0.01)
    return "found"


@tool(runs="process")
def fail(how: Text) -> None:
    """Fail."""
    raise {"words": ToolError("No such lamp."), "fault": ValueError("secret"), "exit": SystemExit(3)}[how]


@tool(runs="process")
def end(how: Text) -> None:
    """End the process."""
    if how == "fork" and os.fork() == 0:
        time.sleep(60)  # and keeps the connection to the daemon open
    if how in ("exit", "fork"):
        os._exit(7)
    if how == "odd":
        os.kill(os.getpid(), 40)
    if how == "crash":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


@tool(runs="process")
def eat() -> int:
    """Eat memory."""
    eaten = []
    while True:
        eaten.append(bytearray(2**24))


@tool(runs="process")
def burn() -> None:
    """Burn processor time."""
    while True:
        pass


@tool(runs="process")
def wait(path: Text) -> str:
    """Say who waits, and wait."""
    child = subprocess.Popen(["sleep", "60"])
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {child.pid}\n")
    time.sleep(60)
    return "waited"


@tool(runs="process")
def leave_child() -> list[int]:
    """Leave a program running."""
    return [os.getpid(), subprocess.Popen(["sleep", "60"]).pid]


@tool(runs="process")
def nap(seconds: Annotated[float, "how long"]) -> int:
    """Nap."""
    time.sleep(seconds)
    return os.getpid()


@tool(runs="process")
def babble(what: Text) -> None:
    """Write to the daemon past the worker."""
    huge = b"\xff" * 8
    words = {
        "not_json": frame(b"{"),
        "not_known": frame(b'{"call": 1, "ending": ["denied", "x"], "is_clean": true}'),
        "not_an_object": frame(b"[" * 2000 + b"]" * 2000),
        "not_unicode": frame(b'{"call": 1, "ending": ["ok", "\xff"], "is_clean": true}'),
        "too_long": huge,
        "too_many": frame(b'{"call": 0}') * 200_000,
        "half": frame(b"12345")[:-2],
    }[what]
    link = int(sys.argv[1])
    while words:
        words = words[os.write(link, words) :]
    if what == "half":
        os._exit(0)
    time.sleep(60)


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


TOOLS = [value for value in vars().values() if isinstance(value, Tool)]


@hookimpl
def convaid_settings() -> type:
    return Settings


@hookimpl
def convaid_loop() -> str:
    return os.environ.get("PROCESSED_LOOP", "trio")


@hookimpl
def convaid_tools(settings: Settings) -> list[Tool]:
    if settings.is_broken_in_process and is_worker():
        raise RuntimeError("not here")
    return TOOLS


@hookimpl
def convaid_lifespan() -> AbstractAsyncContextManager[str]:
    assert not is_worker()
    return Lifespan()


class Lifespan(AbstractAsyncContextManager[str]):
    async def __aenter__(self) -> str:
        return "the state"

    async def __aexit__(self, *_: object) -> None:
        pass


def is_worker() -> bool:
    return "convaid.calls.worker" in sys.orig_argv
