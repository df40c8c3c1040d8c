"""A tiny MCP server without the SDK: the protocol of 2025 over stdin and stdout, and a talent for trouble.

Arguments: a JSON file with the tools to list, read anew for each listing; then words for how to misbehave. Each start
adds the process id to the file's neighbour ``.pids``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TOOLS = Path(sys.argv[1])
HABITS = sys.argv[2:]


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def note(suffix: str, text: object) -> None:
    with TOOLS.with_suffix(suffix).open("a") as file:
        file.write(f"{text}\n")


def call(number: int, name: str, arguments: dict[str, Any]) -> None:
    """Answer a call, or do not."""
    note(".calls", json.dumps([name, arguments]))
    content: list[dict[str, Any]] = [{"type": "text", "text": json.dumps(arguments)}]
    match name:
        case "die":
            sys.stderr.write(f"cannot go on, {os.environ.get('TOKEN', '')}\n")
            os._exit(3)
        case "wait":
            return
        case "environment":
            content = [{"type": "text", "text": json.dumps(dict(os.environ))}]
        case "where":
            content = [{"type": "text", "text": str(Path.cwd())}]
        case "change":
            send(method="notifications/tools/list_changed")
        case "refuse":
            send(id=number, error={"code": -32602, "message": "level must be at most 10"})
            return
        case "show":
            content = [
                {"type": "text", "text": "two pictures"},
                {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                {"type": "audio", "data": "AAAAAAAA", "mimeType": "audio/wav"},
                {"type": "resource_link", "uri": "file:///notes.txt", "name": "notes"},
                {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "a text"}},
                {"type": "resource", "resource": {"uri": "file:///a.bin", "blob": "AAAA"}},
            ]
        case "fail":
            send(id=number, result={"content": [{"type": "text", "text": "no such lamp"}], "isError": True})
            return
        case "babble":
            send(id=number, result={"content": "what?"})
            return
        case "match":
            send(id=number, result={"content": [], "structuredContent": {"text": "a" * 60 + "!"}})
            return
        case "flood":
            sys.stdout.write("x" * 20_000_000)
            sys.stdout.flush()
    send(id=number, result={"content": content})


def main() -> None:
    note(".pids", os.getpid())
    if "stubborn" in HABITS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(".pids", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
    if "chatty" in HABITS:
        sys.stdout.write("Welcome to this server!\n")
    if "silent" in HABITS:
        time.sleep(60)
    for line in sys.stdin:
        message = json.loads(line)
        number, parameters = message.get("id"), message.get("params", {})
        match message["method"]:
            case "initialize":
                result = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": "plain", "version": "1"},
                }
                send(id=number, result=result)
            case "tools/list":
                note(".listings", number)
                endless = {"nextCursor": "more"} if "endless" in HABITS else {}
                send(id=number, result={"tools": json.loads(TOOLS.read_text()), **endless})
                if "restless" in HABITS:
                    send(method="notifications/tools/list_changed")
            case "tools/call":
                call(number, parameters["name"], parameters.get("arguments", {}))
            case "notifications/cancelled":
                note(".cancelled", parameters["requestId"])
            case _ if number is not None:
                send(id=number, error={"code": -32601, "message": "no such method"})
    if "stubborn" in HABITS:
        time.sleep(60)


main()
