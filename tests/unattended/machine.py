"""What an unattended daemon has around it, each a process of its own: the platform, a disk, a clock, a daemon."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field, frozen

from convaid.control.calling import DaemonAbsent, call_daemon

from ..cli.running import find_environment

__all__ = ["Clock", "Disk", "Platform", "Service", "find_obstacle", "find_port", "open_service"]

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
LIMIT = 20.0  # seconds for anything to be seen
COMMAND_LIMIT = 30.0  # seconds for a command to end
LOOK_INTERVAL = 0.05  # seconds between two looks
DISK_SIZE = 8 * 2**20  # bytes
ON_DISK = 'mount -t tmpfs -o "size=$1,mode=0700" state "$2" && shift 2 && exec "$@"'


@cache
def find_obstacle() -> str:
    """Why there can be no disk that fills up or no clock to be set here, and what to do about it; "" if there can."""
    if shutil.which("cc") is None:
        return "a clock to be set is compiled: apt-get install gcc libc6-dev"
    if shutil.which("unshare") is None:
        return "a disk of its own takes util-linux: apt-get install util-linux"
    mount = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "state", "/mnt"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return "a disk of its own needs root, and the right to mount: sudo -E pytest tests/unattended"
    return ""


def find_port() -> int:
    """A port that is free, and not handed out by the system of itself: the next outgoing connection might get it."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    start = 10_000 + os.getpid() % 7_000
    for port in range(start, first):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no port from {start} to {first} is free")


def run_python(folder: Path) -> tuple[list[str], Mapping[str, str]]:
    """How a command of convaid's begins, and its environment: this source, and the plugins of a folder."""
    return [sys.executable, "-u", "-m", "convaid"], find_environment(PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")


@define(eq=False)
class Platform:
    """A simulator as a process, on a port that stays the same."""

    folder: Path
    arguments: Sequence[str]
    port: int = field(factory=find_port)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def start(self) -> None:
        """Start it; it is not there yet."""
        command, environment = run_python(self.folder)
        with (self.folder / "simulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "simulate", "--port", str(self.port), *self.arguments],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
            )

    def wait_ready(self) -> None:
        """Wait until it can be talked to."""
        until = time.monotonic() + LIMIT
        while not self._answers():
            assert time.monotonic() < until, "the simulator does not answer"
            time.sleep(0.02)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def has_died(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None


@frozen
class Disk:
    """A file system in memory, which is gone with the process that has it."""

    process: int
    place: Path

    @property
    def _filler(self) -> Path:
        return Path(f"/proc/{self.process}/root{self.place}/filler")

    def fill(self) -> None:
        """Leave no room."""
        with self._filler.open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def clear(self) -> None:
        """Have room again."""
        self._filler.unlink()


class Clock:
    """The wall clock of a process that is to be started with ``variables``."""

    def __init__(self, folder: Path) -> None:
        self._lead, library = folder / "lead", folder / "wall_clock.so"
        self._lead.write_bytes(bytes(8))
        source = Path(__file__).with_name("wall_clock.c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True, timeout=COMMAND_LIMIT)
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_LEAD": str(self._lead)}

    def set(self, lead: int) -> None:
        """Have it be so many seconds ahead of the machine's."""
        with self._lead.open("r+b") as file:  # it is mapped: to cut it short would be felt
            file.write(lead.to_bytes(8, sys.byteorder, signed=True))


@define(eq=False)
class Service:
    """``convaid run`` as a process, seen through its control API."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    def convaid(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that asks it."""
        command, environment = run_python(self.folder)
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**environment, "CONVAID_SOCKET": str(self.socket)},
            timeout=COMMAND_LIMIT,
            check=False,
        )

    def start_convaid(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command that asks it; what it prints comes through ``stdout``."""
        command, environment = run_python(self.folder)
        return subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env={**environment, "CONVAID_SOCKET": str(self.socket)},
        )

    def show_status(self) -> Any:
        """What `convaid status --json` prints, and whether its exit code fits."""
        done = self.convaid("status", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == (0 if found["is_well"] else 1), done.stderr
        return found

    def ask(self, method: str, route: str, body: Any = None, time_limit: float = LIMIT) -> Any:
        """Make a request, more quickly than a command does."""
        return call_daemon(self.socket, method, route, body, time_limit=time_limit)

    def wait(self, look: Callable[[Any], T], within: float = LIMIT) -> T:
        """Look at the status again and again until there is something to see."""
        until, found = time.monotonic() + within, None
        while time.monotonic() < until:
            with suppress(DaemonAbsent):
                found = self.ask("GET", "/v1/status")
                if seen := look(found):
                    return seen
            assert self.process.poll() is None, f"the daemon has ended: {self.log[-4000:]}"
            time.sleep(LOOK_INTERVAL)
        raise AssertionError(f"waited {within:g} s in vain: {json.dumps(found, indent=1)}\n{self.log[-4000:]}")

    def end(self, within: float = LIMIT) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)


@contextmanager
def open_service(
    folder: Path, configuration: str, *, variables: Mapping[str, str] | None = None, has_disk: bool = False
) -> Iterator[Service]:
    """Start a daemon with its files in ``folder``, and kill it at the end if it is still there.

    Its state is in ``folder / "state"``, on a disk of its own if it ``has_disk``.
    """
    state = folder / "state"
    state.mkdir()
    others = "".join(f"[plugins.{point.name}]\nenabled = false\n" for point in entry_points(group="convaid"))
    (folder / "config.toml").write_text(f'{configuration}\n{others}[control]\npath = "control.sock"\n')
    command, environment = run_python(folder)
    command += ["run", "--config", "config.toml"]
    if has_disk:
        own = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ON_DISK, "sh"]
        command = [*own, str(DISK_SIZE), str(state), *command]
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**environment, **(variables or {}), "STATE_DIRECTORY": str(state)},
        )
    service = Service(folder, process)
    try:
        service.wait(lambda found: found["state"] == "ready")
        yield service
    finally:
        process.kill()
        process.wait()
