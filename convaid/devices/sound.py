"""The sound of one session: the configured devices, speaking the conversation's audio formats."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from convaid.audio import AudioFormat
from convaid.config import AudioConfig, CommandConfig
from convaid.devices.command import open_command_sound
from convaid.devices.interfaces import Sound
from convaid.devices.wav import open_wav_sound

__all__ = ["open_sound"]


def open_sound(
    settings: AudioConfig, user_input: AudioFormat, agent_output: AudioFormat
) -> AbstractAsyncContextManager[Sound]:
    """Opens the devices that ``settings`` name, for one session; leaving closes them, within about a second.

    The microphone gives ``user_input`` and the speaker takes ``agent_output``, the formats of the conversation's
    metadata, whatever the devices have. A device that is left out is silent, or plays to nobody, in real time.
    `DeviceError` where a device cannot be opened, `ConvaidError` where a package for the conversion is missing.
    """
    if isinstance(settings, CommandConfig):
        return open_command_sound(settings, user_input, agent_output)
    return open_wav_sound(settings, user_input, agent_output)
