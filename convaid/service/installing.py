"""Installing the units and removing them: files, the group, and what systemd is to be told (floor 6)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import convaid
from convaid.errors import ConvaidError
from convaid.service.units import GROUP, MARK, Installation

__all__ = ["InstallError", "find_obstacles", "install", "list_instances", "uninstall"]

HIDDEN = ("/root", "/home", "/run/user", "/tmp", "/var/tmp")
"""Folders that the system's unit does not see: ProtectHome= and PrivateTmp=."""
SYSTEMD_LIMIT = 60.0  # seconds for a command of systemd's
ENVIRONMENT = "python3 -m venv /opt/convaid && /opt/convaid/bin/pip install convaid"
REMEDY = f"make an environment that it can reach: {ENVIRONMENT}; then /opt/convaid/bin/convaid service install"


class InstallError(ConvaidError):
    """The units cannot be installed, or removed, as things are; the message has the remedy."""


def install(installation: Installation) -> Iterator[str]:
    """Write the files, make the group, and let systemd know; yields what was done, a line each.

    Raises `InstallError` before it has written anything, or where a command of systemd's fails.
    """
    _require_rights(installation)
    if obstacles := [] if installation.is_users else find_obstacles(installation.python, Path(convaid.__file__)):
        raise InstallError(f"the unit could not run {installation.python}: {'; '.join(obstacles)}; {REMEDY}")
    files = installation.write_files()
    for path in files.keys() - {installation.configuration}:
        if path.exists() and not path.read_text().startswith(MARK):
            raise InstallError(f"{path} is there, and was not written by convaid; move it away")
    for path, text in files.items():
        if path == installation.configuration:
            continue
        path.parent.mkdir(0o755, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        yield f"wrote {path}"
    if not installation.is_users:
        _run("systemd-sysusers", str(installation.sysusers_file))
        yield f"the group {GROUP}: its members may control the daemon"
    if not installation.configuration.exists():
        _write_configuration(installation)
        yield f"wrote {installation.configuration}, which talks to the simulator"
    if _is_systemd_running():
        _run(*installation.systemctl, "daemon-reload")


def uninstall(installation: Installation) -> Iterator[str]:
    """Stop the service and remove what `install` has made; yields what was done. Raises `InstallError`.

    A configuration that has been changed stays, and so do state and keys. Units that others have written stay, too.
    """
    _require_rights(installation)
    unit = installation.unit_file
    if not unit.exists():
        raise InstallError(f"there is no {unit}, so nothing to remove")
    if not unit.read_text().startswith(MARK):
        raise InstallError(f"{unit} was not written by convaid; it stays")
    if _is_systemd_running():
        _run(*installation.systemctl, "disable", "--now", "--quiet", installation.unit)
        yield f"stopped {installation.unit}"
    if installation.configuration.exists() and installation.configuration.read_text() == installation.write_starter():
        yield _remove(installation.configuration)
    others = list_instances(installation) if installation.instance else []
    if others:
        yield f"{unit} stays: other instances are made from it ({', '.join(others)})"
        return
    yield _remove(unit)
    if not installation.is_users and not list(unit.parent.glob("convaid*.service")):
        yield _remove(installation.sysusers_file)
        _run("groupdel", GROUP)
        yield f"removed the group {GROUP}"
    if _is_systemd_running():
        _run(*installation.systemctl, "daemon-reload")


def list_instances(installation: Installation) -> list[str]:
    """Return the other instances of the template that run, have failed, or will begin with the machine."""
    command = (*installation.systemctl, "list-units", "--all", "--plain", "--no-legend", "convaid@*.service")
    loaded = (
        {line.split()[0] for line in _run(*command).splitlines() if line.strip()} if _is_systemd_running() else set()
    )
    enabled = {link.name for link in installation.units.glob("*.wants/convaid@*.service")}
    return sorted((loaded | enabled) - {installation.unit})


def find_obstacles(python: Path, package: Path) -> list[str]:
    """Return why the unit of the system could not run this Python with this package, if it could not."""
    places = {python, python.resolve(), package}
    places |= {Path(prefix) for prefix in (sys.prefix, sys.base_prefix) if python == Path(sys.executable)}
    obstacles = []
    for place in sorted(places):
        if not place.exists():
            obstacles.append(f"{place} is not there")
        elif hidden := next((folder for folder in HIDDEN if place.is_relative_to(folder)), None):
            obstacles.append(f"{place} is under {hidden}, which the unit does not see")
        elif closed := next((str(each) for each in reversed(place.parents) if not each.stat().st_mode & 0o001), None):
            obstacles.append(f"{closed}, in which {place} is, is closed to other users (chmod o+x {closed})")
    return obstacles


def _require_rights(installation: Installation) -> None:
    if shutil.which("systemctl") is None:
        raise InstallError("there is no systemctl here: convaid is started by whatever starts services on this machine")
    if not installation.is_users and os.geteuid() != 0:
        words = "units of the system are root's: "
        raise InstallError(f"{words}sudo {installation.python} -m convaid service …, or --user for a unit of your own")


def _write_configuration(installation: Installation) -> None:
    path = installation.configuration
    path.parent.mkdir(0o755, parents=True, exist_ok=True)
    path.touch(0o640)
    path.write_text(installation.write_starter())
    if not installation.is_users:  # the daemon reads it as a member of the group; others need not
        shutil.chown(path, group=GROUP)


def _remove(path: Path) -> str:
    path.unlink(missing_ok=True)
    return f"removed {path}"


def _is_systemd_running() -> bool:
    return Path("/run/systemd/system").exists()


def _run(*command: str) -> str:
    """Run a command to its end and return its output; `InstallError` with what it says where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMD_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{command[0]} cannot be run: {error}") from None
    if done.returncode:
        raise InstallError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
