"""What comes back of what is played: how loud, how late, and how much of it an echo stage takes away.

Everything but `measure`, which plays and records, is arithmetic. Samples are s16le, mono. It takes numpy (extra
``audio``).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio
from attrs import evolve, frozen

from convaid.audio import AudioFormat, Converter
from convaid.devices import STEP, Microphone, Speaker
from convaid.sound.echo.stage import EchoMode, EchoStage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Waves = npt.NDArray[np.float64]

__all__ = [
    "Echo",
    "Measurement",
    "Tape",
    "find_delay",
    "make_chirp",
    "make_murmur",
    "measure",
    "measure_echo",
    "recommend",
]

QUIET = 0.5  # seconds of silence, for what is heard without us
CHIRP = 0.5  # seconds
PLAYED_LEVEL = -20.0  # dBFS, about that of an agent's speech
LOWEST, HIGHEST = 300.0, 6000.0  # Hz, which small loudspeakers and microphones manage
ROOM = 0.15  # seconds of reverberation that belong to an echo
LATEST = 2.0  # seconds after which what comes back is taken for something else
SURE = 8.0  # how far the best match stands out: a multiple of the root mean square of all others
FULL = 32700  # magnitude of a sample that is taken to be clipped
LEARNING = 2.0  # seconds that a canceller has before it is judged
PAUSE = 0.1  # seconds without a block from the speaker that are a pause, and not its way to deliver
PATIENCE = 5.0  # seconds beyond what is played that devices may take in all

TOO_MUCH_CLIPPED = 0.001  # the share of samples from which on no canceller can do its work
WELL_CANCELLED = 25.0  # dB of return loss, and the agent does not understand itself any more
GOOD = 15.0  # dB: what a canceller must take away to be better than an open microphone
SPEECH = -30.0  # dBFS: about what somebody who cuts in is heard with
MARGIN = 8.0  # dB between the echo and what is to pass in spite of it


# ---- arithmetic


def make_chirp(rate: int, seconds: float = CHIRP) -> bytes:
    """A tone that glides up through the range of speech, without a click at either end."""
    import numpy as np

    moment = np.arange(round(seconds * rate)) / rate
    glide = math.log(min(HIGHEST, 0.4 * rate) / LOWEST)
    tone = np.sin(2 * np.pi * LOWEST * seconds / glide * (np.exp(moment / seconds * glide) - 1))
    return _encode(tone * np.minimum(1.0, np.minimum(moment, moment[::-1]) / 0.01))


def make_murmur(rate: int, seconds: float) -> bytes:
    """Noise with the spectrum and the syllables of a voice, from which a canceller learns as from speech."""
    import numpy as np

    chance = np.random.default_rng(1)  # every time the same
    count = round(seconds * rate)
    spectrum = np.fft.rfft(chance.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / rate)
    spectrum *= np.minimum(1.0, frequency / 150) ** 2 / (1 + (frequency / 600) ** 1.2)
    syllables = chance.choice([0.02, 0.4, 1.0], math.ceil(seconds / 0.2) + 1)
    loudness = np.interp(np.arange(count) / rate, np.arange(len(syllables)) * 0.2, syllables)
    return _encode(np.fft.irfft(spectrum, count) * loudness)


@frozen
class Echo:
    """What a microphone has heard of a sound that was played. Levels are dBFS, as `convaid.audio` measures them."""

    level: float  # of what was heard when the sound was to be heard
    floor: float  # of what was heard before
    round_trip: float | None  # seconds until the sound was back; None: it did not come back
    return_loss: float  # dB by which what came back is quieter than what was played; infinite where nothing did
    clipped: float  # the share of samples at full scale


def measure_echo(played: bytes, heard: bytes, rate: int) -> Echo:
    """Return what has come back of the one sound in ``played``; ``heard`` begins at the same moment.

    Some silence should come before the sound, and a second or two after it.
    """
    import numpy as np

    sound, ear = _decode(played), _decode(heard)
    (sounding,) = np.nonzero(sound)
    first, last = (int(sounding[0]), int(sounding[-1]) + 1) if len(sounding) else (0, 0)
    round_trip = find_delay(played, heard, rate)
    late = round((round_trip or 0.0) * rate)
    echo = ear[first + late : last + late + round(ROOM * rate)]
    lost = math.inf
    if round_trip is not None:
        lost = 10 * math.log10((sound[first:last] ** 2).sum() / (echo**2).sum())
    return Echo(
        level=_measure(echo),
        floor=_measure(ear[:first]),
        round_trip=round_trip,
        return_loss=lost,
        clipped=float((np.abs(ear) >= FULL).mean()) if len(ear) else 0.0,
    )


def find_delay(played: bytes, heard: bytes, rate: int) -> float | None:
    """Return by how many seconds ``heard`` follows ``played``, found by cross-correlation; None if it does not."""
    import numpy as np

    sound, ear = _decode(played), _decode(heard)
    if not sound.any() or not ear.any():
        return None
    size = 1 << (len(sound) + len(ear)).bit_length()
    match = np.fft.irfft(np.fft.rfft(ear, size) * np.conj(np.fft.rfft(sound, size)), size)
    match = np.abs(match[: round(LATEST * rate)])
    best = int(match.argmax())
    others = np.delete(match, slice(max(0, best - round(ROOM * rate)), best + round(ROOM * rate)))
    return best / rate if match[best] > SURE * math.sqrt((others**2).mean()) else None


def _decode(pcm: bytes | bytearray) -> Waves:
    import numpy as np

    return np.frombuffer(pcm, "<i2").astype(np.float64)


def _encode(waves: Waves) -> bytes:
    import numpy as np

    waves = waves * (32768 * 10 ** (PLAYED_LEVEL / 20) / math.sqrt((waves**2).mean()))
    return bytes(np.clip(np.rint(waves), -32768, 32767).astype("<i2").tobytes())


def _measure(waves: Waves) -> float:
    power = float((waves**2).mean()) if len(waves) else 0.0
    return 10 * math.log10(power / 32768**2) if power else -math.inf


# ---- what was played and what was heard, side by side


class Tape:
    """All that was played and heard while it ran, and what stages that lived through it have let pass."""

    def __init__(self, audio_format: AudioFormat, *stages: EchoStage) -> None:
        """``audio_format`` (pcm): of the microphone's blocks, which the stages must be made for."""
        self.format = audio_format
        self._stages = stages
        self._passed = {stage.name: bytearray() for stage in stages}
        self._played: list[tuple[float, bytes, int]] = []  # when, what, at which rate
        self._heard = bytearray()
        self._began = math.inf

    def note_played(self, pcm: bytes, rate: int) -> None:
        """See `convaid.devices.Speaker.tap`."""
        self._played.append((time.monotonic(), pcm, rate))
        for stage in self._stages:
            stage.note_played(pcm, rate)

    def note_heard(self, pcm: bytes) -> None:
        self._heard += pcm
        for stage in self._stages:
            self._passed[stage.name] += stage.hear(pcm)
        # A block may be late, but never early: so the earliest tells when the first sample was heard.
        self._began = min(self._began, time.monotonic() - self.seconds)

    @property
    def seconds(self) -> float:
        """How much has been heard."""
        return self.format.seconds_of(len(self._heard))

    @property
    def heard(self) -> bytes:
        return bytes(self._heard)

    @property
    def played(self) -> bytes:
        """What was played, beginning when `heard` does, and in its format."""
        line = bytearray()
        converter = Converter(self.format, self.format)
        for when, pcm, rate in self._played:
            if rate != converter.source.rate:
                converter = Converter(AudioFormat("pcm", rate), self.format)
            if when < self._began:
                continue  # nobody heard it
            gap = when - self._began - self.format.seconds_of(len(line))
            if not line or gap > PAUSE:
                line += self.format.silence(max(0.0, gap))
            line += converter.convert(pcm)
        return bytes(line)

    def find_enhancements(self, since: float) -> dict[EchoMode, float]:
        """Return how many dB each stage has taken away of what was heard from ``since`` (seconds) on; infinite: all."""
        start = self.format.bytes_for(since)
        before = _measure(_decode(self.heard[start:]))
        after = {name: _measure(_decode(passed[start:])) for name, passed in self._passed.items()}
        return {name: before - level if before != level else 0.0 for name, level in after.items()}


