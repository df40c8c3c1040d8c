"""The command devices with real programs: small Python recorders, `cat` as a player. Real clock: they are processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from convaid.audio import AudioFormat, make_tone
from convaid.config import CommandConfig
from convaid.devices import Speaker, kept
from tests.devices.sounds import open_both, read_for, read_line, speak, wait_until

TONE = make_tone(440, 0.5, 16000)

# Writes a file to its output in real time, in pieces that end within samples, then what else it is told to.
RECORDER = """
import sys, time
samples, after = open(sys.argv[1], "rb").read(), sys.argv[2]
for start in range(0, len(samples), 641):
    sys.stdout.buffer.write(samples[start : start + 641])
    sys.stdout.buffer.flush()
    time.sleep(641 / 32000)
if after == "fail":
    print("overrun\\nno such card", file=sys.stderr)
    sys.exit(3)
time.sleep(60)
"""


def python(program: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", program, *map(str, arguments))


def record(path: Path, samples: bytes, after: str = "wait") -> tuple[str, ...]:
    path.write_bytes(samples)
    return python(RECORDER, path, after)


def play(folder: Path) -> tuple[str, ...]:
    """A player that keeps what it hears, each process in a file of its own."""
    return ("sh", "-c", f"exec cat > {folder}/$$")


def heard_by(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_ctime_ns)]


def find_state(process: int) -> str:
    """The letter of ps; "" for a process that is gone, "Z" for one that waits to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


async def test_the_microphone_is_what_the_program_records(tmp_path: Path) -> None:
    async with open_both(CommandConfig(speaker=(), microphone=record(tmp_path / "in", TONE))) as sound:
        with trio.fail_after(10):
            chunks = [await sound.microphone.read()]
            while sum(map(len, chunks)) < len(TONE) // 2:  # and not to the end, after which another one records
                chunks.append(await sound.microphone.read())
    assert all(chunk and len(chunk) % 2 == 0 for chunk in chunks)
    assert TONE.startswith(b"".join(chunks))


async def test_both_programs_have_their_rate_whatever_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    pcm, tone = AudioFormat("pcm", 48000), make_tone(440, 0.5, 48000)
    settings = CommandConfig(microphone=record(tmp_path / "in", tone), speaker=play(tmp_path / "out"), rate=48000)
    async with open_both(settings, 16000) as sound:
        assert sound.microphone.format == sound.speaker.format == pcm
        assert tone.startswith(await read_for(sound.microphone, 9600))
        await speak(sound.speaker, tone)
        with trio.fail_after(5):
            await sound.speaker.drain()
    assert heard_by(tmp_path / "out")[0].strip(b"\0") == tone.strip(b"\0")


async def test_a_recorder_that_dies_is_started_again_in_step_and_noted(tmp_path: Path) -> None:
    samples = TONE[:641]  # it dies in the middle of a sample
    async with open_both(CommandConfig(speaker=(), microphone=record(tmp_path / "in", samples, "fail"))) as sound:
        assert await read_for(sound.microphone, 1920) == samples[:640] * 3
    lost = [note for note in sound.notes.all if note.state == "lost"]
    assert [note.is_repeated for note in lost[:2]] == [False, True]
    assert lost[0].device == sys.executable
    assert "ended (exit status 3) overrun no such card" in lost[0].detail


async def test_a_recorder_that_comes_later_is_found(tmp_path: Path) -> None:
    script = tmp_path / "recorder"
    async with open_both(CommandConfig(speaker=(), microphone=(str(script),))) as sound:
        await wait_until(lambda: "lost" in sound.notes.states)
        script.write_text("#!/bin/sh\nexec yes\n")
        script.chmod(0o700)
        assert await read_for(sound.microphone, 640)
    assert "cannot be started" in sound.notes.details
    assert "No such file" in sound.notes.details


async def test_a_recorder_that_gives_nothing_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "START_LIMIT", 0.2)
    deaf_once = f"[ -e {tmp_path}/deaf ] && exec yes; : > {tmp_path}/deaf; exec sleep 60"
    async with open_both(CommandConfig(speaker=(), microphone=("sh", "-c", deaf_once))) as sound:
        assert await read_for(sound.microphone, 640)
    assert "gave nothing for 0.2 s" in sound.notes.details


@pytest.fixture
async def player(tmp_path: Path) -> AsyncIterator[Speaker]:
    async with open_both(CommandConfig(microphone=(), speaker=play(tmp_path))) as sound:
        yield sound.speaker


async def test_speech_is_played_whole_and_in_real_time(tmp_path: Path, player: Speaker) -> None:
    started = trio.current_time()
    await speak(player, TONE)
    assert 0.25 < trio.current_time() - started < 5
    assert 0 < player.held <= 0.101
    with trio.fail_after(5):
        await player.drain()
    assert heard_by(tmp_path)[0].strip(b"\0") == TONE.strip(b"\0")


async def test_a_player_gets_silence_between_speech(tmp_path: Path, player: Speaker) -> None:
    await wait_until(lambda: len(b"".join(heard_by(tmp_path))) >= 6400)
    assert not b"".join(heard_by(tmp_path)).strip(b"\0")


