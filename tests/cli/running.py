"""The command line as a user runs it: a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


def install_plugin(folder: Path, name: str, source: str) -> None:
    """Leave a plugin in a folder as pip would, to be found by PYTHONPATH."""
    package = folder / f"convaid_{name}-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: convaid-{name}\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[convaid]\n{name} = convaid_{name}\n")
    (folder / f"convaid_{name}.py").write_text(source)


def read_until(process: subprocess.Popen[str], pattern: str, *, log: bool = False) -> str:
    """Read lines until one fits; fails where the process ends first. The test's own limit bounds it."""
    stream = process.stderr if log else process.stdout
    assert stream is not None
    for line in stream:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"the process ended without {pattern!r}")


@contextmanager
def keep(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """See to it that a process is gone at the end."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
