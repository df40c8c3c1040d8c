"""Echo cancellation: what the speaker plays is taken out of what the microphone hears (extra ``aec``).

The work is done by WebRTC's audio processing, which the ``livekit`` package ships. It finds by itself how late the echo
is, up to about 0.4 s. Import the package where a canceller is made and not before: it takes 0.2 s and 40 MB.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from convaid.audio import AudioFormat, Converter
from convaid.devices import DeviceError
from convaid.errors import ConvaidError
from convaid.sound.echo.reference import Reference
from convaid.sound.echo.stage import EchoMode

if TYPE_CHECKING:
    from livekit.rtc import AudioFrame
    from livekit.rtc.apm import AudioProcessingModule

__all__ = ["Canceller", "find_obstacle"]

log = logging.getLogger(__name__)

FRAME = 0.01  # seconds: what the module takes at a time, no more and no less


def find_obstacle() -> str:
    """Return why no canceller can be made, and what to do; "" where one can.

    It loads the library, for 0.2 s.
    """
    try:
        make_module()
        Converter(AudioFormat("pcm", 8000), AudioFormat("pcm", 16000))  # the speaker may have another rate
    except ModuleNotFoundError:
        return "it needs livekit: pip install 'convaid[aec]'"
    except ConvaidError as error:
        return str(error)
    except (ImportError, OSError) as error:
        return f"livekit does not load on this machine ({error})"
    except Exception as error:  # of another release, say: who did not ask for it by name goes on without it
        log.debug("livekit does not work", exc_info=error)
        return f"livekit does not work on this machine ({type(error).__name__}: {error})"
    return ""


def make_module(noise_suppression: bool = True, automatic_gain: bool = True) -> AudioProcessingModule:
    from livekit.rtc.apm import AudioProcessingModule

    logging.getLogger("livekit").setLevel(logging.ERROR)  # the library tells of its every start
    return AudioProcessingModule(
        echo_cancellation=True,
        noise_suppression=noise_suppression,
        high_pass_filter=True,  # below speech there is only what makes cancelling harder
        auto_gain_control=automatic_gain,
    )


class Canceller:
    """The stage ``aec``. It delays blocks of whole 10 ms by nothing, and others by less than 10 ms."""

    name: EchoMode = "aec"
    cancels = True
    playback_gain = 1.0
    learns = True

    def __init__(
        self,
        audio_format: AudioFormat,
        noise_suppression: bool,
        automatic_gain: bool,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """``clock``: see `Reference`. `DeviceError` where `find_obstacle` finds one."""
        if obstacle := find_obstacle():
            raise DeviceError(f'echo = "aec" cannot be used: {obstacle}')
        from livekit.rtc import AudioFrame

        self._module = make_module(noise_suppression, automatic_gain)
        self._make_frame = AudioFrame
        self._format = audio_format
        self._size = audio_format.bytes_for(FRAME)
        self._reference = Reference(audio_format, clock)
        self._heard = bytearray()  # less than a frame that waits for the rest of it,
        self._played = bytearray()  # and what was played meanwhile
        self._ready = bytearray()

    def note_played(self, pcm: bytes, rate: int) -> None:
        self._reference.put(pcm, rate)

    def hear(self, pcm: bytes) -> bytes:
        self._heard += pcm
        self._played += self._reference.take(len(pcm))
        while len(self._heard) >= self._size:
            self._module.process_reverse_stream(self._frame(self._played[: self._size]))
            heard = self._frame(self._heard[: self._size])
            self._module.process_stream(heard)
            self._ready += heard.data.cast("B")
            del self._heard[: self._size], self._played[: self._size]
        if len(self._ready) < len(pcm):  # once: from now on it lags by what may ever wait for the rest of a frame
            self._ready[:0] = bytes(self._size - self._format.frame_size)
        answer = bytes(self._ready[: len(pcm)])
        del self._ready[: len(pcm)]
        return answer

    def _frame(self, pcm: bytes | bytearray) -> AudioFrame:
        return self._make_frame(bytearray(pcm), self._format.rate, 1, len(pcm) // self._format.frame_size)
