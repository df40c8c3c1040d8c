"""What there is to see of an installed service, and what stands in its way: one finding a line, each with one fix."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

import convaid
from convaid.errors import ConfigurationError
from convaid.service.installing import find_obstacles
from convaid.service.units import GROUP, MARK, Installation

__all__ = ["ServiceFinding", "find_service_findings"]

ASK_LIMIT = 10.0  # seconds for systemctl to answer
SOUND = Path("/dev/snd")
BAD_CONFIGURATION = "78"
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainStatus",
    "NRestarts",
    "StatusText",
    "UnitFileState",
    "NeedDaemonReload",
    "ActiveEnterTimestamp",
)


@frozen
class ServiceFinding:
    """One thing that is so; ``fix`` is the command or the change that mends it, "" where nothing is wrong."""

    text: str
    fix: str = ""
    is_grave: bool = False
    """Whether the service cannot do its work like this."""

    def __str__(self) -> str:
        return f"{self.text} -> {self.fix}" if self.fix else self.text


def find_service_findings(installation: Installation) -> list[ServiceFinding]:
    """Look at everything, from the unit to the sound card. Starts `systemctl` and waits for it; changes nothing."""
    return [
        *find_about_files(installation),
        *find_about_unit(installation),
        *(find_about_linger(_find_user()) if installation.is_users else find_about_key(installation)),
        *find_about_socket(installation),
        *find_about_sound(installation),
    ]


def find_about_files(installation: Installation) -> Iterator[ServiceFinding]:
    """The unit's file, the Python that it names, the configuration."""
    again = _write_install_command(installation)
    unit = installation.unit_file
    if not unit.exists():
        yield ServiceFinding(f"{unit} is not there: no service is installed", again)
        return
    text = unit.read_text()
    if not text.startswith(MARK):
        yield ServiceFinding(f"{unit} was not written by convaid; what follows may not fit it")
    elif text != installation.write_unit():
        yield ServiceFinding(f"{unit} is not as this convaid would write it", again)
    else:
        yield ServiceFinding(f"{unit} is as this convaid writes it; it runs {installation.python}")
    if not installation.is_users:
        for obstacle in find_obstacles(installation.python, Path(convaid.__file__)):
            yield ServiceFinding(f"the unit cannot run this Python: {obstacle}", "install convaid under /opt", True)
    yield find_about_configuration(installation)


def find_about_configuration(installation: Installation) -> ServiceFinding:
    """Whether there is one, whether the daemon may read it, and whether it can be used."""
    from convaid.config import load_configuration

    path = installation.configuration
    if not path.exists():
        return ServiceFinding(f"there is no {path}", _write_install_command(installation), True)
    status = path.stat()
    may_group_read = status.st_mode & stat.S_IRGRP and _name_group(status.st_gid) == GROUP
    if not (installation.is_users or status.st_mode & stat.S_IROTH or may_group_read):
        remedy = f"sudo chgrp {GROUP} {path}; sudo chmod g+r {path}"
        return ServiceFinding(f"the daemon may not read {path}", remedy, True)
    try:
        count = len(load_configuration(path).conversations)
    except ConfigurationError as error:
        first = str(error.problems[0])
        return ServiceFinding(f"{path} cannot be used: {first}", f"convaid check -c {path}", True)
    return ServiceFinding(f"{path} is in order, conversations: {count}")


