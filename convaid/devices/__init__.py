"""Sound devices: what a session hears and speaks through.

`open_sound` opens what the configuration names. There are two kinds: WAV files at real-time pace, and programs that
record and play raw PCM. `Microphone` and `Speaker` are what a session knows of them.
"""

from __future__ import annotations

from convaid.devices.interfaces import HELD_LIMIT, STEP, DeviceError, Microphone, Sound, Speaker
from convaid.devices.sound import open_sound

__all__ = ["HELD_LIMIT", "STEP", "DeviceError", "Microphone", "Sound", "Speaker", "open_sound"]
