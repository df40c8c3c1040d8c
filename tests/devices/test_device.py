"""Devices of a sound server's and of ALSA's, on a real PulseAudio and a real PipeWire of the tests' own. Real clock."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trio

from convaid.audio import make_tone
from convaid.config import CommandConfig, DeviceConfig
from convaid.devices import DeviceError, device, open_microphone, open_speaker, pulse_streams
from convaid.devices.blocking import HANGING_LIMIT, call_blocking, given_up
from convaid.devices.listing import list_devices
from tests.devices.sounds import Notes, Pair, find_pitch, open_both, read_for, speak, wait_until
from tests.soundservers import SoundServer, needs_pipewire, needs_pulse, open_pipewire, open_pulse

pytestmark = [pytest.mark.xdist_group("sound"), pytest.mark.real_time]  # one at a time

LOUD = 300  # of a sample; the monitor gives exact zeros otherwise


def set_environment(monkeypatch: pytest.MonkeyPatch, server: SoundServer) -> None:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def pulse(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with open_pulse(tmp_path_factory.mktemp("p")) as server:
        set_environment(monkeypatch, server)
        yield server


@pytest.fixture
def pipewire(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with open_pipewire(tmp_path_factory.mktemp("w")) as server:
        set_environment(monkeypatch, server)
        yield server


def pactl(server: SoundServer, *command: str) -> str:
    done = subprocess.run(["pactl", *command], env=os.environ | server.env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def find_loud(pcm: bytes) -> bytes:
    """From the first sample that is loud to the last."""
    samples = np.frombuffer(pcm[: len(pcm) & ~1], "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(int)) > LOUD)
    return samples[loud[0] : loud[-1] + 1].tobytes() if len(loud) else b""


@needs_pulse
async def test_what_is_spoken_arrives_bit_by_bit(pulse: SoundServer) -> None:
    tone = make_tone(440, 1, 16000).strip(b"\0")
    notes = Notes()
    async with open_microphone(DeviceConfig(), 16000, notes) as microphone:
        await notes.wait("open")
        pulse.say(bytes(3200) + tone)
        heard = await read_for(microphone, 2 * 16000 * 2)
    assert notes.all[0].device == "mic"
    assert tone in heard


@needs_pulse
@pytest.mark.parametrize("rate", [16000, 44100])
async def test_what_is_played_is_heard_whole_from_the_first_word(rate: int, pulse: SoundServer) -> None:
    recording = pulse.listen()
    async with open_speaker(DeviceConfig(), rate, Notes()) as speaker:
        await speak(speaker, make_tone(997, 1, rate))  # while it is being opened
        assert 0.03 < speaker.held <= 0.25
        with trio.fail_after(2):
            await speaker.drain()
        assert speaker.held == 0
        await trio.sleep(0.1)
        heard = find_loud(recording.pcm)
    assert len(heard) / 32000 == pytest.approx(1, abs=0.03)
    assert find_pitch(heard, 16000) == pytest.approx(997, abs=2)


@needs_pulse
async def test_a_drop_silences_the_sink_and_the_next_words_are_whole(pulse: SoundServer) -> None:
    silences = []
    async with open_speaker(DeviceConfig(), 16000, Notes()) as speaker:
        await speak(speaker, make_tone(997, 0.3, 16000))
        for _ in range(8):
            recording = pulse.listen()
            await speak(speaker, make_tone(997, 0.4, 16000))
            dropped_at = len(recording.pcm)
            speaker.drop()
            await trio.sleep(0.3)
            silences.append((len(recording.pcm.rstrip(b"\0")) - dropped_at) / 32000)
        recording = pulse.listen()
        await speak(speaker, make_tone(440, 0.5, 16000))
        await speaker.drain()
        await trio.sleep(0.1)
        heard = find_loud(recording.pcm)
    assert statistics.median(silences) < 0.06
    assert max(silences) < 0.12  # the machine has other things to do
    assert len(heard) / 32000 == pytest.approx(0.5, abs=0.03)
    assert find_pitch(heard, 16000) == pytest.approx(440, abs=2)


@needs_pulse
async def test_what_is_cut_off_fades_out(pulse: SoundServer) -> None:
    async with open_speaker(DeviceConfig(), 16000, Notes()) as speaker:
        recording, tone = pulse.listen(), make_tone(440, 1, 16000)
        await speak(speaker, tone)
        speaker.drop()
        await trio.sleep(0.3)
    heard = np.frombuffer(recording.pcm[: len(recording.pcm) & ~1], "<i2").astype(int)
    last = int(np.flatnonzero(np.abs(heard) > LOUD)[-1])
    whole, end = heard[: last - 800], heard[last - 160 :]
    steepest = np.abs(np.diff(whole)).max()
    assert np.abs(np.diff(end)).max() < 1.1 * steepest  # of the tone itself: a click is steeper
    assert np.abs(heard[last - 32 : last]).max() < 0.5 * np.abs(whole).max()


@needs_pipewire
async def test_pipewire_forgets_what_it_holds(pipewire: SoundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_streams, "PLAYED", 0.5)
    monkeypatch.setattr(pulse_streams, "ASKED", 0.1)
    await check_that_it_is_forgotten(DeviceConfig(), pipewire)


@needs_pulse
async def test_a_device_with_a_long_buffer_forgets_it(pulse: SoundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_streams, "PLAYED", 0.5)
    monkeypatch.setattr(pulse_streams, "ASKED", 0.1)
    await check_that_it_is_forgotten(DeviceConfig(), pulse)


@needs_pulse
async def test_a_killed_server_is_noticed_at_once_and_used_again_when_it_is_back(pulse: SoundServer) -> None:
    async with open_both(DeviceConfig()) as sound:
        await sound.notes.wait("open", "open")
        lost = trio.current_time()
        pulse.kill()
        await wait_until(lambda: sound.notes.states.count("lost") == 2)
        assert trio.current_time() - lost < 1.2
        started = trio.current_time()
        await speak(sound.speaker, make_tone(440, 0.5, 16000))
        assert trio.current_time() - started == pytest.approx(0.5, abs=0.2)
        await pulse.restart()
        await wait_until(lambda: sound.notes.states.count("open") == 4)
        assert len(sound.notes.all) == 6
        recording, tone = pulse.listen(), make_tone(440, 0.5, 16000).strip(b"\0")
        await speak(sound.speaker, tone)
        pulse.say(tone)
        await wait_until(lambda: len(find_loud(recording.pcm)) > 15000)
        heard = b""
        with trio.fail_after(5):
            while tone not in heard:
                heard += await sound.microphone.read()


@needs_pulse
async def test_a_server_that_hangs_is_noticed_and_used_again_when_it_goes_on(pulse: SoundServer) -> None:
    async with open_both(DeviceConfig()) as sound:
        await sound.notes.wait("open", "open")
        with pulse.stopped():
            await wait_until(lambda: sound.notes.states.count("lost") == 2)
        await wait_until(lambda: sound.notes.states.count("open") == 4)
        recording = pulse.listen()
        await speak(sound.speaker, make_tone(440, 0.6, 16000))
        await wait_until(lambda: len(find_loud(recording.pcm)) > 0.3 * 32000)
        with trio.fail_after(5):
            await sound.microphone.read()


@needs_pulse
async def test_a_microphone_that_goes_is_not_what_the_speaker_plays_from_then_on(pulse: SoundServer) -> None:
    async with open_both(DeviceConfig()) as sound:
        await sound.notes.wait("open", "open")
        pactl(pulse, "unload-module", "module-pipe-source")
        await wait_until(lambda: sound.notes.states[-1] == "lost")
        assert sound.notes.all[-1].role == "microphone"
        with trio.move_on_after(1):
            await speak(sound.speaker, make_tone(440, 2, 16000))
            await sound.microphone.read()
            raise AssertionError("it hears something")


@needs_pulse
async def test_a_short_pause_in_speech_is_no_longer_when_it_is_heard(pulse: SoundServer) -> None:
    async with open_speaker(DeviceConfig(), 16000, Notes()) as speaker:
        await speak(speaker, make_tone(440, 0.3, 16000))
        await speaker.drain()
        await trio.sleep(0.3)
        recording = pulse.listen()
        for _ in range(4):
            await speak(speaker, make_tone(440, 0.3, 16000))
            await speaker.drain()
        await trio.sleep(0.3)
    assert len(find_loud(recording.pcm)) / 32000 == pytest.approx(1.2, abs=0.15)  # three pauses, of less than 50 ms


@needs_pulse
@pytest.mark.parametrize("seconds", [0.03, 0.1137, 0.5037])
async def test_the_last_sounds_come_with_the_others(seconds: float, pulse: SoundServer) -> None:
    async with open_speaker(DeviceConfig(), 16000, Notes()) as speaker:
        await speak(speaker, make_tone(440, 0.3, 16000))
        await speaker.drain()
        await trio.sleep(0.3)
        recording = pulse.listen()
        await speak(speaker, make_tone(440, seconds, 16000))
        await trio.sleep(seconds + 0.3)
    heard = np.abs(np.frombuffer(find_loud(recording.pcm), "<i2").astype(int)) > LOUD
    gaps = np.diff(np.flatnonzero(heard))
    assert gaps.max() < 32  # samples, of which a period has 36
    assert len(heard) / 16000 == pytest.approx(seconds, abs=0.004)


@needs_pulse
async def test_devices_are_named_by_pattern_and_the_one_that_is_wanted_more_is_taken_when_it_comes(
    pulse: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "BETTER_INTERVAL", 0.2)
    notes, tone = Notes(), make_tone(440, 0.3, 16000)
    settings = DeviceConfig(microphone=["^Monitor of kitchen"], speaker=["KITCH.N", "default"])
    async with open_speaker(settings, 16000, notes) as speaker:
        await notes.wait("open")
        assert notes.all[0].device == "spk"
        pactl(pulse, "load-module", "module-null-sink", "sink_name=big_kitchen",
              "sink_properties=device.description=kitchen")  # fmt: skip
        await notes.wait("open", "open")
        assert notes.all[1].device == "big_kitchen"
        heard = Notes()
        async with open_microphone(settings, 16000, heard) as microphone:
            await heard.wait("open")
            assert heard.all[0].device == "big_kitchen.monitor"
            await speak(speaker, tone)
            recorded = await read_for(microphone, 2 * len(tone))
            assert find_pitch(find_loud(recorded), 16000) == pytest.approx(440, abs=8)


@needs_pulse
async def test_a_device_that_is_not_there_is_lost_and_says_where_to_look(pulse: SoundServer) -> None:
    async with open_both(DeviceConfig(microphone=["usb"], speaker=[])) as sound:
        await wait_until(lambda: len(sound.notes.all) == 2)
        lost = next(note for note in sound.notes.all if note.role == "microphone")
    assert lost.state == "lost"
    assert lost.detail == "nothing fits 'usb'; `convaid audio list` shows what there is"


@needs_pulse
async def test_the_list_has_what_the_server_has(pulse: SoundServer) -> None:
    devices = {each.name: each for each in await list_devices() if each.server != "ALSA"}
    assert set(devices) == {"mic", "spk", "spk.monitor"}
    assert devices["mic"].role == devices["spk.monitor"].role == "microphone"
    assert [each.name for each in devices.values() if each.is_default] == ["mic", "spk"]
    assert [each.name for each in devices.values() if each.is_monitor] == ["spk.monitor"]
    assert (devices["spk"].rate, devices["spk"].channels) == (48000, 2)
    assert devices["spk"].server.startswith("PulseAudio ")
    pulse.kill()
    assert all(each.server == "ALSA" for each in await list_devices())


@needs_pulse
async def test_openings_leave_no_descriptor_and_no_thread_behind(pulse: SoundServer) -> None:
    async def open_once() -> None:
        async with open_both(DeviceConfig()) as sound:
            await sound.notes.wait("open", "open")
            await sound.microphone.read()
            await sound.speaker.write(bytes(640))

    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    for _ in range(3):  # what the first times open for good, and trio's worker threads
        await open_once()
    before = count()
    for _ in range(20):
        await open_once()
    await wait_until(lambda: count() <= before)


PROGRAM = """
import sys, trio
from convaid.audio import make_tone
from convaid.config import DeviceConfig
from convaid.devices import open_microphone, open_speaker

