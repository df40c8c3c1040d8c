from __future__ import annotations

import errno
import logging
import os
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from convaid.audio import FORMATS, AudioFormat, Converter, make_tone, measure_level
from convaid.config import WavConfig
from convaid.devices import DeviceError, convert_microphone
from convaid.devices.wav import WavSpeaker
from tests.devices.sounds import find_pitch, open_both, speak


def write_wav(path: Path, pcm: bytes, rate: int = 16000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(pcm)
    return path


def read_wav(path: Path) -> tuple[int, bytes]:
    with wave.open(str(path)) as file:
        return file.getframerate(), file.readframes(10**9)


async def test_the_file_is_heard_at_real_time_pace_and_then_silence(tmp_path: Path, autojump_clock: MockClock) -> None:
    tone = make_tone(440, 1, 16000)
    async with open_both(WavConfig(microphone=write_wav(tmp_path / "in.wav", tone))) as sound:
        started, heard = trio.current_time(), b""
        for count in range(1, 101):
            chunk = await sound.microphone.read()
            assert len(chunk) == 640
            assert trio.current_time() - started == pytest.approx(count * 0.02)
            heard += chunk
    assert heard == tone + bytes(32000)


async def test_steps_of_a_rate_that_does_not_divide_keep_the_pace(tmp_path: Path, autojump_clock: MockClock) -> None:
    path = write_wav(tmp_path / "in.wav", make_tone(440, 2, 11025), rate=11025)  # 220.5 samples in a step
    async with open_both(WavConfig(microphone=path)) as sound:
        heard = b"".join([await sound.microphone.read() for _ in range(50)])
    assert len(heard) == 22050


async def test_who_reads_late_catches_up_a_little_and_loses_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    tone = make_tone(440, 1, 16000)
    async with open_both(WavConfig(microphone=write_wav(tmp_path / "in.wav", tone))) as sound:
        await trio.sleep(10)
        started = trio.current_time()
        heard = b"".join([await sound.microphone.read() for _ in range(50)])
        assert trio.current_time() - started == pytest.approx(0.9)  # of 1 s, a tenth was waiting
    assert heard == tone


async def test_the_recording_is_what_a_listener_heard(tmp_path: Path, autojump_clock: MockClock) -> None:
    tone = make_tone(440, 1, 16000)
    async with open_both(WavConfig(speaker=tmp_path / "out.wav")) as sound:
        await trio.sleep(1)
        await speak(sound.speaker, tone)
        assert trio.current_time() == pytest.approx(1.9, abs=0.001)  # 0.1 s ahead of the listener
        assert sound.speaker.held == pytest.approx(0.1, abs=0.001)
        await sound.speaker.drain()
        assert trio.current_time() == pytest.approx(2.0, abs=0.001)
        assert sound.speaker.held == 0
        await trio.sleep(1)
    rate, recording = read_wav(tmp_path / "out.wav")
    assert rate == 16000
    assert recording == bytes(32000) + tone + bytes(32000)


async def test_an_interruption_is_a_cut_in_the_recording(tmp_path: Path, autojump_clock: MockClock) -> None:
    first, second = make_tone(440, 5, 16000), make_tone(880, 0.5, 16000)
    async with open_both(WavConfig(speaker=tmp_path / "out.wav")) as sound:
        with trio.move_on_at(1.0):
            await speak(sound.speaker, first)
        sound.speaker.drop()
        assert sound.speaker.held == 0
        await trio.sleep_until(2.0)
        await speak(sound.speaker, second)
        await sound.speaker.drain()
    assert read_wav(tmp_path / "out.wav")[1] == first[:32000] + bytes(32000) + second


async def test_dropping_releases_a_write_that_waits(autojump_clock: MockClock) -> None:
    speaker = WavSpeaker(None, 16000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speaker.write, bytes(320_000))  # 10 s at once
        await trio.sleep(1)
        speaker.drop()
    assert trio.current_time() == pytest.approx(1)


async def test_speech_that_is_not_drained_before_the_end_was_not_heard(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    tone = make_tone(440, 1, 16000)
    async with open_both(WavConfig(speaker=tmp_path / "out.wav")) as sound:
        await speak(sound.speaker, tone)
    assert read_wav(tmp_path / "out.wav")[1] == tone[: 2 * 14400]  # 0.9 s


async def test_the_recording_is_good_at_any_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    tone = make_tone(440, 1, 16000)
    async with open_both(WavConfig(speaker=tmp_path / "out.wav")) as sound:
        assert read_wav(tmp_path / "out.wav") == (16000, b"")
        await speak(sound.speaker, tone)
        assert read_wav(tmp_path / "out.wav") == (16000, tone[: 2 * 14400])


async def test_hours_of_silence_take_no_room_on_the_disk(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_both(WavConfig(speaker=tmp_path / "out.wav")):
        await trio.sleep(10 * 3600)
    assert (tmp_path / "out.wav").stat().st_size == 44 + 10 * 3600 * 32000
    assert (tmp_path / "out.wav").stat().st_blocks * 512 < 2**20


class FullDisk:
    def write(self, pcm: bytes, silence: int = 0) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_disk_is_logged_once_and_speech_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    speaker = WavSpeaker(FullDisk(), 16000)  # type: ignore[arg-type]
    await speak(speaker, make_tone(440, 1, 16000))
    assert trio.current_time() == pytest.approx(0.9, abs=0.001)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "No space left" in caplog.text


@pytest.mark.parametrize("rate", sorted({audio_format.rate for audio_format in FORMATS}))
async def test_without_files_there_is_silence_and_nobody_listens(rate: int, autojump_clock: MockClock) -> None:
    silence = AudioFormat("pcm", rate).silence(0.02)
    async with open_both(WavConfig(), rate) as sound:
        assert await sound.microphone.read() == silence
        started = trio.current_time()
        await speak(sound.speaker, silence * 50)
        await sound.speaker.drain()
        assert trio.current_time() - started == pytest.approx(1, abs=0.001)
    assert sound.notes.states == ["open", "open"]


@pytest.mark.parametrize("audio_format", FORMATS, ids=lambda audio_format: audio_format.name)
async def test_a_file_of_any_shape_is_heard_in_the_format_that_is_wanted(
    audio_format: AudioFormat, tmp_path: Path, autojump_clock: MockClock
) -> None:
    left = np.frombuffer(make_tone(440, 1, 44100), "<i2")
    stereo = np.stack([left, left], axis=1).tobytes()
    settings = WavConfig(microphone=write_wav(tmp_path / "in.wav", stereo, rate=44100, channels=2))
    async with open_both(settings, audio_format.rate) as sound:
        assert sound.microphone.format == AudioFormat("pcm", 44100)
        microphone = convert_microphone(sound.microphone, audio_format)
        heard = b"".join([await microphone.read() for _ in range(50)])
    assert audio_format.seconds_of(len(heard)) == pytest.approx(1, abs=0.01)
    pcm = AudioFormat("pcm", audio_format.rate)
    heard = Converter(audio_format, pcm).convert(heard)
    assert find_pitch(heard, pcm.rate) == pytest.approx(440, abs=2)
    assert measure_level(heard) == pytest.approx(-12, abs=0.3)


async def test_a_tap_gets_all_that_is_heard(tmp_path: Path, autojump_clock: MockClock) -> None:
    tone, heard = make_tone(440, 1, 16000), []
    async with open_both(WavConfig(speaker=tmp_path / "out.wav")) as sound:
        sound.speaker.tap(lambda pcm, rate: heard.append((pcm, rate)))
        await trio.sleep(2.5)
        await speak(sound.speaker, tone)
        await sound.speaker.drain()
    assert {rate for _, rate in heard} == {16000}
    assert b"".join(pcm for pcm, _ in heard) == bytes(80000) + tone


@pytest.mark.parametrize("role", ["microphone", "speaker"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
async def test_what_is_not_a_plain_file_is_refused(tmp_path: Path, role: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x.wav")
    with pytest.raises(DeviceError, match=rf"x\.wav cannot be the {role}: it is not a plain file"):
        async with open_both(WavConfig(**{role: tmp_path / "x.wav"})):
            pass


async def test_files_that_cannot_be_opened_or_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    for settings, reason in (
        (WavConfig(microphone=tmp_path / "text.wav"), "text.wav cannot be the microphone: it is not a WAV file"),
        (WavConfig(microphone=tmp_path / "none.wav"), "No such file"),
        (WavConfig(speaker=tmp_path / "none" / "out.wav"), "No such file"),
    ):
        with pytest.raises(DeviceError, match=reason):
            async with open_both(settings):
                pass


async def test_a_recording_overwrites_no_other(tmp_path: Path) -> None:
    settings = WavConfig(speaker=tmp_path / "out.wav")
    for _ in range(3):
        async with open_both(settings):
            pass
    assert sorted(os.listdir(tmp_path)) == ["out-2.wav", "out-3.wav", "out.wav"]
