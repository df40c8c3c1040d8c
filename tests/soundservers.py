"""Sound servers of the tests' own: PulseAudio and PipeWire without hardware, with a microphone to speak into and a
speaker to listen at.

    with open_pulse(tmp_path) as server:                 # or open_pipewire; no event loop is needed
        for name, value in server.env.items():           # or give them to a child
            monkeypatch.setenv(name, value)
        recording = server.listen()                      # what the speaker plays from now on
        await server.speak(pcm)                          # 16 kHz mono s16le, in real time; `say` does not wait for it
        await recording.wait_for(lambda pcm: measure_level(pcm[-3200:]) > -40, 5)
        server.kill()
        await server.restart()

Nothing of the machine's own sound is touched: a server has its sockets, settings and home in the folder, knows no
hardware, and what is started here is killed by its id at the end, and dies with this process if that is killed.
The speaker is called ``spk`` (48 kHz stereo), the microphone ``mic`` (mono); both are the defaults. The microphone
gives zeros while nobody speaks, as a quiet room does. Servers are started, killed and restarted from the main thread.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import trio
from attrs import define, field

from convaid.audio import AudioFormat, Converter, WavReader

RATE = 16_000  # of what is spoken and of what is recorded: mono s16le
BLOCK = 0.01  # seconds spoken at once
STARTING_LIMIT = 10.0  # seconds a server may take to come; it takes 0.1 to 1
ASKING_LIMIT = 2.0  # seconds until a server that does not answer is asked anew
PIPE_SIZE = 4096  # bytes of speech that can be waiting for a server, 128 ms: what is more is lost
WAITING_LIMIT = 10.0  # seconds a test waits for a sound unless it says otherwise

ALSA = """
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.card { type pulse hint { show on description "What stands in for a card" } }
"""
COMMON = {"parec": "pulseaudio-utils", "pacat": "pulseaudio-utils", "pactl": "pulseaudio-utils"}
STEP = 0.02  # seconds: the grain in which `find_sounds` looks
LOUD = -40.0  # dBFS: speech and tones are above, silence is far below

PULSE = COMMON | {"pulseaudio": "pulseaudio"}
PIPEWIRE = COMMON | {
    "pipewire": "pipewire-bin",
    "pw-link": "pipewire-bin",
    "pipewire-pulse": "pipewire-pulse",
    "wireplumber": "wireplumber",
    "dbus-daemon": "dbus",
}


def find_missing(programs: Mapping[str, str]) -> str:
    """The command that installs what is missing of ``programs`` (program to Debian package), "" if nothing is."""
    missing = sorted({package for program, package in programs.items() if shutil.which(program) is None})
    return f"apt-get install --no-install-recommends {' '.join(missing)}" if missing else ""


def _need(programs: Mapping[str, str]) -> pytest.MarkDecorator:
    missing = find_missing(programs)
    return pytest.mark.skipif(bool(missing) and os.environ.get("CI") != "true", reason=f"no sound server: {missing}")


needs_pulse = _need(PULSE)
"""Skips where PulseAudio is not installed and says how it is; with CI=true the test runs, and fails."""
needs_pipewire = _need(PIPEWIRE)


@cache
def synthesise(words: str, voice: str = "en") -> bytes:
    """Words spoken by espeak-ng, as 16 kHz mono s16le; skips where that is not installed, and fails with CI=true."""
    if shutil.which("espeak-ng") is None and os.environ.get("CI") != "true":
        pytest.skip("espeak-ng is not installed: apt-get install espeak-ng")
    command = ["espeak-ng", "-v", voice, "--stdout", words]
    spoken = subprocess.run(command, capture_output=True, check=True, timeout=20).stdout
    with BytesIO(spoken) as file:
        reader = WavReader(file)
        converter = Converter(AudioFormat("pcm", reader.rate), AudioFormat("pcm", RATE))
        return converter.convert(reader.read(60 * reader.rate)) + converter.flush()


def find_sounds(pcm: bytes, pause: float = 0.4) -> list[tuple[float, float]]:
    """When something was heard in a recording, and for how long: seconds. What is within a ``pause`` is one sound.

    Only what is loud counts as heard: gaps that a busy machine makes do not.
    """
    size = round(STEP * RATE)
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")[: len(pcm) // 2 // size * size].astype(np.float32)
    power = np.square(samples.reshape(-1, size)).mean(axis=1)
    sounds: list[tuple[float, float]] = []
    last = -math.inf
    for number in np.flatnonzero(power > (32768 * 10 ** (LOUD / 20)) ** 2).tolist():
        now = round(number * STEP, 3)
        begin, seconds = sounds.pop() if now - last < pause else (now, 0.0)
        sounds.append((begin, round(seconds + STEP, 3)))
        last = now
    return sounds


@define
class Recording:
    """What the speaker has played since `SoundServer.listen`: 16 kHz mono s16le.

    ``blocks`` are (`time.monotonic` of arrival, samples), silence included; nothing while the server is dead. A block
    arrives 10 to 40 ms after it has left the speaker.
    """

    _heard: list[tuple[float, bytes]]
    _start: int

    @property
    def blocks(self) -> list[tuple[float, bytes]]:
        return self._heard[self._start :]

    @property
    def pcm(self) -> bytes:
        return b"".join(block for _, block in self.blocks)

    async def wait_for(self, is_enough: Callable[[bytes], bool], limit: float = WAITING_LIMIT) -> bytes:
        """What has been recorded as soon as it ``is_enough``; fails after ``limit`` seconds."""
        deadline = time.monotonic() + limit
        while not is_enough(pcm := self.pcm):
            assert time.monotonic() < deadline, f"not heard within {limit:g} s; {len(pcm) / 2 / RATE:.1f} s recorded"
            await trio.sleep(0.02)
        return pcm


@define(eq=False)
class SoundServer(ABC):
    """One private sound server, its microphone and its speaker; `open_pulse` and `open_pipewire` make them."""

    folder: Path
    _running: list[subprocess.Popen[bytes]] = field(factory=list, init=False)
    _listener: threading.Thread | None = field(default=None, init=False)
    _heard: list[tuple[float, bytes]] = field(factory=list, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)  # over the two below, which a thread reads
    _said: bytearray = field(factory=bytearray, init=False)
    _microphone: int | None = field(default=None, init=False)  # a pipe that takes what is spoken
    _is_over: threading.Event = field(factory=threading.Event, init=False)

    @property
    def env(self) -> dict[str, str]:
        """For `os.environ` or a child: PulseAudio's, PipeWire's and ALSA's programs then know this server alone."""
        run = self.folder / "run"
        return {
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_RUNTIME_DIR": str(run),
            "PIPEWIRE_RUNTIME_DIR": str(run),
            "PULSE_RUNTIME_PATH": str(run / "pulse"),
            "PULSE_SERVER": f"unix:{run}/pulse/native",
            "PULSE_COOKIE": str(self.folder / "cookie"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={run}/bus",
            "JACK_NO_START_SERVER": "1",
        }

    # ---- the microphone

    def say(self, pcm: bytes) -> None:
        """Have ``pcm`` spoken into the microphone, in real time, after what is being spoken; does not wait for it."""
        with self._lock:
            self._said += pcm

    async def speak(self, pcm: bytes) -> None:
        """Speak ``pcm`` into the microphone; returns when its last sample has been spoken."""
        self.say(pcm)
        while self.is_speaking:
            await trio.sleep(BLOCK)

    def hush(self) -> None:
        """Forget what is not yet spoken."""
        with self._lock:
            self._said.clear()

    @property
    def is_speaking(self) -> bool:
        return bool(self._said)

    def _keep_speaking(self) -> None:
        """A thread: give the microphone a block each 10 ms, of speech or of zeros. What is late follows at once."""
        size = round(RATE * BLOCK) * 2
        due, lag = time.monotonic(), 0.0
        while not self._is_over.is_set():
            lag += max(0.0, time.monotonic() - due - 2 * BLOCK)
            with self._lock:
                block = bytes(self._said[:size])
                del self._said[:size]
                if not block and lag > BLOCK and self._keeps_lag:
                    lag -= BLOCK  # the server had run dry: zeros are left out, or all that follows would be late
                elif self._microphone is not None:
                    with suppress(BlockingIOError, BrokenPipeError):  # it stalls or is being killed: a lost block
                        os.write(self._microphone, block.ljust(size, b"\0"))
            due += BLOCK
            time.sleep(max(0.0, due - time.monotonic()))

    _keeps_lag = False  # whether what comes late stays in a buffer, in front of all that follows

    # ---- the speaker

    def listen(self) -> Recording:
        """A recording of what the speaker plays from now on; it goes on after a `restart`."""
        return Recording(self._heard, len(self._heard))

    def _keep_listening(self, ear: int) -> None:
        """A thread: note what the speaker plays until its server dies. An open monitor keeps its latency low, too."""
        while block := os.read(ear, 4096):
            self._heard.append((time.monotonic(), block))
        os.close(ear)

    # ---- living and dying

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """While inside, the server stands still, as one that hangs; what is said meanwhile is lost."""
        for process in self._running:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in self._running:
                process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the server, as a crash would: nobody is told, and its sockets stay where they are."""
        with self._lock:
            if self._microphone is not None:
                os.close(self._microphone)
                self._microphone = None
        for process in reversed(self._running):
            process.kill()
        for process in self._running:
            process.wait()
        self._running.clear()
        if self._listener is not None:
            self._listener.join()
            self._listener = None

    async def restart(self) -> None:
        """Start the server again, killing it first if it lives; returns when it serves."""
        self.kill()
        self._start_server()
        await trio.to_thread.run_sync(self._wait_until_serving)
        self._open_ends()

    def _start(self, *command: str, stdin: int | None = None, stdout: int | None = None) -> None:
        """Start a program of the server's, which writes what it has to say into a file of its name."""
        dying = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
        with Path(self.folder, f"{command[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [*dying, *command],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "XDG_STATE_HOME": str(self.folder / "state")}
                | self.env,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the tests, which end these themselves
            )
        self._running.append(process)

    def _ask(self, *command: str) -> str:
        """What a program prints about the server; "" if it fails, or gets no answer."""
        try:
            done = subprocess.run(
                command, env=os.environ | self.env, capture_output=True, text=True, timeout=ASKING_LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    @abstractmethod
    def _start_server(self) -> None: ...

    def _is_serving(self) -> bool:
        answer = self._ask("pactl", "info")
        return "Default Sink: spk\n" in answer and "Default Source: mic\n" in answer

    def _wait_until_serving(self) -> None:
        deadline = time.monotonic() + STARTING_LIMIT
        while not self._is_serving():
            logs = "\n".join(f"{log.name}: {log.read_text()}" for log in self.folder.glob("*.log"))
            assert time.monotonic() < deadline, f"the sound server does not come:\n{logs}"
            time.sleep(0.02)

    def _open_ends(self) -> None:
        """Open the pipes of what is spoken and of what is heard, and wait until the latter flows.

        The microphone is always read by somebody: what is spoken would gather in its pipe, seconds of it.
        """
        ear, pipe = os.pipe()
        form = (f"--rate={RATE}", "--channels=1", "--format=s16le", "--latency-msec=10")
        self._start("parec", "--device=spk.monitor", *form, "--client-name=ear-of-the-tests", stdout=pipe)
        os.close(pipe)
        self._start("parec", "--device=mic", *form, "--client-name=keeper-of-the-tests", stdout=subprocess.DEVNULL)
        self._listener = threading.Thread(target=self._keep_listening, args=(ear,), name="ear", daemon=True)
        self._listener.start()
        microphone = self._open_microphone()
        os.set_blocking(microphone, False)
        with self._lock:
            self._microphone = microphone
        heard, deadline = len(self._heard), time.monotonic() + STARTING_LIMIT
        while len(self._heard) < heard + 3:
            assert time.monotonic() < deadline, "nothing is heard at the speaker"
            time.sleep(0.01)

    @abstractmethod
    def _open_microphone(self) -> int: ...


# Without `norewinds` the speaker renders two seconds ahead until somebody asks for less, and takes up that wish late.
PULSE_SETTINGS = """
load-module module-native-protocol-unix auth-anonymous=1 socket={folder}/run/pulse/native
load-module module-null-sink sink_name=spk rate=48000 channels=2 norewinds=1
load-module module-pipe-source source_name=mic file={folder}/mic.fifo format=s16le rate=16000 channels=1
set-default-sink spk
set-default-source mic
"""


class PulseAudio(SoundServer):
    """A pipe is its microphone: samples arrive as they were spoken, bit by bit."""

    def _start_server(self) -> None:
        settings = self.folder / "pulse.pa"
        settings.write_text(PULSE_SETTINGS.format(folder=self.folder))
        for left_over in ("mic.fifo", "run/pulse/native"):  # a crash leaves them, and what was spoken into the pipe
            (self.folder / left_over).unlink(missing_ok=True)
        self._start(
            *("pulseaudio", "-n", "-F", str(settings), "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            *("--disable-shm=yes", "--realtime=no", "--high-priority=no", "--log-target=stderr"),
        )

    def _open_microphone(self) -> int:
        pipe = os.open(self.folder / "mic.fifo", os.O_WRONLY | os.O_NONBLOCK)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return pipe


PIPEWIRE_DEVICES = """
  { factory = adapter args = { factory.name = support.null-audio-sink node.name = spk node.description = Speaker
      media.class = Audio/Sink audio.position = [ FL FR ] priority.session = 2000 object.linger = true } }
  { factory = adapter args = { factory.name = support.null-audio-sink node.name = room node.description = Room
      media.class = Audio/Sink audio.position = [ MONO ] priority.session = 10 object.linger = true } }
  { factory = adapter args = { factory.name = support.null-audio-sink node.name = mic node.description = Microphone
      media.class = Audio/Source/Virtual audio.position = [ MONO ] priority.session = 2000 object.linger = true } }
"""
"""Objects of a PipeWire's context; the first input of ``mic`` is to be linked to the monitor of ``room``."""

PIPEWIRE_SETTINGS = """
context.properties = {
  core.daemon = true core.name = pipewire-0 link.max-buffers = 16 default.clock.min-quantum = 512
}
context.spa-libs = {
  audio.convert.* = audioconvert/libspa-audioconvert
  support.* = support/libspa-support
}
context.modules = [
  { name = libpipewire-module-protocol-native }
  { name = libpipewire-module-metadata }
  { name = libpipewire-module-spa-node-factory }
  { name = libpipewire-module-client-node }
  { name = libpipewire-module-client-device }
  { name = libpipewire-module-access }
  { name = libpipewire-module-adapter }
  { name = libpipewire-module-link-factory }
  { name = libpipewire-module-session-manager }
]
context.objects = [
  { factory = spa-node-factory args = {
      factory.name = support.node.driver node.name = Dummy-Driver node.group = pipewire.dummy
      priority.driver = 20000 } }
DEVICES
]
"""

BUS_SETTINGS = """
<busconfig>
  <type>session</type>
  <listen>unix:path={folder}/run/bus</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class PipeWire(SoundServer):
    """With WirePlumber, which needs a D-Bus, and pipewire-pulse. What is spoken is played into a sink, the room,
    that the microphone is linked to; it arrives there some 50 ms later."""

    _keeps_lag = True

    def _start_server(self) -> None:
        # WirePlumber is to find no hardware: the first three files are for versions up to 0.4, the last from 0.5 on.
        off = {
            "config/wireplumber/main.lua.d/60-no-hardware.lua": "\n".join(
                f"{kind}_monitor.enabled = false" for kind in ("alsa", "v4l2", "libcamera")
            ),
            "config/wireplumber/bluetooth.lua.d/60-no-hardware.lua": "bluez_monitor.enabled = false\n",
            "config/wireplumber/wireplumber.conf.d/60-no-hardware.conf": (
                "wireplumber.profiles = { main = { hardware.audio = disabled hardware.bluetooth = disabled "
                "hardware.video-capture = disabled } }\n"
            ),
            "bus.conf": BUS_SETTINGS.format(folder=self.folder),
            "pipewire.conf": PIPEWIRE_SETTINGS.replace("DEVICES", PIPEWIRE_DEVICES.strip("\n")),
        }
        for name, text in off.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        for left_over in ("bus", "pipewire-0", "pipewire-0.lock", "pulse/native"):
            (self.folder / "run" / left_over).unlink(missing_ok=True)
        self._start("dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork", "--nopidfile")
        self._await_socket("bus")
        self._start("pipewire", "-c", str(self.folder / "pipewire.conf"))
        self._await_socket("pipewire-0")
        self._start("wireplumber")
        self._start("pipewire-pulse")

    def _await_socket(self, name: str) -> None:
        deadline = time.monotonic() + STARTING_LIMIT
        while not (self.folder / "run" / name).is_socket():
            assert time.monotonic() < deadline, f"no socket {name} comes"
            time.sleep(0.005)

    def _is_serving(self) -> bool:
        if not super()._is_serving():
            return False
        if "mic:input_MONO" not in self._ask("pw-link", "--links"):
            self._ask("pw-link", "room:monitor_MONO", "mic:input_MONO")
        return "room:monitor_MONO" in self._ask("pw-link", "--links")

    def _open_microphone(self) -> int:
        taking, pipe = os.pipe()
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        form = (f"--rate={RATE}", "--channels=1", "--format=s16le", "--latency-msec=20")
        self._start("pacat", "--device=room", *form, "--client-name=voice-of-the-tests", stdin=taking)
        os.close(taking)
        return pipe


@contextmanager
def _open(server: SoundServer) -> Iterator[SoundServer]:
    socket = server.env["PULSE_SERVER"].removeprefix("unix:")
    assert len(socket.encode()) < 108, f"too long for a socket, use a shorter --basetemp: {socket}"
    for folder in ("run", "run/pulse", "config"):
        (server.folder / folder).mkdir(mode=0o700, parents=True)
    (server.folder / ".asoundrc").write_text(ALSA)
    voice = threading.Thread(target=server._keep_speaking, name="voice", daemon=True)
    voice.start()
    try:
        server._start_server()
        server._wait_until_serving()
        server._open_ends()
        yield server
    finally:
        server._is_over.set()
        voice.join()
        server.kill()


def open_pulse(folder: Path) -> AbstractContextManager[SoundServer]:
    """A PulseAudio of its own that lives in ``folder``; killed on leaving."""
    return _open(PulseAudio(folder))


def open_pipewire(folder: Path) -> AbstractContextManager[SoundServer]:
    """A PipeWire of its own that lives in ``folder``, with WirePlumber and pipewire-pulse; killed on leaving."""
    return _open(PipeWire(folder))