async def test_dropping_silences_at_once_and_the_next_speech_is_whole(tmp_path: Path, player: Speaker) -> None:
    await speak(player, TONE)
    player.drop()
    assert player.held == 0
    second = make_tone(880, 0.2, 16000)
    await speak(player, second)
    with trio.fail_after(5):
        await player.drain()
    cut, whole = heard_by(tmp_path)[:2]
    assert len(cut.strip(b"\0")) < len(TONE) - 640
    assert whole.strip(b"\0") == second.strip(b"\0")


async def test_dropping_when_nothing_was_said_leaves_the_player_alone(tmp_path: Path, player: Speaker) -> None:
    player.drop()
    await speak(player, TONE)
    with trio.fail_after(5):
        await player.drain()
    assert heard_by(tmp_path)[0].strip(b"\0") == TONE.strip(b"\0")


async def test_draining_waits_for_what_the_player_holds(tmp_path: Path) -> None:
    slow = f"cat > {tmp_path}/all; sleep 0.3; : > {tmp_path}/heard"
    async with open_both(CommandConfig(microphone=(), speaker=("sh", "-c", slow))) as sound:
        await speak(sound.speaker, TONE)
        with trio.fail_after(5):
            await sound.speaker.drain()
        assert (tmp_path / "heard").exists()


async def test_a_player_that_dies_costs_the_speech_but_no_time(tmp_path: Path) -> None:
    async with open_both(CommandConfig(microphone=(), speaker=("sh", "-c", "echo no card >&2; exit 1"))) as sound:
        started = trio.current_time()
        await speak(sound.speaker, TONE * 2)
        assert 0.7 < trio.current_time() - started < 5
        with trio.fail_after(1):
            await sound.speaker.drain()
    lost = next(note for note in sound.notes.all if note.state == "lost")
    assert "ended (exit status 1) no card" in lost.detail


@pytest.mark.parametrize("rate", [16000, 48000])  # what we are ahead fits into a pipe, and does not
async def test_a_player_that_is_stuck_is_started_again(
    rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "BLOCK_LIMIT", 0.3)
    (tmp_path / "out").mkdir()
    stuck_once = f"[ -e {tmp_path}/stuck ] && exec cat > {tmp_path}/out/$$; : > {tmp_path}/stuck; exec sleep 60"
    tone = make_tone(440, 0.3, rate)
    async with open_both(CommandConfig(microphone=(), speaker=("sh", "-c", stuck_once), rate=rate)) as sound:
        await wait_until(lambda: sound.notes.states[-2:] == ["lost", "open"])
        await speak(sound.speaker, tone)
        with trio.fail_after(5):
            await sound.speaker.drain()
    assert tone.strip(b"\0") in heard_by(tmp_path / "out")[0]
    assert "took nothing for 0.3 s" in sound.notes.details


@pytest.mark.parametrize("role", ["microphone", "speaker"])
async def test_the_end_kills_what_does_not_want_to_end(role: str, tmp_path: Path) -> None:
    stubborn = f"""
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "60"])
print(os.getpid(), child.pid, file=open("{tmp_path}/pids", "w"), flush=True)
time.sleep(60)
"""
    command = python(stubborn)
    settings = (
        CommandConfig(speaker=(), microphone=command)
        if role == "microphone"
        else CommandConfig(microphone=(), speaker=command)
    )
    async with open_both(settings):
        program, child = map(int, (await read_line(tmp_path / "pids")).split())
        left = trio.current_time()
    assert 0.4 < trio.current_time() - left < 10  # the grace of SIGTERM, then SIGKILL
    assert find_state(program) == ""  # reaped
    await wait_until(lambda: find_state(child) in ("", "Z"))  # reaping an orphan is for process 1


async def test_cancelling_the_session_ends_the_programs_as_well(tmp_path: Path) -> None:
    program = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    with trio.CancelScope() as scope:
        async with open_both(CommandConfig(speaker=(), microphone=("sh", "-c", program))):
            process = int(await read_line(tmp_path / "pid"))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert find_state(process) == ""


async def test_a_signal_to_our_group_does_not_reach_the_programs(tmp_path: Path) -> None:
    """Ctrl+C in a terminal is for the daemon, which may still want to play what is being said."""
    async with open_both(CommandConfig(speaker=(), microphone=("sh", "-c", f"echo $$ > {tmp_path}/pid; exec yes"))):
        process = int(await read_line(tmp_path / "pid"))
        assert os.getpgid(process) == process != os.getpgid(0)


async def test_no_descriptor_stays_behind(tmp_path: Path) -> None:
    settings = CommandConfig(microphone=("sh", "-c", "exec yes"), speaker=play(tmp_path))
    async with open_both(settings) as sound:  # what the first time opens for good
        await sound.microphone.read()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        async with open_both(settings) as sound:
            await read_for(sound.microphone, 640)
            for _ in range(3):
                await speak(sound.speaker, TONE[:6400])
                sound.speaker.drop()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_program_that_ends_by_a_signal_is_named_by_it() -> None:
    async with open_both(CommandConfig(speaker=(), microphone=("sh", "-c", "kill -KILL $$"))) as sound:
        await wait_until(lambda: "lost" in sound.notes.states)
    assert f"ended ({signal.SIGKILL.name})" in sound.notes.details
