"""A sound server without hardware, and when exactly what is said into its microphone and heard at its speaker.

A private PulseAudio with the speaker ``spk`` (a null sink, which takes 10 ms at a time) and the microphone ``mic`` (a
pipe source), both the defaults. It is the instrument of the rows about sound: each contestant gets one of its own.

Times are of `time.perf_counter`. A tone is spoken when its first block is written into the microphone, as a real one
does when it has recorded the block. It is heard when the sink plays its first sample: the sink takes a period when it
begins to play it, and hands it to whoever records the sink at once.

The sink sleeps until it is recorded: awake and alone it would run 2 s ahead of its listeners.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter

from running import read_cpu

__all__ = ["MICROPHONE_RATE", "Onsets", "SoundServer", "find_missing", "make_tone", "open_sound_server"]

PROGRAMS = ("pulseaudio", "parec", "pacat", "pactl")
MICROPHONE_RATE = 16_000  # mono
SPEAKER_RATE = 48_000  # stereo
BLOCK = 0.005  # seconds written into the microphone at once
LATENESS = 0.02  # seconds that the microphone may be late before it leaves something out
PERIOD = 0.01  # seconds that the sink takes at once, if nobody asks for less, when it begins to play them
LOUD = 0x0800  # of a sample: the tones are louder, the room is less loud by far
GAP = 0.02  # seconds without a loud sample after which a loud one is the beginning of another tone
STARTING_LIMIT = 10.0  # seconds for a server to come; it takes 0.3

SCRIPT = """\
load-module module-null-sink sink_name=spk rate={speaker_rate} channels=2 format=s16le
load-module module-pipe-source source_name=mic file={folder}/mic.fifo format=s16le rate={microphone_rate} channels=1
suspend-sink spk 1
set-default-sink spk
set-default-source mic
load-module module-native-protocol-unix auth-anonymous=1 socket={folder}/native
"""
ALSA = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"


def make_tone(seconds: float, rate: int, frequency: float = 1000.0) -> bytes:
    """A loud tone, s16le, whose first sample is loud already."""
    return array(
        "h", (round(0x3000 * math.cos(2 * math.pi * frequency * n / rate)) for n in range(round(seconds * rate)))
    ).tobytes()


class Onsets:
    """Finds where tones begin and end in samples that come block by block."""

    def __init__(self) -> None:
        self.last_loud = 0.0
        """When the last loud sample was heard, so far."""
        self._found: asyncio.Queue[float] = asyncio.Queue()
        self._quiet = math.inf  # seconds, at the end of the last block

    def take(self, samples: Sequence[int], seconds: float, begin: float, lasting: float) -> None:
        """Take ``seconds`` of sound, whose first sample was heard at ``begin`` and its last ``lasting`` later."""
        pieces = max(1, round(seconds / BLOCK))
        size = -(-len(samples) // pieces)
        for start in range(0, len(samples), size):
            piece = samples[start : start + size]
            if max(piece) < LOUD:
                self._quiet += seconds / pieces
                continue
            first = next(number for number in range(len(piece)) if piece[number] >= LOUD)
            last = next(number for number in reversed(range(len(piece))) if piece[number] >= LOUD)
            if self._quiet + first / len(samples) * seconds > GAP:
                self._found.put_nowait(begin + (start + first) / len(samples) * lasting)
            self.last_loud = begin + (start + last + 1) / len(samples) * lasting
            self._quiet = (len(piece) - 1 - last) / len(samples) * seconds

    def forget(self) -> None:
        """Forget the beginnings that nobody has waited for."""
        while not self._found.empty():
            self._found.get_nowait()

    async def wait(self, limit: float) -> float | None:
        """When the next tone began; None if none comes within ``limit`` seconds."""
        try:
            async with asyncio.timeout(limit):
                return await self._found.get()
        except TimeoutError:
            return None


class SoundServer:
    """`open_sound_server` makes and ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard = Onsets()
        """What the speaker plays."""
        self.environment = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder}/native",
            "PULSE_COOKIE": str(folder / "cookie"),
            "JACK_NO_START_SERVER": "1",
        }
        """For a contestant: its programs and libraries know this server alone."""
        self._server: subprocess.Popen[bytes] | None = None
        self._recorder: subprocess.Popen[bytes] | None = None
        self._is_heard = False
        self._odd = b""
        self._microphone = -1
        self._to_say = b""
        self._said: asyncio.Future[float] | None = None

    async def start(self) -> None:
        """Start the server, or start it again; returns when it serves and its speaker is listened to."""
        self._start_server()
        async with asyncio.timeout(STARTING_LIMIT):
            await wait_until(self._is_serving)
            self._start_recorder()
            await wait_until(self._is_recorded)
            await self._control("suspend-sink", "spk", "0")
            await wait_until(self._has_heard)
        self._microphone = os.open(self.folder / "mic.fifo", os.O_RDWR | os.O_NONBLOCK)

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        if self._microphone >= 0:
            os.close(self._microphone)
            self._microphone = -1
        for process in (self._server, self._recorder):
            if process is not None:
                process.kill()
                process.wait()
        if self._recorder is not None:
            assert self._recorder.stdout is not None
            asyncio.get_running_loop().remove_reader(self._recorder.stdout)
            self._recorder.stdout.close()
        self._server = self._recorder = None
        for name in ("native", "mic.fifo"):
            (self.folder / name).unlink(missing_ok=True)

    def measure_cpu(self) -> float:
        """CPU seconds of the server so far."""
        assert self._server is not None
        return read_cpu(self._server.pid)

    async def speak(self, tone: bytes) -> float:
        """Begin to say ``tone`` (16 kHz mono s16le) into the microphone; returns when its first sample was."""
        self._to_say = tone
        self._said = asyncio.get_running_loop().create_future()
        return await self._said

    async def keep_speaking(self) -> None:
        """Write into the microphone in real time: what is to be said, and the faint noise of a room between."""
        size = round(BLOCK * MICROPHONE_RATE) * 2
        noise = array("h", (number % 3 - 1 for number in range(size // 2))).tobytes()
        due = perf_counter()
        while True:
            if self._microphone >= 0:
                block, self._to_say = self._to_say[:size], self._to_say[size:]
                with suppress(BlockingIOError):
                    os.write(self._microphone, block + noise[len(block) :])
                if block and self._said is not None:
                    self._said.set_result(perf_counter())
                    self._said = None
            due = max(due + BLOCK, perf_counter() - LATENESS)
            await asyncio.sleep(due - perf_counter())

    async def _control(self, *command: str) -> bytes:
        """What `pactl` has to say to this."""
        process = await asyncio.create_subprocess_exec(
            "pactl", *command, env=os.environ | self.environment, stdout=asyncio.subprocess.PIPE
        )
        return (await process.communicate())[0]

    async def _is_serving(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self.folder / "native")
        except OSError:
            return False
        writer.close()
        return True

    async def _is_recorded(self) -> bool:
        return bool(await self._control("list", "short", "source-outputs"))

    async def _has_heard(self) -> bool:
        return self._is_heard

    def _start_server(self) -> None:
        script = self.folder / "script.pa"
        script.write_text(SCRIPT.format(folder=self.folder, speaker_rate=SPEAKER_RATE, microphone_rate=MICROPHONE_RATE))
        (self.folder / ".asoundrc").write_text(ALSA)
        command = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += ["--disable-shm=yes", "--realtime=no", "--high-priority=no", f"--log-target=file:{self.folder}/log"]
        self._server = subprocess.Popen(
            command, env=os.environ | self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _start_recorder(self) -> None:
        command = ["parec", "--raw", "--device=spk.monitor", "--format=s16le", f"--rate={SPEAKER_RATE}", "--channels=2"]
        self._recorder = subprocess.Popen(
            [*command, "--latency-msec=10"],
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._is_heard = False
        self._odd = b""
        assert self._recorder.stdout is not None
        os.set_blocking(self._recorder.stdout.fileno(), False)
        asyncio.get_running_loop().add_reader(self._recorder.stdout, self._hear, self._recorder.stdout.fileno())

    def _hear(self, pipe: int) -> None:
        arrival = perf_counter()
        block = self._odd + os.read(pipe, 2**18)
        if not block:
            asyncio.get_running_loop().remove_reader(pipe)
            return
        whole = len(block) & ~3
        block, self._odd = block[:whole], block[whole:]
        seconds = whole / 4 / SPEAKER_RATE
        self._is_heard = True
        self.heard.take(memoryview(block).cast("h"), seconds, arrival - max(0.0, seconds - PERIOD), seconds)


async def wait_until(is_so: Callable[[], Awaitable[bool]]) -> None:
    while not await is_so():  # noqa: ASYNC110  # another process does not tell
        await asyncio.sleep(BLOCK)


def find_missing() -> list[str]:
    """The programs that are needed here and are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@asynccontextmanager
async def open_sound_server(folder: Path) -> AsyncIterator[SoundServer]:
    """Start one whose files are in ``folder``, which is to be short, and kill it at the end."""
    server = SoundServer(folder)
    try:
        await server.start()
        speaking = asyncio.create_task(server.keep_speaking())
        yield server
        speaking.cancel()
    finally:
        server.kill()
