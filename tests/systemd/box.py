"""A box with a real systemd in it, booted in half a second: process 1 of its own namespaces, over the machine's files.

What is written inside goes to memory, and all of it is gone with the box, also where its owner is killed. It sees the
machine's network. It needs root, overlayfs and control groups of version 2; the steps are in ``box.sh``.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

__all__ = ["Box", "find_obstacle", "open_box"]

T = TypeVar("T")
BOOT_LIMIT = 40.0  # seconds; it takes 0.5
COMMAND_LIMIT = 200.0  # seconds for one command in the box; the limits of tests are shorter, but for what downloads
TOOLS = ("unshare", "nsenter", "setpriv", "systemctl", "awk")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def find_obstacle() -> str:
    """Why there can be no box here, and what to do about it; "" if there can."""
    if os.geteuid() != 0:
        return "a systemd of its own needs root: sudo -E pytest tests/systemd"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or not Path("/lib/systemd/systemd").exists():
        packages = "systemd dbus dbus-user-session libpam-systemd libnss-systemd util-linux mawk"
        return f"there is no {', '.join(missing) or 'systemd'}: apt-get install {packages}"
    known = Path("/proc/filesystems").read_text().split()
    lacking = {"overlay", "cgroup2"} - set(known)
    return f"this kernel has no {' and no '.join(sorted(lacking))}: run it on another machine" if lacking else ""


@frozen
class Box:
    """A running box. ``first`` is its process 1, as this machine numbers it."""

    first: int

    def path(self, place: str) -> Path:
        """A file of the box, for this process."""
        return Path(f"/proc/{self.first}/root{place}")

    def write(self, place: str, text: str, mode: int = 0o644) -> None:
        """Write a file in the box, and its folders."""
        path = self.path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def call(
        self, *command: str, user: str = "", text: str = "", variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the box to its end."""
        entering = ["nsenter", f"--target={self.first}", "--mount", "--uts", "--ipc", "--pid", "--cgroup"]
        home = f"/home/{user}" if user else "/root"
        become = [*(["runuser", "-u", user, "--"] if user else []), "env", f"--chdir={home}"]
        return subprocess.run(
            [*entering, "--", *become, *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            env={**ENVIRONMENT, "HOME": home, **(variables or {})},
            check=False,
        )

    def run(self, command: str, *, user: str = "", variables: Mapping[str, str] | None = None) -> str:
        """Run a line of bash in the box; returns what it prints, and fails the test where it fails."""
        done = self.call("bash", "-euo", "pipefail", "-c", command, user=user, variables=variables)
        assert done.returncode == 0, f"{command}\n-> {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run(f"systemctl show --property={shlex.quote(name)} --value {unit}").strip()

    def read_journal(self, *matches: str) -> list[dict[str, Any]]:
        """The entries of the journal that match, oldest first; options of journalctl's may be among them."""
        done = self.call("bash", "-c", f"journalctl --sync; journalctl -o json --no-pager {shlex.join(matches)}")
        assert done.returncode in (0, 1), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def read_messages(self, *matches: str) -> str:
        """What these entries say, a line each."""
        texts = [entry.get("MESSAGE") for entry in self.read_journal(*matches)]
        return "\n".join(bytes(text).decode() if isinstance(text, list) else text or "" for text in texts)

    def wait(self, look: Callable[[], T], within: float = 20.0, what: Callable[[], object] = lambda: "") -> T:
        """Look again and again until there is something to see; ``what`` tells more where there never is."""
        until = time.monotonic() + within
        while not (seen := look()):
            assert time.monotonic() < until, f"waited {within:g} s in vain: {what()}"
            time.sleep(0.05)
        return seen


@contextmanager
def open_box(binds: Mapping[str | Path, str], hidden: Sequence[str] = ()) -> Iterator[Box]:
    """Boot a box and yield it; all of it is gone at the end.

    ``binds`` shows files and folders of this machine inside, read-only: source and place. ``hidden`` are empty inside.
    """
    folder = Path(tempfile.mkdtemp(prefix="box-"))
    (folder / "space").mkdir()
    (folder / "binds").write_text("".join(f"{source} {target}\n" for source, target in binds.items()))
    (folder / "hidden").write_text("".join(f"{place}\n" for place in hidden))
    keeper = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", Path(__file__).with_name("box.sh"), "watch", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        is_told = select.select([keeper.stdout], [], [], BOOT_LIMIT)[0]
        first = keeper.stdout.readline().strip() if is_told else ""
        assert first, f"the box did not boot: {(folder / 'boot.log').read_text()}"
        box = Box(int(first))
        box.wait(lambda: is_up(box), BOOT_LIMIT, lambda: box.call("systemctl", "list-jobs").stdout)
        yield box
    finally:
        keeper.stdin.close()
        keeper.wait(20)
        keeper.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def is_up(box: Box) -> bool:
    """Whether the boot is over."""
    state = box.call("systemctl", "is-system-running").stdout.strip()
    return state in ("running", "degraded")
