"""The programs that record and play where the configuration names none: what this machine has, the best first."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from convaid.devices.interfaces import Role

__all__ = ["find_programs"]

RECORDER_LATENCY = 40  # milliseconds: without it arecord gives some 0.2 s at a time
PLAYER_LATENCY = 80  # milliseconds: without it pacat is 1.6 s late; with 40 it runs dry at pipewire-pulse
HELP_LIMIT = 2.0  # seconds for a program to print its options


def find_programs(role: Role, rate: int) -> list[tuple[str, ...]]:
    """Return those that are installed, with their arguments. A program that has no server to talk to comes last."""
    records = role == "microphone"
    latency, wire = RECORDER_LATENCY if records else PLAYER_LATENCY, f"--rate={rate}"
    pulse = ("--raw", wire, "--channels=1", "--format=s16le", f"--latency-msec={latency}", "--client-name=convaid")
    pipewire = ("--raw", wire, "--channels=1", "--format=s16", f"--latency={latency}ms", "-")
    alsa = ("-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(rate), "--buffer-time=80000")
    programs = [
        ("pw-record" if records else "pw-play", pipewire),
        ("parec" if records else "pacat", pulse),
        ("arecord" if records else "aplay", alsa),
    ]
    return [
        (path, *arguments)
        for name, arguments in programs
        if (path := shutil.which(name)) is not None and (arguments is not pipewire or _is_usable(path))
    ]


def _is_usable(path: str) -> bool:
    """Whether there is a PipeWire to talk to, and the program can do without the header of a file."""
    folder = os.environ.get("PIPEWIRE_RUNTIME_DIR") or os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(folder, os.environ.get("PIPEWIRE_REMOTE", "pipewire-0")).exists() and _knows_raw(path)


@cache
def _knows_raw(path: str) -> bool:
    try:
        told = subprocess.run(
            [path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=HELP_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return "--raw" in told.stdout + told.stderr
