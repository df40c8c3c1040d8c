"""What `convaid audio test` finds out: on samples, on devices that are arithmetic, and through a real PulseAudio."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import trio

from convaid.audio import AudioFormat, Converter, make_tone, measure_level
from convaid.config import CommandConfig, DeviceConfig, SpeechConfig
from convaid.devices import open_microphone, open_speaker
from convaid.sound.echo import EchoStage, make_stage
from convaid.sound.measuring import (
    Echo,
    Measurement,
    Tape,
    find_delay,
    make_chirp,
    make_murmur,
    measure,
    measure_echo,
    recommend,
)

from ..soundservers import SoundServer, needs_pulse, open_pulse
from .echoes import FORMAT, RATE, Room, decode, mix, needs_livekit, scale

LEAD = bytes(16_000)  # half a second
REST = bytes(64_000)


def make_canceller() -> EchoStage:
    return make_stage("aec", SpeechConfig(), FORMAT, lambda: 0.0)


# ---- samples


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_chirp_and_a_murmur_are_as_loud_as_speech_and_do_not_click(rate: int) -> None:
    audio_format = AudioFormat("pcm", rate)
    chirp = make_chirp(rate)
    assert audio_format.seconds_of(len(chirp)) == pytest.approx(0.5, abs=1e-3)
    murmur = make_murmur(rate, 2.0)
    assert audio_format.seconds_of(len(murmur)) == 2.0
    for sound in (chirp, murmur):
        assert measure_level(sound) == pytest.approx(-20, abs=0.2)
        assert abs(decode(sound)).max() < 32_000
    assert abs(decode(chirp)[[0, -1]]).max() < 30


@pytest.mark.parametrize("delay", [0.0, 0.06, 0.2, 0.9])
@pytest.mark.parametrize("gain", [0.3, 0.03])
def test_an_echo_is_found_in_noise(delay: float, gain: float) -> None:
    played = LEAD + make_chirp(RATE) + REST
    noise = decode(make_murmur(RATE, 4.0))[::-1][: len(played) // 2].astype("<i2").tobytes()
    heard = mix(Room(delay, gain).hear(played), scale(noise, -60.0))
    echo = measure_echo(played, heard, RATE)
    assert echo.round_trip is not None
    assert echo.round_trip == pytest.approx(delay, abs=0.002)
    assert echo.return_loss == pytest.approx(-20 * math.log10(gain), abs=2.0)
    assert echo.level == pytest.approx(-20 + 20 * math.log10(gain) - 1, abs=2.0)  # spread over the room's tail
    assert echo.floor < -50
    assert echo.clipped == 0


@pytest.mark.parametrize("heard", ["noise", "hum", "zeros", "nothing"])
def test_what_is_no_echo_is_none(heard: str) -> None:
    played = LEAD + make_chirp(RATE) + REST
    sound = {
        "noise": scale(make_murmur(RATE, 3.0), -40.0),
        "hum": make_tone(440, 3.0, RATE, -30.0),
        "zeros": bytes(96_000),
        "nothing": b"",
    }[heard]
    echo = measure_echo(played, sound, RATE)
    assert (echo.round_trip, echo.return_loss) == (None, math.inf)
    assert find_delay(played, sound, RATE) is None


def test_an_overdriven_microphone_is_seen() -> None:
    played = LEAD + make_chirp(RATE) + REST
    echo = measure_echo(played, mix(Room(0.1, 8.0).hear(played), b""), RATE)
    assert echo.clipped > 0.01


# ---- advice


QUIET_ROOM = Echo(level=-50.0, floor=-70.0, round_trip=0.12, return_loss=30.0, clipped=0.0)
LOUD_ROOM = Echo(level=-25.0, floor=-70.0, round_trip=0.12, return_loss=5.0, clipped=0.0)
HEADPHONES = Echo(level=-70.0, floor=-70.0, round_trip=None, return_loss=math.inf, clipped=0.0)


@pytest.mark.parametrize(
    ("echo", "enhancements", "mode", "words"),
    [
        (LOUD_ROOM, {"aec": 31.4}, "aec", "the echo has -25 dBFS, and 31 dB of it can be cancelled"),
        (LOUD_ROOM, {"aec": 4.0}, "gate", "only 4 dB of it can be cancelled: as loud as speech"),
        (LOUD_ROOM, {}, "gate", "speech.echo_tail = 0.3"),
        (QUIET_ROOM, {}, "duck", "speech.duck_threshold = -42"),
        (QUIET_ROOM, {"aec": math.inf}, "aec", "all of it can be cancelled"),
        (HEADPHONES, {"aec": 0.0}, "none", "nothing that is played comes back"),
        (HEADPHONES, {"system": 0.0}, "system", "nothing of what is played comes back: the sound server cancels it"),
        (QUIET_ROOM, {"system": 0.0}, "system", "-30 dB of what is played comes back"),
        (LOUD_ROOM, {"system": 0.0}, "gate", "as loud as speech"),
        (Echo(-2.0, -70.0, 0.1, 1.0, 0.1), {"aec": 30.0}, None, "10.0% of the samples are clipped"),
        (Echo(-math.inf, -math.inf, None, math.inf, 0.0), {}, None, "nothing but zeros"),
    ],
)
def test_the_advice(echo: Echo, enhancements: dict, mode: str | None, words: str) -> None:  # type: ignore[type-arg]
    advised, why = recommend(echo, enhancements)
    assert advised == mode
    assert words in why


# ---- devices that are arithmetic


class Wire:
    """A speaker and a microphone in one: what is written is heard in a room, at the pace of the clock."""

    def __init__(self, room: Room | None) -> None:
        self.format = FORMAT
        self.held = 0.0
        self._room = room
        self._written = bytearray()
        self._take = None
        self._due = trio.current_time()

    def tap(self, take) -> None:  # type: ignore[no-untyped-def]
        self._take = take

    async def write(self, pcm: bytes) -> None:
        self._written += pcm
        while len(self._written) > 3200:
            await trio.sleep(0.01)

    async def read(self) -> bytes:
        self._due += 0.02
        await trio.sleep_until(self._due)
        played = bytes(self._written[:640]).ljust(640, b"\0")
        del self._written[:640]
        if self._take is not None:
            self._take(played, RATE)
        return self._room.hear(played) if self._room else bytes(640)

    def drop(self) -> None:
        self._written.clear()

    async def drain(self) -> None:
        while self._written:
            await trio.sleep(0.01)


@pytest.fixture
def one_clock(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> trio.testing.MockClock:
    """For all, trio included, which looks for a clock among the test's own arguments."""
    monkeypatch.setattr(time, "monotonic", autojump_clock.current_time)
    return autojump_clock


