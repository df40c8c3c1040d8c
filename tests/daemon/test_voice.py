"""Voice from end to end: a WAV file as microphone, the simulator that hears it and speaks, another WAV as speaker."""

from __future__ import annotations

import os
import shutil
import subprocess
import wave
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from convaid import events
from convaid.audio import AudioFormat, make_tone, measure_level
from convaid.control.status import describe_status
from convaid.keeper import Refused
from convaid.protocol.endings import Cause

from .holding import hold

RATE = 16000
LOUD = -40.0  # dBFS: speech and tones are above, silence is far below


def configure(audio: str) -> str:
    return f'[conversations.main]\nagent_id = "agent_test"\nstart = "once"\n{audio}\n'


def write_wav(path: Path, samples: bytes, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return path


def read_wav(path: Path) -> tuple[bytes, int]:
    with wave.open(str(path), "rb") as file:
        return file.readframes(file.getnframes()), file.getframerate()


def find_loud(path: Path, step: float = 0.02) -> list[float]:
    """The seconds at which a recording is loud."""
    samples, rate = read_wav(path)
    size = AudioFormat("pcm", rate).bytes_for(step)
    return [
        place / size * step
        for place in range(0, len(samples) - size, size)
        if measure_level(samples[place : place + size]) > LOUD
    ]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A spoken sentence, made by espeak-ng."""
    if shutil.which("espeak-ng") is None:
        reason = "espeak-ng is not installed: apt-get install espeak-ng"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    path = tmp_path / "speech.wav"
    subprocess.run(["espeak-ng", "-w", str(path), "What time is it in Berlin?"], check=True, timeout=20)
    return path


async def test_speech_is_heard_and_answered_by_voice(speech: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    audio = f'audio = "wav"\n[conversations.main.wav]\nmicrophone = "{speech}"\nspeaker = "{heard}"'
    scenario = 'steps = [{expect_audio = {within_ms = 10000}}, {say = "It is noon in Berlin."}, {end = {}}]'
    async with hold(scenario, configuration=configure(audio)) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert record.problem is None
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT
    assert [line.speaker for line in record.transcript] == ["user", "agent"]
    loud = find_loud(heard)
    said = len("It is noon in Berlin.") / 15  # seconds, by the pace of the simulator's voice
    assert len(loud) * 0.02 == pytest.approx(said, abs=0.3)  # heard to its end although the agent hung up at once


@pytest.mark.parametrize(("user_input", "agent_output"), [("ulaw_8000", "pcm_24000"), ("pcm_48000", "ulaw_8000")])
async def test_the_announced_formats_are_obeyed(user_input: str, agent_output: str, tmp_path: Path) -> None:
    quiet, tone = bytes(2 * RATE // 2), make_tone(440, 1.0, RATE)
    microphone = write_wav(tmp_path / "microphone.wav", quiet + tone + quiet)
    heard = tmp_path / "heard.wav"
    audio = f'audio = "wav"\n[conversations.main.wav]\nmicrophone = "{microphone}"\nspeaker = "{heard}"'
    scenario = f"""
steps = [{{expect_audio = {{within_ms = 10000}}}}, {{say = "Fifteen letters"}}, {{end = {{}}}}]
[agent]
user_input_audio_format = "{user_input}"
agent_output_audio_format = "{agent_output}"
"""
    async with hold(scenario, configuration=configure(audio)) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert record.problem is None
    assert len(find_loud(heard)) * 0.02 == pytest.approx(1.0, abs=0.2)  # at the right speed
    (connected,) = held.of_kind(events.Connected)
    assert connected.user_input_audio_format == user_input


@pytest.mark.real_time
async def test_audio_flows_steadily_without_a_microphone(tmp_path: Path) -> None:
    audio = f'audio = "wav"\nwav = {{speaker = "{tmp_path}/heard.wav"}}'
    async with hold("steps = [{silence = 2.0}, {end = {}}]", configuration=configure(audio)) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert record.received["user_audio_chunk"] == pytest.approx(2.0 / 0.04, abs=4)


async def test_an_interruption_is_heard_as_silence_and_newer_speech_is_not_lost(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    audio = f'audio = "wav"\n[conversations.main.wav]\nspeaker = "{heard}"'
    scenario = """
steps = [
    {say = "This sentence is long enough to be spoken for several seconds, and nobody wants to hear its end."},
    {silence = 1.0},
    {interrupt = {}},
    {silence = 2.0},
    {say = "Short."},
    {end = {}},
]
"""
    async with hold(scenario, configuration=configure(audio)) as held:
        await held.over.wait()
        (interrupted,) = held.of_kind(events.SpeechInterrupted)
    assert interrupted.seconds > 2  # it had arrived faster than it can be spoken
    loud = find_loud(heard)
    # The longest: a busy machine may leave a short one in the middle of speech.
    silent_from, silent_until = max(pairwise(loud), key=lambda pair: pair[1] - pair[0])
    assert silent_until - silent_from > 0.9
    assert sum(1 for place in loud if place > silent_until - 0.01) * 0.02 == pytest.approx(6 / 15, abs=0.2)


async def test_programs_are_microphone_and_speaker(tmp_path: Path) -> None:
    quiet, tone = bytes(2 * RATE // 2), make_tone(440, 1.0, RATE)
    (tmp_path / "said.raw").write_bytes(quiet + tone + quiet)
    pace = (
        "import sys, time; data = open(sys.argv[1], 'rb').read() + bytes(320000)\n"
        "for place in range(0, len(data), 640):\n"
        "    sys.stdout.buffer.write(data[place:place + 640]); sys.stdout.buffer.flush(); time.sleep(0.02)"
    )
    (tmp_path / "record.py").write_text(pace)
    audio = f"""audio = "command"
[conversations.main.command]
microphone = ["python3", "{tmp_path}/record.py", "{tmp_path}/said.raw"]
speaker = ["sh", "-c", "cat >> {tmp_path}/heard.raw"]
"""
    scenario = 'steps = [{expect_audio = {within_ms = 10000}}, {say = "Fifteen letters"}, {end = {}}]'
    async with hold(scenario, configuration=configure(audio)) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert record.problem is None
    samples = (tmp_path / "heard.raw").read_bytes()
    loud = [place for place in range(0, len(samples) - 640, 640) if measure_level(samples[place : place + 640]) > LOUD]
    assert len(loud) * 0.02 == pytest.approx(1.0, abs=0.2)


async def test_a_microphone_that_cannot_be_opened_ends_the_session_with_the_remedy(tmp_path: Path) -> None:
    audio = f'audio = "wav"\n[conversations.main.wav]\nmicrophone = "{tmp_path}/missing.wav"'
    async with hold('steps = [{say = "Hello."}]', configuration=configure(audio)) as held:
        (retry,) = await held.wait_for(events.RetryPlanned)
        (record,) = held.simulator.conversations
        await record.ended.wait()
    assert retry.end.cause is Cause.NO_SOUND
    assert "missing.wav" in retry.end.detail
    assert record.ending is not None
    assert record.ending.code == 1000


async def test_a_recorder_that_dies_leaves_silence_and_ends_nothing() -> None:
    audio = """audio = "command"
[conversations.main.command]
microphone = ["sh", "-c", "exit 1"]
"""
    scenario = 'steps = [{silence = 1.5}, {say = "Still there?"}, {end = {}}]'
    async with hold(scenario, configuration=configure(audio)) as held:
        await held.over.wait()
        (record,) = held.simulator.conversations
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT
    assert record.received["user_audio_chunk"] > 20
    assert ("microphone", "lost") in [(event.role, event.state) for event in held.of_kind(events.DeviceChanged)]


async def test_mute_ends_the_recorder_and_the_agent_hears_silence(tmp_path: Path) -> None:
    program = (
        "import sys, time, os; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "while True: sys.stdout.buffer.write(b'\\x01\\x10' * 320); sys.stdout.buffer.flush(); time.sleep(0.02)"
    )
    (tmp_path / "record.py").write_text(program)
    audio = f"""audio = "command"
[conversations.main.command]
microphone = ["python3", "{tmp_path}/record.py", "{tmp_path}/pids"]
speaker = ["sh", "-c", "cat > /dev/null"]
"""
    began = trio.current_time()
    async with hold("steps = [{silence = 10.0}]", configuration=configure(audio)) as held:
        await held.wait_for(events.Connected)
        conversation = held.daemon.conversations["main"]
        assert conversation.sound is not None
        while True:
            (status,) = describe_status(held.daemon).conversations
            if status.sound is not None and status.sound.audio_age is not None:
                break
            await trio.sleep(0.02)
        assert (status.sound.microphone.state, status.problem) == ("open", "")
        conversation.mute(True)
        (pid,) = (tmp_path / "pids").read_text().split()
        while await trio.Path(f"/proc/{pid}").exists():
            await trio.sleep(0.02)
        (record,) = held.simulator.conversations
        before = record.received["user_audio_chunk"]
        while record.received["user_audio_chunk"] < before + 30:
            await trio.sleep(0.02)
        assert record.received["user_audio_chunk"] < (trio.current_time() - began) / 0.04 + 4
        (status,) = describe_status(held.daemon).conversations
        assert status.sound is not None
        assert status.sound.microphone.state == "closed"
        age = status.sound.audio_age
        assert age is not None
        assert age.p50 < 0.02
        conversation.mute(False)
        while not conversation.sound.ear.is_hearing:
            await trio.sleep(0.02)


async def test_chimes_are_heard_here_and_not_by_the_agent(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    audio = f"""audio = "wav"
wav = {{speaker = "{heard}"}}
chimes = {{activation = "default", end = "default"}}
"""
    scenario = 'steps = [{silence = 2.0}, {say = "Fifteen letters"}, {end = {}}]'
    async with hold(scenario, configuration=configure(audio)) as held:
        await held.over.wait()
    loud = find_loud(heard)
    first_end, _ = max(pairwise(loud), key=lambda pair: pair[1] - pair[0])
    assert loud[0] < 0.3
    assert sum(place <= first_end for place in loud) * 0.02 == pytest.approx(0.23, abs=0.06)
    assert sum(place > first_end for place in loud) * 0.02 == pytest.approx(1.0 + 0.23, abs=0.1)
    assert held.daemon.endings["main"].cause is Cause.ENDED_BY_AGENT


async def test_who_is_refused_hears_it(tmp_path: Path) -> None:
    heard = tmp_path / "heard.wav"
    configuration = f"""
[conversations.main]
agent_id = "agent_test"
start = "on_demand"
audio = "wav"
wav = {{speaker = "{heard}"}}
chimes = {{error = "default"}}
budget = {{starts_per_hour = 0}}
"""
    async with hold("steps = [{silence = 10.0}]", configuration=configuration) as held:
        while held.daemon.keeper is None:
            await trio.sleep(0.02)
        with pytest.raises(Refused):
            held.daemon.keeper.find("main").start()
        sound = held.daemon.conversations["main"].sound
        assert sound is not None
        await sound.finish()
    assert len(find_loud(heard)) * 0.02 == pytest.approx(0.32, abs=0.06)
