"""Devices as a session wants them: in the audio formats of its conversation."""

from __future__ import annotations

from convaid.audio import AudioFormat, Converter
from convaid.devices.interfaces import Microphone, Sound, Speaker

__all__ = ["convert_sound"]


def convert_sound(devices: Sound, user_input: AudioFormat, agent_output: AudioFormat) -> Sound:
    """``devices``, as if they had these formats. `ConvaidError` if a package is missing that this takes."""
    return Sound(ConvertedMicrophone(devices.microphone, user_input), ConvertedSpeaker(devices.speaker, agent_output))


class ConvertedMicrophone:
    """``device``, as if it recorded in ``audio_format``."""

    def __init__(self, device: Microphone, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self._device = device
        self._converter = Converter(device.format, audio_format)

    async def read(self) -> bytes:
        while not (samples := self._converter.convert(await self._device.read())):
            pass  # the filter is filling
        return samples


class ConvertedSpeaker:
    """``device``, as if it played ``audio_format``."""

    def __init__(self, device: Speaker, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self._device = device
        self._converter = Converter(audio_format, device.format)

    @property
    def held(self) -> float:
        return self._device.held

    async def write(self, speech: bytes) -> None:
        await self._device.write(self._converter.convert(speech))

    def drop(self) -> None:
        self._converter.flush()
        self._device.drop()

    async def drain(self) -> None:
        await self._device.write(self._converter.flush())
        await self._device.drain()
