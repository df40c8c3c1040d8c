"""The sound server that conversations by voice would use, its devices, and the libraries that lead there (floor 6)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

from convaid.config import DeviceConfig
from convaid.devices.interfaces import Role
from convaid.devices.libpulse import load_libpulse
from convaid.devices.names import ALSA, Device, choose_devices
from convaid.devices.servers import find_obstacle, find_socket, has_server
from convaid.doctor.findings import Finding, error, ok, warning

__all__ = ["find_about_devices", "find_about_libraries", "find_about_server"]

CARDS = Path("/dev/snd")
STAND_IN = "auto_null"  # what servers have where there is no speaker
START = "start it: systemctl --user start pipewire pipewire-pulse wireplumber (or: pulseaudio)"
FIND = "export XDG_RUNTIME_DIR=/run/user/$(id -u); as a service: convaid service install --user"


def find_about_libraries(environ: Mapping[str, str], kinds: Collection[str]) -> Iterator[Finding]:
    """What pip and apt have to bring; ``kinds`` are those of ``audio`` that are in use. Cards: `find_about_cards`."""
    if missing := [package for package in ("numpy", "samplerate") if find_spec(package) is None]:
        yield error("sound", f"speech needs {' and '.join(missing)}", "pip install 'convaid[audio]'")
    if "device" in kinds and has_server(environ) and load_libpulse() is None:
        yield error("sound", "there is no library libpulse, for the sound server", "sudo apt install libpulse0")


def find_about_cards(name: str = "") -> Iterator[Finding]:
    """What ALSA's own devices need."""
    if find_spec("sounddevice") is None:
        yield error("sound", "ALSA's devices need sounddevice", "pip install 'convaid[audio]'", name)
    if find_library("portaudio") is None:
        yield error("sound", "ALSA's devices need the library PortAudio", "sudo apt install libportaudio2", name)


def find_about_server(environ: Mapping[str, str], devices: Collection[Device]) -> Iterator[Finding]:
    """Whether a server is there, and which of ``devices`` it has chosen."""
    tell = warning if CARDS.exists() else error  # without a server, ALSA's cards are left
    theirs = [device for device in devices if device.server != ALSA]
    if not theirs:
        place = find_socket(environ)
        if place is None:
            yield tell("sound", "no sound server can be found: XDG_RUNTIME_DIR is not set", FIND)
        elif isinstance(place, Path) and (fault := find_obstacle(place)):
            yield tell("sound", f"no sound server answers at {place}: {fault}", START)
        else:
            yield tell("sound", f"no sound server answers at {place}", f"is it your own? {START}")
        return
    chosen = {device.role: device for device in theirs if device.is_default}
    microphone, speaker = chosen.get("microphone"), chosen.get("speaker")
    names = [each.name if each else "none" for each in (microphone, speaker)]
    yield ok("sound", f"{theirs[0].server} answers: its microphone is {names[0]}, its speaker {names[1]}")
    if microphone is None or microphone.is_monitor:
        words = "the sound server has no microphone" + (f": {names[0]} is what is played" if microphone else "")
        yield warning("sound", words, "plug one in; pactl set-default-source NAME, as `convaid audio list` has it")
    if speaker is None or speaker.name == STAND_IN:
        words = "the sound server has no speaker"
        yield warning("sound", words, "plug one in; pactl set-default-sink NAME, as `convaid audio list` has it")


def find_about_devices(
    environ: Mapping[str, str], name: str, settings: DeviceConfig, devices: list[Device]
) -> Iterator[Finding]:
    """Which devices a conversation would use, or which there are instead."""
    told, chosen = [], []
    pairs: tuple[tuple[Role, list[str]], ...] = (("microphone", settings.microphone), ("speaker", settings.speaker))
    for role, patterns in pairs:
        if not patterns:
            told.append(f"no {role}")
            continue
        choices = choose_devices(role, patterns, devices, expects_server=has_server(environ))
        if (device := next(choices, None)) is not None:
            chosen.append(device)
            told.append(f"{role} {device.name} ({device.description})")
        else:
            there = ", ".join(device.name for device in devices if device.role == role and not device.is_monitor)
            words = f"no {role} fits {' or '.join(patterns)}; there is {there or 'none at all'}"
            fix = f'plug it in, correct {role} in [conversations.{name}.device], or add "default" to it'
            yield error("sound", words, fix, name)
    if any(device.server == ALSA for device in chosen):
        yield from find_about_cards(name)
    if len(told) > 1:
        yield ok("sound", f"it would use {', '.join(told)}", name)