def note(note):
    print(note.role, note.state, flush=True)

async def main():
    if "mdwe" in sys.argv:
        import ctypes
        assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0  # PR_SET_MDWE, as MemoryDenyWriteExecute= does
    async with open_microphone(DeviceConfig(), 16000, note) as ear, open_speaker(DeviceConfig(), 16000, note) as mouth:
        async with trio.open_nursery() as nursery:
            async def hear():
                while True:
                    await ear.read()
            nursery.start_soon(hear)
            tone = make_tone(440, 0.5, 16000)
            for start in range(0, len(tone), 640):
                await mouth.write(tone[start:start + 640])
            await mouth.drain()
            print("said", flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            nursery.cancel_scope.cancel()
    print("left", flush=True)

trio.run(main)
"""


@pytest.mark.parametrize("how", ["as it is", "mdwe"])
@needs_pulse
async def test_nothing_native_reaches_stderr_and_no_memory_has_to_be_written_and_executed(
    how: str, pulse: SoundServer
) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - it takes no time
        [sys.executable, "-c", PROGRAM, how],
        env=os.environ | pulse.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines: list[str] = []
        reading = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
        reading.start()
        try:
            await wait_until(lambda: "said\n" in lines or process.poll() is not None)
            pulse.kill()
            await wait_until(lambda: len([line for line in lines if "lost" in line]) == 2 or process.poll() is not None)
            await trio.sleep(1)  # it is tried again, and again nobody answers
            process.stdin.write("\n")
            process.stdin.flush()
            await wait_until(lambda: process.poll() is not None)
        finally:
            process.kill()
            reading.join()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert sorted(lines[:2]) == ["microphone open\n", "speaker open\n"]
    assert lines[-1] == "left\n"
    assert process.returncode == 0


@needs_pipewire
async def test_pipewire_is_heard_and_spoken_through_and_named(pipewire: SoundServer) -> None:
    assert {each.server.split()[0] for each in await list_devices() if each.server != "ALSA"} == {"PipeWire"}
    tone = make_tone(440, 0.6, 16000)
    async with open_both(DeviceConfig(microphone=["^mic$"], speaker=["^spk$"])) as sound:
        await sound.notes.wait("open", "open")
        assert {note.device for note in sound.notes.all} == {"mic", "spk"}
        recording = pipewire.listen()
        await speak(sound.speaker, tone)
        await sound.speaker.drain()
        await wait_until(lambda: len(find_loud(recording.pcm)) > 0.55 * 32000)
        assert find_pitch(find_loud(recording.pcm), 16000) == pytest.approx(440, abs=4)
        pipewire.say(tone)
        heard = b""
        with trio.fail_after(5):
            while len(find_loud(heard)) < 0.55 * 32000:
                heard += await sound.microphone.read()
        assert find_pitch(find_loud(heard), 16000) == pytest.approx(440, abs=4)


@needs_pulse
async def test_programs_are_found_where_none_is_configured(pulse: SoundServer) -> None:
    tone = make_tone(440, 0.5, 16000).strip(b"\0")
    async with open_both(CommandConfig()) as sound:
        await sound.notes.wait("open", "open")
        assert {Path(note.device).name for note in sound.notes.all} == {"parec", "pacat"}
        recording = pulse.listen()
        await speak(sound.speaker, tone)
        await wait_until(lambda: len(find_loud(recording.pcm)) > 0.48 * 32000)
        pulse.say(tone)
        heard = b""
        with trio.fail_after(5):
            while tone not in heard:
                heard += await sound.microphone.read()


@pytest.mark.parametrize(
    ("program", "remedy"),
    [
        ("sys.modules['sounddevice'] = None", "pip install 'convaid[audio]'"),
        ("ctypes.util.find_library = lambda name: None", "apt install libportaudio2"),
    ],
)
def test_what_is_missing_is_said_with_the_remedy(program: str, remedy: str) -> None:
    """In a process of its own: what is imported stays imported."""
    lines = (
        "import ctypes.util, sys",
        program,
        "from convaid.devices.portaudio import load_portaudio",
        "load_portaudio()",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert f"{DeviceError.__module__}.{DeviceError.__name__}: " in done.stderr
    assert remedy in done.stderr


async def test_a_sound_system_that_hangs_takes_no_more_than_a_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, notes = threading.Event(), Notes()
    monkeypatch.setattr(device, "has_server", lambda: False)
    monkeypatch.setattr(device._Lives, "has_seen_server", False)
    monkeypatch.setattr(device, "RecordingStream", lambda *_, **__: goes_on.wait(30))
    monkeypatch.setenv("PULSE_SERVER", "unix:/nobody/is/here")
    before = threading.active_count()
    try:
        with trio.fail_after(20):
            for _ in range(12):  # muted and unmuted
                async with open_microphone(DeviceConfig(), 16000, notes):
                    await trio.sleep(0.05)
            assert threading.active_count() - before <= HANGING_LIMIT + 2  # and a few of trio's that rest
            assert len(given_up) == HANGING_LIMIT
            await wait_until(lambda: notes.all)
            assert "the sound system does not answer" in notes.all[-1].detail
    finally:
        goes_on.set()
    await wait_until(lambda: not given_up)


async def test_what_a_call_that_was_given_up_brings_after_all_is_undone() -> None:
    goes_on, undone = threading.Event(), threading.Event()

    def call() -> str:
        goes_on.wait(30)
        return "a stream"

    with trio.move_on_after(0.05):
        await call_blocking(call, lambda result: undone.set())
    assert len(given_up) == 1
    goes_on.set()
    await wait_until(undone.is_set)
    assert not given_up


CARD = DeviceConfig(microphone=["^card$"], speaker=["^card$"])


@needs_pulse
async def test_a_card_is_heard_and_spoken_through_and_opened_again(pulse: SoundServer) -> None:
    assert [each.name for each in await list_devices() if each.server == "ALSA"] == ["card", "card"]
    async with open_both(CARD) as sound:
        await converse(pulse, sound)
        pulse.kill()
        await wait_until(lambda: sound.notes.states.count("lost") == 2)
        await pulse.restart()
        await wait_until(lambda: sound.notes.states.count("open") == 4)
        await converse(pulse, sound)


async def converse(server: SoundServer, sound: Pair) -> None:
    """See that a tone is heard, and another one spoken."""
    recording, tone = server.listen(), make_tone(440, 0.6, 16000).strip(b"\0")
    await speak(sound.speaker, tone)
    await sound.speaker.drain()
    await wait_until(lambda: len(find_loud(recording.pcm)) > 0.55 * 32000)
    assert find_pitch(find_loud(recording.pcm), 16000) == pytest.approx(440, abs=4)
    server.say(tone)
    heard = b""
    with trio.fail_after(5):
        while tone not in heard:
            heard += await sound.microphone.read()


@needs_pulse
async def test_a_card_with_a_long_buffer_forgets_it(pulse: SoundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "PLAYED_BUFFER", 0.5)
    await check_that_it_is_forgotten(CARD, pulse)


async def check_that_it_is_forgotten(settings: DeviceConfig, pulse: SoundServer) -> None:
    """That what a device holds is not heard any more once it is dropped, and what comes next is."""
    async with open_speaker(settings, 16000, Notes()) as speaker:
        recording = pulse.listen()
        await speak(speaker, make_tone(997, 1, 16000))
        await wait_until(lambda: find_loud(recording.pcm))
        assert speaker.held > 0.15
        dropped_at = len(recording.pcm)
        speaker.drop()
        await wait_until(lambda: speaker.held == 0)
        await trio.sleep(0.4)
        assert len(recording.pcm.rstrip(b"\0")) - dropped_at < 32000 * 0.15  # of 0.3 s
        recording = pulse.listen()
        await speak(speaker, make_tone(440, 0.5, 16000))
        await speaker.drain()
        await trio.sleep(0.1)
        assert len(find_loud(recording.pcm)) / 32000 == pytest.approx(0.5, abs=0.03)