def find_about_unit(installation: Installation) -> Iterator[ServiceFinding]:
    """What systemd says of it."""
    unit, systemctl = installation.unit, " ".join(installation.systemctl)
    shown = _ask(*installation.systemctl, "show", unit, "-p", ",".join(PROPERTIES))
    seen = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if not seen:
        remedy = f"export XDG_RUNTIME_DIR=/run/user/{os.geteuid()}" if installation.is_users else "boot with systemd"
        yield ServiceFinding(f"systemd does not answer (`{systemctl} show {unit}`)", remedy)
        return
    logs = f"journalctl {'--user ' if installation.is_users else ''}-u {unit} -n 50"
    if seen["LoadState"] != "loaded":
        return
    if seen["NeedDaemonReload"] == "yes":
        yield ServiceFinding(f"{unit} has changed since systemd read it", f"{systemctl} daemon-reload")
    state = f"{unit} is {seen['ActiveState']} ({seen['SubState']})"
    match seen["ActiveState"], seen["Result"]:
        case (("active" | "reloading"), _):
            yield ServiceFinding(f"{state} since {seen['ActiveEnterTimestamp']}: {seen['StatusText']}")
        case "failed", "exit-code" if seen["ExecMainStatus"] == BAD_CONFIGURATION:
            yield ServiceFinding(f"{state}: its configuration cannot be used", f"{logs} says why", True)
        case "failed", result:  # it would have been started again
            words = f"it failed again and again ({result}), and is not started any more"
            yield ServiceFinding(f"{state}: {words}", f"{logs}; {systemctl} reset-failed {unit}", True)
        case "activating", _:
            yield ServiceFinding(f"{state}: it is about to start", f"{logs} says what it waits for")
        case _:
            yield ServiceFinding(state, f"{systemctl} start {unit}")
    if seen["NRestarts"] not in ("", "0"):
        yield ServiceFinding(f"systemd has started it again {seen['NRestarts']} times", f"{logs} says why")
    if seen["UnitFileState"] in ("enabled", "enabled-runtime"):
        yield ServiceFinding(f"{unit} begins with {'your session' if installation.is_users else 'the machine'}")
    else:
        yield ServiceFinding(f"{unit} does not begin by itself", f"{systemctl} enable {unit}")


def find_about_linger(user: str) -> Iterator[ServiceFinding]:
    """Whether a user's services live without a session."""
    if Path("/var/lib/systemd/linger", user).exists():
        yield ServiceFinding(f"{user}'s services run from boot on, without a session (linger)")
    else:
        words = f"{user}'s services end with the last session, and do not run before the first (no linger)"
        yield ServiceFinding(words, f"loginctl enable-linger {user}")


def find_about_key(installation: Installation) -> Iterator[ServiceFinding]:
    """The credential that systemd hands over."""
    path = installation.credential
    remedy = f"sudo install -D -m 600 FILE_WITH_THE_KEY {path}"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        yield ServiceFinding(
            f"no API key in {path}: good for the simulator and public agents ({remedy} puts one there)"
        )
    except PermissionError:
        yield ServiceFinding(f"whether there is an API key in {path}, root alone can see")
    else:
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield ServiceFinding(f"the API key in {path} is open to others", f"sudo chmod 600 {path}")
        else:
            yield ServiceFinding(f"the API key is in {path}, for root alone")


def find_about_socket(installation: Installation) -> Iterator[ServiceFinding]:
    """The control socket, and whether whoever asks may use it."""
    user = _find_user()
    folder = (
        Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")) if installation.is_users else Path("/run")
    )
    path = folder / installation.name / "control.sock"
    try:
        status = path.stat()
    except FileNotFoundError:
        yield ServiceFinding(f"there is no control socket at {path}: no daemon runs, or its configuration has another")
    except PermissionError:
        members = f"sudo usermod -aG {GROUP} {user}"
        yield ServiceFinding(f"{user} may not reach the control socket in {path.parent}", f"{members}, and log in anew")
    else:
        owner = f"{_name_user(status.st_uid)}:{_name_group(status.st_gid)}"
        text = f"the control socket {path} is {owner}'s, {stat.filemode(status.st_mode)[1:]}"
        may_write = os.access(path, os.W_OK)
        yield ServiceFinding(text, "" if may_write else f'mode = "0660" in [control] of {installation.configuration}')


def find_about_sound(installation: Installation) -> Iterator[ServiceFinding]:
    """The sound card, and who may use it."""
    if not SOUND.exists():
        yield ServiceFinding("there is no sound card here (/dev/snd): conversations are in text, or by a sound server")
        return
    if not installation.is_users:
        known = any(group.gr_name == "audio" for group in grp.getgrall())
        fix = "" if known else "sudo groupadd --system audio"
        yield ServiceFinding("the daemon may use the sound card, by the group audio", fix)
        return
    user = _find_user()
    devices = sorted(SOUND.glob("pcm*"))
    may_use = all(os.access(device, os.R_OK | os.W_OK) for device in devices)
    words = "may use the sound card" if may_use else "may not use the sound card: not in the group audio"
    yield ServiceFinding(f"{user} {words}", "" if may_use else f"sudo usermod -aG audio {user}, and log in anew")


def _write_install_command(installation: Installation) -> str:
    options = (" --user" if installation.is_users else "") + (
        f" --instance {installation.instance}" if installation.instance else ""
    )
    return f"{'' if installation.is_users else 'sudo '}{shutil.which('convaid') or 'convaid'} service install{options}"


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _find_user() -> str:
    return _name_user(os.geteuid())


def _name_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _name_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
