"""Agent speech: what it costs to take, and how soon it is silent."""

from __future__ import annotations

import asyncio
import base64
import struct
from time import perf_counter

from neutral_platform import Platform
from running import STACKS, Contestant, Run, run_contestants
from scale import Scale
from table import Row

__all__ = ["measure_interruptions", "measure_speech"]

RATE = 32000  # bytes per second of 16 bit mono at 16 kHz
CHUNK = 0.25  # seconds of speech in a frame
SPOKEN = 2.0  # seconds of speech that an interruption cuts off
HEARD = 0.7  # seconds of it that are heard, at least
QUIET = 0.2  # seconds without sound after which it is silent


def make_speech(seconds: float, chunk: float) -> list[str]:
    """Loud speech in base64 chunks."""
    piece = base64.b64encode(b"\x00\x20" * (int(chunk * RATE) // 2)).decode()
    return [piece] * round(seconds / chunk)


async def measure_speech(platform: Platform, scale: Scale) -> list[Row]:
    """CPU of a burst, from the first frame to the pong after the last; CPU of real time, microphone included."""
    bursts: dict[Contestant, list[float]] = {}
    steady: dict[Contestant, list[float]] = {}
    async with run_contestants((*STACKS, Contestant.FLOOR), platform, sound="sink") as runs:
        await asyncio.sleep(scale.settling)
        speech = make_speech(scale.speech, CHUNK)
        for _ in range(scale.rounds):
            for run in runs:
                before = run.measure_cpu()
                await run.conversation.say(speech)
                await run.conversation.ping()
                cost = run.measure_cpu() - before
                bursts.setdefault(run.contestant, []).append(cost * 1000 * 60 / scale.speech)
                await run.conversation.interrupt()
        talkers = runs[:-1]
        seconds = await asyncio.gather(*(watch_talk(run, scale.listening) for run in talkers))
        for run, cost in zip(talkers, seconds, strict=True):
            steady[run.contestant] = [cost * 1000 * 60]
    return [
        Row("agent speech decoded and handed over, CPU ms per minute of it", bursts),
        Row("a voice conversation in real time, both ways, CPU ms per minute", steady),
    ]


async def watch_talk(run: Run, lasting: float) -> float:
    """CPU seconds per second while the agent talks, its speech sent ahead of time as the platform does."""
    await run.conversation.say(make_speech(1, CHUNK))
    start, before = perf_counter(), run.measure_cpu()
    while perf_counter() < start + lasting:
        await run.conversation.say(make_speech(1, CHUNK))
        await asyncio.sleep(1)
    return (run.measure_cpu() - before) / (perf_counter() - start)


async def measure_interruptions(platform: Platform, scale: Scale) -> list[Row]:
    """From sending the interruption to the last speech that the sound card plays; spread over the length of a chunk."""
    rows = []
    async with run_contestants(STACKS, platform, sound="card") as runs:
        for chunk in scale.chunks:
            rounds: dict[Contestant, list[float]] = {contestant: [] for contestant in STACKS}
            for number in range(scale.slow_rounds):
                heard = HEARD + chunk * (number + 0.5) / scale.slow_rounds
                seconds = await asyncio.gather(*(interrupt(run, chunk, heard) for run in runs))
                for run, silence in zip(runs, seconds, strict=True):
                    rounds[run.contestant].append(silence * 1000)
            title = f"interruption to silence, speech in chunks of {chunk * 1000:.0f} ms, ms"
            rows.append(Row(title, rounds))
    return rows


async def interrupt(run: Run, chunk: float, heard: float) -> float:
    """Let the agent speak, cut in, and return the seconds of speech that were still to be heard."""
    await run.conversation.say(make_speech(SPOKEN, chunk))
    await asyncio.sleep(heard)
    cut = perf_counter()
    await run.conversation.interrupt()
    await asyncio.sleep(QUIET)
    while (quiet := perf_counter() - read_record(run)) < QUIET:  # noqa: ASYNC110  # another process writes it
        await asyncio.sleep(QUIET - quiet)
    await run.conversation.ping()  # reads what has come meanwhile
    return max(0.0, read_record(run) - cut)


def read_record(run: Run) -> float:
    return float(struct.unpack("d", run.record.read_bytes())[0])
