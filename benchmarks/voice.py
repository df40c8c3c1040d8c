"""A contestant in a conversation through a sound server, with both its ends in one hand, and what is tried with it."""

from __future__ import annotations

import asyncio
import base64
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from attrs import define, field
from neutral_platform import Conversation, Platform
from running import Contestant, Run, run_contestant
from scale import Scale
from sound_server import MICROPHONE_RATE, Onsets, SoundServer, make_tone, open_sound_server
from websockets.exceptions import ConnectionClosed

__all__ = ["DEAD", "TONE_LIMIT", "Found", "measure_instrument", "measure_voice", "open_voice"]

AGENT_RATE = 16_000
CHUNK = 0.25  # seconds of speech in a frame
TONE = 0.06  # seconds that are said into the microphone
TONE_LIMIT = 2.0  # seconds after which a tone is lost, and counts as that late
SPOKEN = 2.0  # seconds of speech that an interruption cuts off
HEARD = 0.7  # seconds of it that are heard, at least
QUIET = 0.4  # seconds without sound after which it is silent
DEAD = 1.0  # seconds without a sound server
TURN = 0.5  # seconds between two frames of speech, at least: who has fallen silent begins anew
PAUSE = 0.3  # seconds between two tones while it is waited for one to come through

FRAME = base64.b64encode(make_tone(CHUNK, AGENT_RATE)).decode()
SHORT_SPEECH = make_tone(TONE, AGENT_RATE).ljust(round(0.1 * AGENT_RATE) * 2, b"\0")
SHORT_FRAME = base64.b64encode(SHORT_SPEECH).decode()
SPEECH = make_tone(TONE, MICROPHONE_RATE)


@define(eq=False)
class Wire:
    """What comes from a contestant's microphone."""

    tones: Onsets = field(factory=Onsets)
    last_chunk: float = field(factory=perf_counter)
    longest_pause: float = 0.0
    """Seconds between two chunks."""
    is_over: bool = False

    async def listen(self, conversation: Conversation) -> None:
        try:
            while True:
                pcm = await conversation.hear()
                now = perf_counter()
                self.longest_pause = max(self.longest_pause, now - self.last_chunk)
                self.last_chunk = now
                self.tones.take(memoryview(pcm).cast("h"), len(pcm) / 2 / AGENT_RATE, now, 0)
        except ConnectionClosed:
            self.is_over = True

    def measure_pause(self) -> float:
        """The longest pause so far, the one that goes on included."""
        return max(self.longest_pause, perf_counter() - self.last_chunk)


@define(eq=False)
class Voice:
    """A contestant in a conversation, and both ends of it."""

    run: Run
    server: SoundServer
    wire: Wire


@define
class Found:
    """The figures of one contestant, over all rounds: seconds, and seconds of the processor's in a second."""

    to_wire: list[list[float]] = field(factory=list)
    to_speaker: list[list[float]] = field(factory=list)
    to_silence: list[list[float]] = field(factory=list)
    cpu: list[float] = field(factory=list)
    server_cpu: list[float] = field(factory=list)
    heard_again: list[float] = field(factory=list)
    speaks_again: list[float] = field(factory=list)
    pauses: list[float] = field(factory=list)
    endings: int = 0
    """Conversations that the sound server's death has ended."""


@asynccontextmanager
async def open_voice(contestant: Contestant, platform: Platform) -> AsyncIterator[Voice]:
    """Start a sound server and a contestant that talks through it."""
    with tempfile.TemporaryDirectory(prefix="convaid-bench-") as name:
        async with (
            open_sound_server(Path(name)) as server,
            run_contestant(contestant, platform, sound="device", variables=server.environment) as run,
        ):
            wire = Wire()
            listening = asyncio.create_task(wire.listen(run.conversation))
            yield Voice(run, server, wire)
            listening.cancel()


async def measure_voice(voice: Voice, found: Found, scale: Scale) -> None:
    """Everything about one contestant, its server's death last."""
    to_wire, to_speaker = await asyncio.gather(
        keep_speaking(voice.server, voice.wire.tones, scale.tones),
        keep_talking(voice.server, lambda: voice.run.conversation.say([SHORT_FRAME]), scale.turns),
    )
    found.to_wire.append(to_wire)
    found.to_speaker.append(to_speaker)
    found.to_silence.append([await interrupt(voice, (number + 0.5) / scale.cuts) for number in range(scale.cuts)])
    await measure_cost(voice, found, scale.listening)
    await kill_server(voice, found, scale.healing)


async def keep_speaking(server: SoundServer, tones: Onsets, count: int) -> list[float]:
    """Tones into the microphone, each when the last is among ``tones``, at any point of a chunk; returns how late."""
    took = []
    for _ in range(count):
        await asyncio.sleep(2 * TONE + random.uniform(0, CHUNK))
        tones.forget()
        spoken = await server.speak(SPEECH)
        arrived = await tones.wait(TONE_LIMIT)
        took.append(TONE_LIMIT if arrived is None else arrived - spoken)
    return took


