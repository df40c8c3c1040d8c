"""ALSA's devices, as it hints at them at this moment. What is here blocks, for some milliseconds."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Any

from convaid.devices.interfaces import Role
from convaid.devices.names import ALSA, Device, name_for_alsa
from convaid.devices.quiet import silence_libraries

__all__ = ["list_alsa_devices"]

HIDDEN = re.compile(
    r"(null|default|pulse|jack|oss|lavrate|samplerate|speexrate|speex|upmix|vdownmix)(:|$)"  # no hardware
    r"|(sysdefault|front|rear|center_lfe|side|surround\d+|iec958|hdmi|modem|phoneline|usbstream|dmix|dsnoop|plughw):"
)  # the second line: other ways to a device that is there as hw:


@cache
def _load() -> Any:
    """libasound with its functions' types; None where it is not installed."""
    silence_libraries()
    try:
        library = ctypes.CDLL("libasound.so.2")
    except OSError:
        return None
    library.snd_device_name_get_hint.restype = ctypes.c_void_p
    library.snd_device_name_get_hint.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.snd_device_name_free_hint.argtypes = [ctypes.c_void_p]
    return library


def list_alsa_devices() -> list[Device]:
    """Return its devices; none where there is no ALSA."""
    return list(_find_devices())


def _find_devices() -> Iterator[Device]:
    library = _load()
    hints = ctypes.POINTER(ctypes.c_void_p)()
    if library is None or library.snd_device_name_hint(-1, b"pcm", ctypes.byref(hints)) < 0:
        return
    try:
        for place in count():
            if not (hint := hints[place]):
                break
            name, words, direction = (_read_hint(library, hint, key) for key in (b"NAME", b"DESC", b"IOID"))
            if name and '"' not in name and not HIDDEN.match(name):
                yield from (
                    Device(role, name, " ".join(words.split()), ALSA, name_for_alsa(name))
                    for role in _find_roles(direction)
                )
    finally:
        library.snd_device_name_free_hint(ctypes.cast(hints, ctypes.c_void_p))


def _find_roles(direction: str) -> tuple[Role, ...]:
    if not direction:
        return ("microphone", "speaker")
    return ("microphone",) if direction == "Input" else ("speaker",)


def _read_hint(library: Any, hint: int, key: bytes) -> str:
    place = library.snd_device_name_get_hint(hint, key)
    if not place:
        return ""
    text = ctypes.string_at(place).decode(errors="replace")
    ctypes.CDLL(None).free(ctypes.c_void_p(place))
    return text
