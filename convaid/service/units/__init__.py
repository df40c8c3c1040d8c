"""The units, and their places: the texts beside this file, filled in (no process is started here)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from attrs import field, frozen

from convaid.errors import ConfigurationError, Problem

__all__ = ["GROUP", "MARK", "Installation"]

GROUP = "convaid"
"""Whose members may control the daemon of the system."""
MARK = "# Written by `convaid service install"
"""The beginning of every file that is ours to write anew or to remove."""
INSTANCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,22}")  # with "convaid-" before it, it is a user's name of 31 characters
PLAIN = re.compile(r"[\w./+@-]+")  # a path that stands in a unit as it is

STARTER = """\
# The configuration of the service. As it stands it talks to the bundled simulator: no account, network or microphone.
# `convaid check -c @CONFIG@` says all that is wrong in it, and prints every setting with its value.

# To reach your own agent, name the region, and the agent, and who may talk to it; the key is not kept in here.
[platform]
base_url = "simulator" # "global", "us", "eu", "in", "sg"

[conversations.main]
agent_id = "agent_demo"
auth = "public" # "signed_url" for a private agent

[control]
mode = "@MODE@" # who may control the daemon: @WHO@
"""
SYSUSERS = f"""\
{MARK}`.
g {GROUP} - -
"""


@frozen
class Installation:
    """One service: of the system or of a user, alone or as one of several instances. Names paths; touches none."""

    is_users: bool = False
    instance: str = field(default="")
    home: Path = field(factory=Path.home)
    python: Path = field(factory=lambda: Path(sys.executable))
    root: Path = Path("/")
    """Where the file system begins."""

    @instance.validator
    def _check_instance(self, _: object, value: str) -> None:
        if value and not INSTANCE.fullmatch(value):
            words = "is a name of a-z, 0-9, _ and -, at most 23 characters: a user is named after it"
            raise ConfigurationError("the command line", [Problem("--instance", words)])

    @property
    def name(self) -> str:
        """Of its folders in /run and /var/lib, and of its credential."""
        return f"convaid-{self.instance}" if self.instance else "convaid"

    @property
    def unit(self) -> str:
        """The unit that is started."""
        return f"convaid@{self.instance}.service" if self.instance else "convaid.service"

    @property
    def unit_file(self) -> Path:
        """The file that the unit is made from; all instances share one."""
        return self.units / ("convaid@.service" if self.instance else "convaid.service")

    @property
    def units(self) -> Path:
        """The folder of units."""
        return self.home / ".config/systemd/user" if self.is_users else self.root / "etc/systemd/system"

    @property
    def folder(self) -> Path:
        """The folder of configurations."""
        return self.home / ".config/convaid" if self.is_users else self.root / "etc/convaid"

    @property
    def configuration(self) -> Path:
        """The file that the daemon reads."""
        return self.folder / f"{self.instance or 'config'}.toml"

    @property
    def credential(self) -> Path:
        """The file where the API key is looked for."""
        return self.root / f"etc/credstore/{self.name}.elevenlabs_api_key"

    @property
    def sysusers_file(self) -> Path:
        """The file by which systemd makes the group."""
        return self.root / "etc/sysusers.d/convaid.conf"

    @property
    def systemctl(self) -> tuple[str, ...]:
        """The command that reaches its systemd."""
        return ("systemctl", "--user") if self.is_users else ("systemctl",)

    def write_files(self) -> dict[Path, str]:
        """Return what is to be written, by path; the configuration only where there is none."""
        files = {self.unit_file: self.write_unit()}
        if not self.is_users:
            files[self.sysusers_file] = SYSUSERS
        return files | {self.configuration: self.write_starter()}

    def write_unit(self) -> str:
        """Return the text of the unit."""
        text = Path(__file__).with_name(f"{'user' if self.is_users else 'system'}.service.template").read_text()
        folder = "%E/convaid" if self.is_users else "/etc/convaid"
        which = "%i" if self.instance else ""
        return _fill(
            text,
            UNIT=self.unit_file.name,
            OF_INSTANCE=f" ({which})" if which else "",
            NAME=f"convaid-{which}" if which else "convaid",
            USER=f"convaid-{which}" if which else "convaidd",  # a user may not be called as a group is
            CONFIG=f"{folder}/{which or 'config'}.toml",
            ENVIRONMENT=f"{folder}/{which}.environment" if which else f"{folder}/environment",
            PYTHON=_quote(self.python),
            EXEC_PATHS=" ".join(map(_quote, self.list_exec_paths())),
        )

    def write_starter(self) -> str:
        """Return a configuration to begin with."""
        mode, who = ("0600", "you") if self.is_users else ("0660", f"root and the group {GROUP}")
        return _fill(STARTER, CONFIG=str(self.configuration), MODE=mode, WHO=who)

    def list_exec_paths(self) -> list[Path]:
        """Return the folders from which the daemon runs programs and loads libraries."""
        paths = [Path("/usr")]
        for place in (self.python.parent.parent, self.python.resolve().parent.parent):
            if not any(place.is_relative_to(known) for known in paths):
                paths.append(place)
        return paths


def _fill(text: str, **values: str) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)


def _quote(path: Path) -> str:
    """Return a path as it stands in a unit."""
    text = str(path).replace("%", "%%")
    if PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
