"""The sound of a conversation: how echo is kept away, chimes, and what there is to say of it."""

from __future__ import annotations

import logging
import os
import threading
from itertools import pairwise, repeat
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from convaid import supervisor
from convaid.audio import WavWriter, make_tone
from convaid.config import ChimesConfig, ConversationConfig, DeviceConfig, WavConfig
from convaid.devices import DeviceError, DeviceNote
from convaid.errors import ConvaidError
from convaid.protocol.endings import SessionEnd, classify_close, link_lost, stopped_by_user
from convaid.sound import sound as module
from convaid.sound.chimes import LONGEST, NOTES, load_chime
from convaid.sound.echo import EchoChoice
from convaid.sound.sound import Sound
from convaid.sound.status import AudioAge
from convaid.supervisor import Conversation

from ..session.test_session import OneTool, answer_ok
from .fakes import PCM, FakeSound, make_settings


async def test_nothing_is_open_and_nothing_is_wrong_at_first(autojump_clock: MockClock) -> None:
    sound = FakeSound(repeat(bytes(640)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        await trio.testing.wait_all_tasks_blocked()
        status = sound.describe()
        assert (status.microphone.state, status.speaker.state, status.echo) == ("closed", "closed", "none")
        assert (status.held, status.audio_age) == (0.0, None)
        with sound.ear.attend(lambda block: None), sound.mouth.open(PCM):
            assert sound.describe().microphone.state == "opening"
            await trio.testing.wait_all_tasks_blocked()
            await sound.mouth.write(bytes(640))
            status = sound.describe([0.001, 0.002, 0.5])
            assert (status.microphone.state, status.microphone.device) == ("open", "fake")
            assert status.held == pytest.approx(0.02)
            assert status.audio_age == AudioAge(0.002, 0.5, 0.5)
        nursery.cancel_scope.cancel()


class Choices:
    """What is chosen, one after the other, the last for ever."""

    def __init__(self, *choices: EchoChoice | ConvaidError) -> None:
        self.choices = list(choices)
        self.asked = 0

    async def __call__(self, settings: ConversationConfig) -> EchoChoice:
        self.asked += 1
        choice = self.choices.pop(0) if len(self.choices) > 1 else self.choices[0]
        if isinstance(choice, ConvaidError):
            raise choice
        return choice


async def test_how_echo_is_kept_away_is_logged_and_told(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "choose_mode", Choices(EchoChoice("gate", "there is nothing better")))
    sound = FakeSound(repeat(bytes(640)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        await trio.testing.wait_all_tasks_blocked()
        assert (sound.describe().echo, sound.describe().echo_reason) == ("gate", "there is nothing better")
        assert (sound.ear.stage.name, sound.mouth.stage.name) == ("gate", "gate")
        nursery.cancel_scope.cancel()
    assert 'main: echo = "gate": there is nothing better' in caplog.text


async def test_a_device_that_comes_back_is_a_reason_to_look_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = Choices(EchoChoice("gate", "no server"), EchoChoice("system", "it does", "cancelled source"))
    monkeypatch.setattr(module, "choose_mode", choices)
    sound = FakeSound(repeat(bytes(640)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(lambda block: None), sound.mouth.open(PCM):
            await trio.sleep(0.1)
            sound.microphone.note(DeviceNote("microphone", "lost", "", "no server"))
            await trio.sleep(1)
            assert choices.asked == 1
            sound.microphone.note(DeviceNote("microphone", "open", "fake"))
            await trio.sleep(0.1)
            assert (choices.asked, sound.ear.stage.name) == (2, "system")
            assert (sound.microphone.opened, sound.speaker.opened) == (2, 2)  # the cancelled ones, this time
            await sound.mouth.write(bytes(640))
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_chosen_is_a_failure_that_may_pass(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = Choices(DeviceError("livekit is not installed"), EchoChoice("gate", "as configured"))
    monkeypatch.setattr(module, "choose_mode", choices)
    settings = make_settings()
    sound = Sound("main", settings, WavConfig())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        with sound.ear.attend(lambda block: None):
            assert "livekit" in str(await sound.wait_failure())
            await trio.sleep(30)
            assert sound.describe().microphone.state == "open"
        nursery.cancel_scope.cancel()


def test_the_cancelled_device_comes_first() -> None:
    devices = DeviceConfig(microphone=["USB", "default"], speaker=["default"])
    assert module.put_first(devices, "microphone", "ec").microphone == ["ec", "USB", "default"]  # type: ignore[union-attr]
    assert module.put_first(devices, "speaker", "ec").speaker == ["ec", "default"]  # type: ignore[union-attr]
    assert module.put_first(devices, "speaker", "") is devices
    assert module.put_first(WavConfig(), "speaker", "ec") == WavConfig()


# --- chimes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chime", NOTES)
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_our_own_chimes_are_short_and_do_not_click(chime: str, rate: int) -> None:
    pcm, own = load_chime(chime, ChimesConfig("default", "default", "default"), rate)  # type: ignore[arg-type]
    samples = memoryview(pcm).cast("h")
    assert own == rate
    assert 0.1 < len(samples) / rate < 0.6
    assert 0.05 * 32768 < max(samples) < 0.3 * 32768
    steps = [abs(after - before) for before, after in pairwise(samples)]
    assert samples[0] == samples[-1] == 0
    assert max(steps) < 6.3 * 990 / rate * max(samples)  # no steeper than the tone itself


def write_chime(path: Path, seconds: float) -> Path:
    with path.open("wb", buffering=0) as file:
        WavWriter(file, 22050).write(make_tone(440, seconds, 22050))
    return path


def test_a_chime_may_be_a_file(tmp_path: Path) -> None:
    path = write_chime(tmp_path / "gong.wav", 10.0)
    pcm, rate = load_chime("end", ChimesConfig(end=str(path)), 16000)
    assert (rate, len(pcm)) == (22050, round(LONGEST * 22050) * 2)


@pytest.mark.parametrize("content", [None, b"no sound"])
def test_a_file_that_is_no_chime_is_told(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "gong.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConvaidError, match=r"gong\.wav cannot be played: "):
        load_chime("end", ChimesConfig(end=str(path)), 16000)


@pytest.mark.timeout(10)
def test_a_pipe_is_no_chime(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gong.wav")
    with pytest.raises(ConvaidError, match=r"gong\.wav cannot be played: it is not a plain file"):
        load_chime("end", ChimesConfig(end=str(tmp_path / "gong.wav")), 16000)


async def test_a_file_that_hangs_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, released = threading.Event(), threading.Event()

    def hang(*_: object) -> tuple[bytes, int]:
        begun.set()
        released.wait(20)
        return b"", 16000

    monkeypatch.setattr("convaid.sound.sound.load_chime", hang)
    sound = FakeSound(settings=make_settings(chimes=ChimesConfig(end="default")))
    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sound.run)
                sound.chime("end")
                while not begun.is_set():
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        assert not released.is_set()
    finally:
        released.set()


async def test_chimes_are_heard_and_waited_for(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    sound = FakeSound(settings=make_settings(chimes=ChimesConfig("default", str(tmp_path / "missing.wav"), "none")))
    expected, _ = load_chime("activation", sound.settings.chimes, 16000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sound.run)
        sound.chime("end")
        sound.chime("error")
        sound.chime("activation")
        sound.chime("activation")  # too many at once
        with trio.fail_after(5):
            await sound.finish()
        assert bytes(sound.speaker.heard) == expected
        assert "missing.wav cannot be played" in caplog.text
        nursery.cancel_scope.cancel()


async def test_a_conversation_chimes_when_it_begins_fails_and_ends(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chimes = list[str]()
    broken, lost = link_lost("no network"), link_lost("the link went dead")
    ends = iter([broken, broken, lost, broken, classify_close(1000, "", None, had_metadata=True), stopped_by_user()])
    sound = FakeSound()
    monkeypatch.setattr(sound, "chime", chimes.append)
    settings = attrs.evolve(make_settings(), start="always")
    stop = trio.Event()
    conversation = Conversation("main", settings, "", None, OneTool(answer_ok), lambda event: None, sound, stop, 1.0)

    async def hold_session(conversation: Conversation) -> SessionEnd:
        await trio.sleep(1)
        end = next(ends)
        conversation.has_begun = trio.Event()
        if end is not broken:
            conversation.has_begun.set()
        if end.cause is stopped_by_user().cause:
            stop.set()
        return end

    monkeypatch.setattr(supervisor, "hold_session", hold_session)
    await supervisor.keep_conversing(conversation)
    # It fails to connect, twice; is connected, and breaks off; fails to connect; ends as it should; is opened anew.
    assert chimes == ["activation", "error", "error", "end", "activation", "end"]