# ---- the measurement


@frozen
class Measurement:
    """What `measure` has found. ``mode`` is the best, for the reason ``why``; None where there is none before a repair.

    The echo's return loss is that of the murmur, when whatever cancels it has had the time to learn how.
    """

    echo: Echo
    enhancements: dict[EchoMode, float]  # dB that each stage has taken away
    mode: EchoMode | None
    why: str


async def measure(microphone: Microphone, speaker: Speaker, *stages: EchoStage, seconds: float = 6.0) -> Measurement:
    """Play a chirp and ``seconds`` of a murmur, and listen; it takes 3 seconds more than that.

    ``stages`` are new ones, for blocks in ``microphone.format``; each is given what is played and heard.
    """
    tape = Tape(microphone.format, *stages)
    speaker.tap(tape.note_played)
    rate = speaker.format.rate
    split = 0.0
    with trio.move_on_after(QUIET + CHIRP + LATEST / 2 + seconds + PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(_listen, microphone, tape)
            await _play(speaker, speaker.format.silence(QUIET) + make_chirp(rate) + speaker.format.silence(LATEST / 2))
            split = tape.seconds
            await _play(speaker, make_murmur(rate, seconds))
            await speaker.drain()
            nursery.cancel_scope.cancel()
    end = tape.format.bytes_for(split)
    played, heard = tape.played, tape.heard
    echo = measure_echo(played[:end], heard[:end], tape.format.rate)
    learned = split + min(LEARNING, seconds / 2)
    if echo.round_trip is not None:
        start = tape.format.bytes_for(learned)
        echo = evolve(echo, return_loss=_measure(_decode(played[start:])) - _measure(_decode(heard[start:])))
    enhancements = tape.find_enhancements(learned)
    mode, why = recommend(echo, enhancements)
    return Measurement(echo, enhancements, mode, why)


async def _listen(microphone: Microphone, tape: Tape, task_status: trio.TaskStatus[None]) -> None:
    tape.note_heard(await microphone.read())
    task_status.started()
    while True:
        tape.note_heard(await microphone.read())


async def _play(speaker: Speaker, pcm: bytes) -> None:
    step = speaker.format.bytes_for(STEP)
    for start in range(0, len(pcm), step):
        await speaker.write(pcm[start : start + step])


def recommend(echo: Echo, enhancements: dict[EchoMode, float]) -> tuple[EchoMode | None, str]:
    """Return the best mode for such an echo, and why, in a sentence; None where none would help."""
    if echo.level == -math.inf:
        return None, "the microphone gives nothing but zeros: it is muted or not plugged in, or another one is meant"
    if echo.clipped > TOO_MUCH_CLIPPED:
        loud = f"{echo.clipped:.1%} of the samples are clipped"
        return None, f"the microphone is overdriven ({loud}): turn it or the speaker down, and measure again"
    if "system" in enhancements and echo.return_loss >= WELL_CANCELLED:
        left = "nothing" if echo.return_loss == math.inf else f"{-echo.return_loss:.0f} dB"
        return "system", f"{left} of what is played comes back: the sound server cancels it"
    if echo.round_trip is None:
        return "none", "nothing that is played comes back, as with headphones: nothing needs to be done"
    heard = f"the echo has {echo.level:.0f} dBFS"
    taken = enhancements.get("aec")
    if taken is not None and taken >= GOOD:
        much = "all" if taken == math.inf else f"{taken:.0f} dB"
        return "aec", f"{heard}, and {much} of it can be cancelled: the user can cut in at any time"
    tried = "" if taken is None else f", and only {taken:.0f} dB of it can be cancelled"
    threshold = math.ceil(echo.level + MARGIN)
    if threshold <= SPEECH:
        return "duck", f"{heard}{tried}: speech is louder, and passes with speech.duck_threshold = {threshold}"
    tail = math.ceil((echo.round_trip + ROOM) * 20) / 20
    return "gate", f"{heard}{tried}: as loud as speech, it needs a shut microphone, with speech.echo_tail = {tail:g}"
