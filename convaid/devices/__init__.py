"""Sound devices: what is heard, and spoken through.

`open_microphone` and `open_speaker` open what the configuration names: devices of this machine,
programs that record and play raw PCM, WAV files at real-time pace, or what a plugin brings. `Microphone` and `Speaker`
are what the rest knows of them: s16le mono at the device's own rate. A device that is lost is noted, and opened again
for as long as it takes (`convaid.devices.kept`); the sound of its thread waits in a ring (`convaid.devices.ring`).
"""

from __future__ import annotations

from convaid.devices.converted import convert_microphone
from convaid.devices.interfaces import HELD_LIMIT, STEP, DeviceError, DeviceNote, Microphone, NoteDevice, Speaker
from convaid.devices.opening import open_microphone, open_speaker

__all__ = [
    "HELD_LIMIT",
    "STEP",
    "DeviceError",
    "DeviceNote",
    "Microphone",
    "NoteDevice",
    "Speaker",
    "convert_microphone",
    "open_microphone",
    "open_speaker",
]
