"""Running the official clients: each is a program of its own, skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

HERE = Path(__file__).parent
MODULES = HERE / "js" / "node_modules"
LANGWATCH = Path(sys.prefix) / "langwatch" / "bin" / "python"  # an environment of its own
NPM = "npm install --no-save --prefix tests/strangers/js"


def require(is_there: bool, what: str, command: str) -> None:
    """Skip where a stranger is not installed, and say how it would be; in CI that is a failure."""
    if is_there:
        return
    reason = f"{what} is not installed; this brings it: {command}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def find_python_sdk(program: str) -> str:
    """A program that speaks for the official Python SDK."""
    require(importlib.util.find_spec("elevenlabs") is not None, "the official Python SDK", "pip install elevenlabs")
    return str(HERE / program)


def find_javascript_client(program: str) -> str:
    """A program that speaks for the official JavaScript client."""
    require(shutil.which("node") is not None, "Node.js", "apt-get install nodejs npm")
    is_there = (MODULES / "@elevenlabs/client").is_dir() and (MODULES / "ws").is_dir()
    require(is_there, "the official JavaScript client", NPM)
    return str(HERE / "js" / program)


def find_cli() -> str:
    """The official command line: a launcher for Node.js, which finds the program for this machine."""
    require(shutil.which("node") is not None, "Node.js", "apt-get install nodejs npm")
    require((MODULES / "@elevenlabs/cli").is_dir(), "the official command line", NPM)
    return str(MODULES / "@elevenlabs/cli/bin/cli.js")


async def run_stranger(*command: str) -> dict[str, Any]:
    """Run a stranger's program and return what it saw."""
    with trio.fail_after(40):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(seen, dict)
    return seen
