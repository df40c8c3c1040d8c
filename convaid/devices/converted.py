"""A microphone in the audio format that somebody wants."""

from __future__ import annotations

from convaid.audio import AudioFormat, Converter
from convaid.devices.interfaces import Microphone

__all__ = ["convert_microphone"]


def convert_microphone(device: Microphone, audio_format: AudioFormat) -> Microphone:
    """``device``, as if it recorded in ``audio_format``. `ConvaidError` if a package is missing that this takes."""
    return _ConvertedMicrophone(device, audio_format)


class _ConvertedMicrophone:
    def __init__(self, device: Microphone, audio_format: AudioFormat) -> None:
        self.format = audio_format
        self._device = device
        self._converter = Converter(device.format, audio_format)

    @property
    def age(self) -> float:
        return self._device.age

    async def read(self) -> bytes:
        while not (samples := self._converter.convert(await self._device.read())):
            pass  # the filter is filling
        return samples