async def keep_talking(server: SoundServer, say: Callable[[], Awaitable[None]], count: int) -> list[float]:
    """Have 0.1 s said that begin with a tone, again and again with a silence between; returns how late they are."""
    took = []
    for _ in range(count):
        await asyncio.sleep(TURN + random.uniform(0, CHUNK))
        server.heard.forget()
        sent = perf_counter()
        await say()
        heard = await server.heard.wait(TONE_LIMIT)
        took.append(TONE_LIMIT if heard is None else heard - sent)
    return took


async def interrupt(voice: Voice, part: float) -> float:
    """Let the agent speak, cut in after a ``part`` of a chunk, and return the seconds of speech still heard."""
    voice.server.heard.forget()
    await voice.run.conversation.say([FRAME] * round(SPOKEN / CHUNK))
    await voice.server.heard.wait(TONE_LIMIT)
    await asyncio.sleep(HEARD + CHUNK * part)
    cut = perf_counter()
    await voice.run.conversation.interrupt()
    await asyncio.sleep(QUIET)
    while (quiet := perf_counter() - voice.server.heard.last_loud) < QUIET:  # noqa: ASYNC110
        await asyncio.sleep(QUIET - quiet)
    return max(0.0, voice.server.heard.last_loud - cut)


async def measure_cost(voice: Voice, found: Found, lasting: float) -> None:
    """CPU while the agent talks and the microphone is open, speech being sent ahead of time as the platform does."""
    conversation = voice.run.conversation
    second = [FRAME] * round(1 / CHUNK)
    await conversation.say(second)
    start = perf_counter()
    ours, servers = voice.run.measure_family_cpu(), voice.server.measure_cpu()
    while (elapsed := perf_counter() - start) < lasting:
        await conversation.say(second)
        await asyncio.sleep(1)
    found.cpu.append((voice.run.measure_family_cpu() - ours) / elapsed)
    found.server_cpu.append((voice.server.measure_cpu() - servers) / elapsed)
    await conversation.interrupt()


async def kill_server(voice: Voice, found: Found, limit: float) -> None:
    """Kill the sound server while both sides speak, and see how long after its return each is heard again."""
    conversation, server, wire = voice.run.conversation, voice.server, voice.wire

    async def keep_tones_coming() -> None:
        while not wire.is_over:
            await conversation.say([SHORT_FRAME])
            await asyncio.sleep(PAUSE)

    async def say_until_heard() -> float | None:
        deadline = perf_counter() + limit
        while perf_counter() < deadline:
            await server.speak(SPEECH)
            if (arrived := await wire.tones.wait(PAUSE)) is not None:
                return arrived
        return None

    wire.longest_pause = 0.0
    agent = asyncio.create_task(keep_tones_coming())
    await asyncio.sleep(PAUSE)
    server.kill()
    await asyncio.sleep(DEAD)
    await server.start()
    back = perf_counter()
    wire.tones.forget()
    server.heard.forget()
    arrived, heard = await asyncio.gather(say_until_heard(), server.heard.wait(limit))
    agent.cancel()
    if arrived is not None:
        found.heard_again.append(max(0.0, arrived - back))
    if heard is not None:
        found.speaks_again.append(max(0.0, heard - back))
    found.pauses.append(wire.measure_pause())
    found.endings += wire.is_over or voice.run.process.returncode is not None


async def measure_instrument(found: Found, scale: Scale) -> None:
    """The same tones with no contestant between: a recorder that is read here, and a player that is written here."""
    options = ["--raw", "--format=s16le", f"--rate={AGENT_RATE}", "--channels=1", "--latency-msec=10"]
    pipe = asyncio.subprocess.PIPE
    with tempfile.TemporaryDirectory(prefix="convaid-bench-") as name:
        async with open_sound_server(Path(name)) as server:
            recorder = await asyncio.create_subprocess_exec("parec", *options, env=server.environment, stdout=pipe)
            player = await asyncio.create_subprocess_exec("pacat", *options, env=server.environment, stdin=pipe)
            assert recorder.stdout is not None
            stdin = player.stdin
            assert stdin is not None
            tones = Onsets()
            listening = asyncio.create_task(listen_to_recorder(recorder.stdout, tones))

            async def say() -> None:
                stdin.write(SHORT_SPEECH)

            await asyncio.sleep(scale.settling)
            to_wire, to_speaker = await asyncio.gather(
                keep_speaking(server, tones, scale.tones), keep_talking(server, say, scale.turns)
            )
            found.to_wire.append(to_wire)
            found.to_speaker.append(to_speaker)
            stdin.close()
            recorder.kill()
            await asyncio.gather(player.wait(), recorder.wait(), listening)


async def listen_to_recorder(pipe: asyncio.StreamReader, tones: Onsets) -> None:
    odd = b""
    while block := await pipe.read(2**16):
        now = perf_counter()
        block = odd + block
        whole = len(block) & ~1
        tones.take(memoryview(block[:whole]).cast("h"), whole / 2 / AGENT_RATE, now, 0)
        odd = block[whole:]