async def measure_wire(room: Room | None, *stages: EchoStage) -> Measurement:
    wire = Wire(room)
    return await measure(wire, wire, *stages, seconds=6.0)


@needs_livekit
async def test_a_measurement(one_clock: trio.testing.MockClock) -> None:
    nothing = make_stage("none", SpeechConfig(), FORMAT, lambda: 0.0)
    found = await measure_wire(Room(0.15), make_canceller(), nothing)
    assert found.echo.round_trip == pytest.approx(0.15, abs=0.03)
    assert found.echo.return_loss == pytest.approx(10, abs=2)
    assert found.enhancements["aec"] >= 25
    assert found.enhancements["none"] == 0
    assert found.mode == "aec"


async def test_a_measurement_with_headphones(one_clock: trio.testing.MockClock) -> None:
    found = await measure_wire(Room(0.1, 1e-5))
    assert found.echo.round_trip is None
    assert found.mode is None  # not a single sample was other than zero


async def test_a_microphone_that_gives_nothing_does_not_hold_a_measurement_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Dead(Wire):
        async def read(self) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

    wire = Wire(None)
    found = await measure(Dead(None), wire, seconds=1.0)
    assert found.mode is None
    assert trio.current_time() < 20


def test_a_tape_puts_both_sides_on_one_line() -> None:
    tape = Tape(FORMAT, make_stage("none", SpeechConfig(), FORMAT, lambda: 0.0))
    tape.note_heard(bytes(640))
    chirp = Converter(FORMAT, AudioFormat("pcm", 48_000)).convert(make_chirp(RATE))
    for start in range(0, len(chirp), 1920):
        tape.note_played(chirp[start : start + 1920], 48_000)
    tape.note_heard(bytes(32_000))
    assert tape.seconds == 1.02
    assert len(tape.heard) == 32_640
    assert measure_level(tape.played) > -25
    assert tape.find_enhancements(0.0) == {"none": 0.0}


# ---- a sound server


class Reflection:
    """Has what a server's speaker plays come back into its microphone, by way of a room."""

    SLACK = 0.06  # seconds that wait to be spoken, so that the microphone never runs dry between two of ours

    def __init__(self, server: SoundServer, room: Room) -> None:
        self._server = server
        self._room = room

    async def run(self) -> None:
        recording = self._server.listen()
        self._server.say(FORMAT.silence(self.SLACK))
        done = 0
        while True:
            for _, block in recording.blocks[done:]:
                self._server.say(self._room.hear(block))
                done += 1
            await trio.sleep(0.005)


FORM = ("--raw", "--format=s16le", "--channels=1", f"--rate={RATE}")
PROGRAMS = CommandConfig(
    microphone=("parec", *FORM, "--latency-msec=20"), speaker=("pacat", *FORM, "--latency-msec=40")
)


@needs_pulse
@needs_livekit
@pytest.mark.timeout(120)
@pytest.mark.parametrize("devices", [DeviceConfig(), PROGRAMS], ids=["device", "command"])
async def test_the_echo_of_a_real_server_is_taken_away(
    devices: DeviceConfig | CommandConfig, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the machine stands still, so does this room, and its walls are elsewhere then: that is measured again.
    for attempt in range(4):
        folder = tmp_path_factory.mktemp(f"pulse{attempt}")
        found = await measure_server(folder, devices, monkeypatch)
        if found.enhancements["aec"] >= 25:
            break
    assert found.echo.round_trip is not None
    assert 0.05 < found.echo.round_trip < 0.6
    assert found.echo.return_loss == pytest.approx(10, abs=3)
    assert found.enhancements["aec"] >= 25
    assert found.mode == "aec"


async def measure_server(
    folder: Path, devices: DeviceConfig | CommandConfig, monkeypatch: pytest.MonkeyPatch
) -> Measurement:
    with open_pulse(folder) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        with trio.fail_after(25):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Reflection(server, Room(0.02)).run)
                async with (
                    open_microphone(devices, RATE, lambda note: None) as microphone,
                    open_speaker(devices, RATE, lambda note: None) as speaker,
                ):
                    found = await measure(microphone, speaker, make_canceller(), seconds=4.0)
                nursery.cancel_scope.cancel()
    return found
