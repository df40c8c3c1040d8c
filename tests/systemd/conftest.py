"""One box for all tests of a process, with convaid in it as a user would have it: in an environment under /opt."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from compileall import compile_dir
from pathlib import Path

import pytest

from .box import Box, find_obstacle, open_box
from .services import Service

ROOT = Path(__file__).parents[2]
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = Path(pytest.__file__).parents[1]

PLUGIN = '''
import ctypes, os, signal, time
from typing import Annotated

import trio
from convaid import hookimpl, tool
from convaid.session.session import Session

@tool(time_limit=60)
def linger(seconds: Annotated[float, "how long"]) -> str:
    """Take some time."""
    time.sleep(seconds)
    return "lingered"

@tool
def freeze() -> str:
    """Keep Python's lock, as a bad C extension does: everything stands still."""
    os.write(2, b"freezing\\n")
    ctypes.PyDLL(None).sleep(1000)
    return ""

async def receive_once(session):
    session._reading.attach()
    await session.link.receive()
    session._reading.beat()
    await trio.sleep_forever()

@tool
def deafen() -> str:
    """Have the readers of all sessions that begin from now on hang."""
    Session.receive_events = receive_once
    return "deaf"

@tool
def crash() -> str:
    """Crash as C code does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(1)
    return ""

@tool(runs="process")
def measure(size: Annotated[int, "bytes"]) -> int:
    """Use some memory, in a process with limits."""
    return len(bytearray(size))

@hookimpl
def convaid_tools():
    return [linger, freeze, deafen, crash, measure]
'''


def find_binds() -> Mapping[str | Path, str]:
    """This project, the packages that the tests run with, and their Python, at places that a service can see."""
    binds: dict[str | Path, str] = {ROOT: "/opt/source", PACKAGES: "/opt/convaid/packages"}
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        binds[sys.base_prefix] = "/opt/python"
    return binds


def make_environment(box: Box) -> None:
    """Make /opt/convaid an environment of Python's, as `python3 -m venv` does, with convaid and a plugin in it."""
    base = Path(sys.base_prefix if Path(sys.base_prefix).is_relative_to("/usr") else "/opt/python", "bin")
    site = f"/opt/convaid/lib/{VERSION}/site-packages"
    paths = ["/opt/source", *(f"/opt/source/plugins/{plugin.name}" for plugin in (ROOT / "plugins").iterdir())]
    box.write("/opt/convaid/pyvenv.cfg", f"home = {base}\ninclude-system-site-packages = false\n")
    box.write(f"{site}/convaid.pth", "\n".join([*paths, "/opt/convaid/packages"]) + "\n")
    box.write(f"{site}/convaid_troubled.py", PLUGIN)
    metadata = f"{site}/convaid_troubled-1.dist-info"
    box.write(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: convaid-troubled\nVersion: 1\n")
    box.write(f"{metadata}/entry_points.txt", "[convaid]\ntroubled = convaid_troubled\n")
    box.run(f"mkdir -p /opt/convaid/bin; ln -s {base}/{VERSION} /opt/convaid/bin/python")
    if base == Path("/opt/python/bin"):  # its library is looked for where it was built, which a service may not see
        box.write("/etc/ld.so.conf.d/0.conf", "/opt/python/lib\n")
        box.run("ldconfig")
    script = "#!/opt/convaid/bin/python -P\nfrom convaid.cli import main\nmain()\n"
    box.write("/opt/convaid/bin/convaid", script, 0o755)


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """A booted box, with convaid installed and the template of its units."""
    if obstacle := find_obstacle():
        assert "CI" not in os.environ, obstacle
        pytest.skip(obstacle)
    compile_dir(ROOT / "convaid", quiet=1)  # inside, nobody can: each start would compile everything
    with open_box(find_binds()) as box:
        make_environment(box)
        box.run("/opt/convaid/bin/convaid service install --instance first")
        yield box


@pytest.fixture
def service(box: Box, request: pytest.FixtureRequest) -> Iterator[Service]:
    """An instance of its own for each test, not yet started; it is stopped at the end."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**8}"
    service = Service(box, name)
    service.configure()
    yield service
    box.call("systemctl", "kill", "--signal=KILL", service.unit)
    box.call("systemctl", "stop", service.unit)
