"""What other tests rely on: the tests' own sound servers bring what is spoken, and play what is to be heard."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import trio

from convaid.audio import make_tone, measure_level

from .soundservers import RATE, SoundServer, needs_pipewire, needs_pulse, open_pipewire, open_pulse

FORM = (f"--rate={RATE}", "--channels=1", "--format=s16le", "--latency-msec=20", "--raw")
TONE = make_tone(997, 0.3, RATE)


@pytest.fixture(
    params=[pytest.param(open_pulse, marks=needs_pulse), pytest.param(open_pipewire, marks=needs_pipewire)],
    ids=["pulse", "pipewire"],
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SoundServer]:
    opening: Callable[[Path], AbstractContextManager[SoundServer]] = request.param
    with opening(tmp_path) as server:
        yield server


def find_tone(pcm: bytes) -> bool:
    """Whether there is half the tone's length of sound, not counting how it begins and ends."""
    steps = (pcm[start : start + 640] for start in range(0, len(pcm), 640))
    return sum(measure_level(step) > -15 for step in steps) >= 8


async def record(server: SoundServer, spoken: bytes, is_enough: Callable[[bytes], bool]) -> None:
    """Speak into the microphone once it is being recorded, until what comes is enough."""
    command = ["parec", *FORM]
    process = await trio.lowlevel.open_process(command, env=os.environ | server.env, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        with trio.fail_after(10):
            heard = bytes(await process.stdout.receive_some())
            server.say(spoken)
            while not is_enough(heard):
                heard += await process.stdout.receive_some()
        await process.stdout.aclose()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.mark.xdist_group("sound")
async def test_what_is_spoken_is_recorded_and_what_is_played_is_heard_before_and_after_a_crash(
    server: SoundServer,
) -> None:
    recording = server.listen()
    for crash in (True, False):
        await trio.run_process(["pacat", *FORM], stdin=TONE, env=os.environ | server.env)
        await recording.wait_for(find_tone)
        await record(server, TONE, find_tone)
        if crash:
            server.kill()
            await server.restart()
            recording = server.listen()


@needs_pulse
@pytest.mark.xdist_group("sound")
async def test_the_microphone_of_pulseaudio_gives_each_bit_that_was_spoken(tmp_path: Path) -> None:
    spoken = bytes(range(1, 200)) * 16
    with open_pulse(tmp_path) as server:
        await record(server, spoken, lambda pcm: spoken in pcm)


@needs_pulse
def test_nothing_lives_on_and_nothing_of_the_machine_is_touched(tmp_path: Path) -> None:
    with open_pulse(tmp_path) as server:
        assert all(str(tmp_path) in value for name, value in server.env.items() if name != "JACK_NO_START_SERVER")
        ids = [process.pid for process in server._running]
    assert ids
    assert not any(Path(f"/proc/{pid}").exists() for pid in ids)
