"""What conversations by voice hear and speak through, as far as can be seen without opening a device (floor 6)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from convaid.audio import WavReader
from convaid.config import CommandConfig, WavConfig
from convaid.doctor.findings import Finding, error, ok
from convaid.doctor.subject import Subject
from convaid.errors import ConvaidError

__all__ = ["check_sound"]

PACKAGES = ("numpy", "samplerate")


def check_sound(subject: Subject) -> Iterator[Finding]:
    """Look for packages, programs and files."""
    sounds = {name: each.sound for name, each in subject.configuration.conversations.items() if each.sound is not None}
    if not sounds:
        yield ok("sound", "no conversation is by voice")
        return
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        yield error("sound", f"speech needs {' and '.join(missing)}", "pip install 'convaid[audio]'")
    for name, sound in sounds.items():
        found = list(find_faults(name, sound))
        kind = "wav" if isinstance(sound, WavConfig) else "command"
        yield from found or [ok("sound", f'what audio = "{kind}" needs is there', name)]


def find_faults(name: str, sound: WavConfig | CommandConfig) -> Iterator[Finding]:
    """What is not there, or cannot be used."""
    place = f"[conversations.{name}.{'wav' if isinstance(sound, WavConfig) else 'command'}]"
    for role, value in (("microphone", sound.microphone), ("speaker", sound.speaker)):
        if not value:
            continue
        if not isinstance(value, Path):
            if shutil.which(value[0]) is None:
                words = f"there is no program {value[0]} for the {role}"
                yield error("sound", words, f"install it, or correct {role} in {place}", name)
        elif fault := find_fault_of_input(value) if role == "microphone" else find_fault_of_output(value):
            yield error("sound", f"{value} cannot be the {role}: {fault}", f"correct {role} in {place}", name)


def find_fault_of_input(path: Path) -> str:
    """Why a file cannot be heard; "" where it can."""
    try:
        if not path.is_file():
            return "it is not a plain file" if path.exists() else "there is no such file"
        with path.open("rb") as file:
            WavReader(file)
    except OSError as fault:
        return fault.strerror or str(fault)
    except (ValueError, ConvaidError) as fault:
        return str(fault)
    return ""


def find_fault_of_output(path: Path) -> str:
    """Why no recording can be made; "" where one can. An earlier one is not overwritten, and no fault."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.exists() and not path.is_file():
        return "it is not a plain file"
    return "" if os.access(path.parent, os.W_OK | os.X_OK) else f"{path.parent} may not be written"
