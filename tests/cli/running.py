"""The command line as a user runs it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LIMIT = 40.0  # seconds for a command to end


def find_environment(**settings: str) -> dict[str, str]:
    """The environment of a command: this one's, without an API key or a configuration of the developer's."""
    kept = {name: value for name, value in os.environ.items() if name not in ("ELEVENLABS_API_KEY", "CONVAID_CONFIG")}
    return kept | settings


def run_convaid(
    *arguments: str, folder: Path | None = None, text: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; ``text`` is what it reads from a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "convaid", *arguments],
        input=text,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=LIMIT,
        env=find_environment(**settings),
        check=False,
    )


def start_convaid(*arguments: str, folder: Path | None = None, **settings: str) -> subprocess.Popen[str]:
    """Start one command; its output lines come through ``stdout``, its log through ``stderr``."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "convaid", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=find_environment(**settings),
    )
