"""Which tools of the platform are ours to change: those that we created, or were told to adopt.

The platform does not say which program made a tool, and a name proves nothing: another program may have a tool of the
same name in the same workspace. So the ids are kept here, in a file beside the configuration (``config.tools.json``
for ``config.toml``), by the platform's address. It holds no secrets; keep it with the configuration, also in version
control.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, frozen

from convaid.errors import ConfigurationError, Problem
from convaid.files import read_json_file, write_file

__all__ = ["PushRecord", "RecordedTool", "find_record_path", "load_record", "open_record"]

VERSION = 1
ABOUT = "The tools that `convaid tools push` has created on the platform, or was told to adopt; it changes no others."


@frozen
class RecordedTool:
    """A tool that is ours to change."""

    id: str
    """"" from before its creation until the platform has told it."""
    origin: Literal["created", "adopted"]


@define
class PushRecord:
    """The tools of one workspace that are ours to change, by name. Changes reach the file with `save`."""

    path: Path
    tools: dict[str, RecordedTool] = field(factory=dict)
    _workspace: str = ""
    _others: dict[str, Any] = field(factory=dict)

    @property
    def ids(self) -> dict[str, str]:
        """The platform's ids of the tools, as far as it has told them, by name."""
        return {name: tool.id for name, tool in self.tools.items() if tool.id}

    def save(self) -> None:
        """Write the file. Raises `ConfigurationError`."""
        own = {name: {"id": tool.id, "origin": tool.origin} for name, tool in sorted(self.tools.items())}
        workspaces = {**self._others, self._workspace: own}
        content = {"version": VERSION, "about": ABOUT, "workspaces": workspaces}
        try:
            write_file(self.path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            message = f"cannot be written: {error.strerror}; push remembers in this file which tools are its own"
            raise ConfigurationError(str(self.path), [Problem("", message)]) from None


@contextmanager
def open_record(configuration: Path, workspace: str) -> Iterator[PushRecord]:
    """Read the record that belongs to a configuration file, which no other push can do until this is left.

    Raises `ConfigurationError` where another one is at it, and as `load_record`.
    """
    with configuration.open("rb") as file:  # not the record: that is replaced with every change
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "another `convaid tools push` is under way; try again when it is done"
            raise ConfigurationError(str(configuration), [Problem("", message)]) from None
        yield load_record(find_record_path(configuration), workspace)


def find_record_path(configuration: Path) -> Path:
    """Return where the record of a configuration file is."""
    return configuration.with_name(f"{configuration.stem}.tools.json")


def load_record(path: Path, workspace: str) -> PushRecord:
    """Read the record for a workspace, by the platform's address; an empty one where there is no file.

    Raises `ConfigurationError` for a file that is something else.
    """
    if not path.exists():
        return PushRecord(path, workspace=workspace)
    content = read_json_file(path)
    try:
        if content["version"] != VERSION:
            raise ValueError(f"is of the version {content['version']}; this convaid knows {VERSION}")
        tools = {
            str(name): RecordedTool(str(entry["id"]), "created" if entry["origin"] == "created" else "adopted")
            for name, entry in content["workspaces"].get(workspace, {}).items()
        }
        ids = [tool.id for tool in tools.values() if tool.id]
        if len(ids) != len({*ids}):  # --prune would delete what is still offered, under its other name
            raise ValueError("has one id under two names; remove the wrong one")
    except (KeyError, TypeError, AttributeError):
        message = (
            "is not a record of `convaid tools push`; put it back, or remove it and adopt the tools anew (--adopt)"
        )
        raise ConfigurationError(str(path), [Problem("", message)]) from None
    except ValueError as error:
        raise ConfigurationError(str(path), [Problem("", str(error))]) from None
    others = {name: entries for name, entries in content["workspaces"].items() if name != workspace}
    return PushRecord(path, tools, workspace, others)
