"""A worker process, which runs the tools of one plugin, one call at a time (floor 5).

Started by `convaid.calls.process` as ``python -m convaid.calls.worker FD``, where FD is a socket to the daemon. It ends
when the daemon does, at once and with every process of its group: nothing of a plugin's outlives the daemon.

The plugin is loaded as the daemon loads it, with its settings; its lifespan, observer and approver do not run here.
What it prints, and its log, go to stderr, which the daemon reads; a line of the log begins with its level as systemd
writes it, ``<3>`` for an error. A crash leaves the line at which it happened there, too.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import math
import os
import pickle
import resource
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from contextvars import Context
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, cast

import trio
from attrs import define, field

from convaid.calls.answers import Ending, describe_fault
from convaid.calls.frames import HEADER, write_frame
from convaid.calls.offers import Offer
from convaid.calls.performing import perform, perform_async
from convaid.calls.results import cut_text
from convaid.calls.run import Run
from convaid.config.policy import ToolPolicy
from convaid.plugins.loading import Plugin, load_plugins
from convaid.plugins.tool import Tool
from convaid.protocol.from_agent import ClientToolCall

OOM_SCORE = "500"  # of 1000: where the machine is out of memory, the kernel ends workers before the daemon
SHARE_IN_USE = 0.5  # of the memory that a call may use: one that leaves more in use was the process's last
WATCH_STACK = 256 * 1024  # bytes: a thread's usual 8 MiB would count as memory that the tool uses
LEVELS = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def main() -> None:
    link = socket.socket(fileno=int(sys.argv[1]))
    link.set_inheritable(False)
    _prepare_process(link)
    opening = pickle.loads(_read_frame(link))  # the daemon's: it may tell us anything
    sys.path[:] = opening["path"]
    set_up_log(f"convaid.plugin.{opening['name']}", opening["level"])
    entry_point = EntryPoint(opening["name"], opening["module"], "convaid")
    (plugin,) = load_plugins({opening["name"]: opening["table"]}, entry_points=[entry_point])
    if plugin.status != "ready":
        link.sendall(write_frame({"failure": plugin.reason}))
        return
    link.sendall(write_frame({"failure": ""}))
    tools = {tool.name: tool for tool in plugin.tools}
    while True:
        call = json.loads(_read_frame(link))
        serve(link, plugin, tools[call["tool"]], call)


def _prepare_process(link: socket.socket) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    cast(Any, sys.stdout).reconfigure(line_buffering=True)  # it is a pipe, and what is in a buffer dies with us
    usual = threading.stack_size(WATCH_STACK)
    threading.Thread(target=_end_with_daemon, args=(link.fileno(),), daemon=True).start()
    threading.stack_size(usual)


def _end_with_daemon(link: int) -> None:
    poll = select.poll()
    poll.register(link, select.POLLRDHUP)
    poll.poll()
    os.killpg(0, signal.SIGKILL)


def _read_frame(link: socket.socket) -> bytes:
    (length,) = HEADER.unpack(_read(link, HEADER.size))
    return _read(link, length)


def _read(link: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        if not (piece := link.recv(length - len(content))):
            sys.exit()
        content += piece
    return bytes(content)


def set_up_log(name: str, level: int) -> None:
    """Send the log to stderr in the form that the daemon reads; ``name`` is that of the plugin's logger."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LevelFormatter(name))
    logging.basicConfig(handlers=[handler], level=level)


class _LevelFormatter(logging.Formatter):
    """Puts the level in front of every line, and the logger's name where that is not the plugin's own."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name != self._name:
            text = f"{record.name}: {text}"
        level = next((number for least, number in LEVELS.items() if record.levelno >= least), 7)
        return "\n".join(f"<{level}>{line}" for line in text.splitlines())


@define(eq=False)
class _DistantRun(Run):
    """A run whose conversation is in another process."""

    link: socket.socket = field(kw_only=True)
    number: int = field(kw_only=True)

    def ask_to_defer(self, text: str) -> None:
        if self.is_deferred:
            return
        self.is_deferred = True
        self.link.sendall(write_frame({"call": self.number, "defer": cut_text(str(text), self.offer.result_size)}))


def serve(link: socket.socket, plugin: Plugin, tool: Tool, call: dict[str, Any]) -> None:
    """Run one call within its limits, and say how it ended."""
    offer = Offer(
        tool=tool,
        plugin=plugin,
        policy=ToolPolicy(result_size=call["result_size"]),
        time_limit=math.inf,
        places=trio.Semaphore(1),
        log=logging.getLogger(f"convaid.plugin.{plugin.name}"),
    )
    run = _DistantRun(
        offer,
        ClientToolCall(tool.name, call["tool_call_id"], call["parameters"]),
        call["conversation"],
        call["conversation_id"],
        None,
        math.inf if call["deadline"] is None else call["deadline"],
        cast(Any, None),
        began_at=0.0,
        link=link,
        number=call["call"],
    )
    ending = _perform_within_limits(run, call["memory_limit"], call["cpu_limit"])
    is_clean = not _has_children() and _is_small(call["memory_limit"])
    link.sendall(write_frame({"call": run.number, "ending": ending, "is_clean": is_clean}))


def _perform_within_limits(run: Run, memory: int | None, cpu_seconds: float | None) -> Ending:
    if cpu_seconds is not None:
        _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + cpu_seconds))
    if memory is not None:
        _limit(resource.RLIMIT_AS, memory)
    try:
        return Context().run(_perform, run)
    except BaseException as error:  # noqa: BLE001  # no memory was left even to say so
        return "error", describe_fault(run.offer.tool.name, error)
    finally:
        _limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
        _limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)


def _perform(run: Run) -> Ending:
    if not run.offer.tool.is_async:
        return perform(run)
    steps = partial(perform_async, run, lambda _: False)  # nobody cancels here: the process is killed
    if run.offer.plugin.loop == "trio":
        return trio.run(steps)
    import asyncio

    return asyncio.run(steps())


def _limit(kind: int, amount: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(kind, (hard if amount == resource.RLIM_INFINITY else min(amount, most), hard))


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _is_small(limit: int | None) -> bool:
    pages = int(Path("/proc/self/statm").read_text().partition(" ")[0])
    return limit is None or pages * resource.getpagesize() <= limit * SHARE_IN_USE


if __name__ == "__main__":
    main()
