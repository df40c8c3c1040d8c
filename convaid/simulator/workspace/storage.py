"""A workspace's file: JSON, written whole and only after a change, safe for several processes at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import orjson
from attrs import frozen

from convaid.errors import ConfigurationError, Problem
from convaid.files import check_regular
from convaid.protocol.bodies import is_deeper
from convaid.simulator.workspace.agent_shapes import check_agent
from convaid.simulator.workspace.checks import DEEPEST, Faults, Place, fields, mapping, number, required
from convaid.simulator.workspace.stored import Content, StoredAgent, StoredTool
from convaid.simulator.workspace.tool_shapes import check_tool_request

__all__ = ["WorkspaceFile"]

VERSION = 1
FORMAT = "convaid_simulator"  # the key that marks the file, with the version as its value


@frozen
class WorkspaceFile:
    """Where a workspace is kept. A file that does not exist is an empty workspace."""

    path: Path

    def read(self) -> Content:
        """Read the file. Raises `ConfigurationError` with the place of what is wrong in it, `OSError` likewise."""
        try:
            check_regular(self.path)
            text = self.path.read_bytes()
        except FileNotFoundError:
            return Content()
        return parse_content(text, str(self.path))

    def write(self, content: Content) -> None:
        """Replace the file, all or nothing: a reader or a crash at any time finds the old one or the new one."""
        with NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.", delete=False) as file:
            try:
                file.write(orjson.dumps(write_content(content), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, self.path)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(file.name)
                raise

    @contextmanager
    def open_alone(self) -> Iterator[None]:
        """Keep other processes from changing the file in between. The folder is locked: the file itself is replaced."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # for as long as a read and a write take
            yield
        finally:
            os.close(folder)

    def find_version(self) -> object:
        """Something that is another one when the file has been replaced; None where there is no file."""
        with suppress(FileNotFoundError):
            status = self.path.stat()
            return status.st_ino, status.st_mtime_ns, status.st_size
        return None


def write_content(content: Content) -> dict[str, Any]:
    """What stands in the file."""
    tools = {
        tool.id: {
            "created_at": tool.created_at,
            "tool_config": tool.config,
            "response_mocks": tool.response_mocks,
        }
        for tool in content.tools.values()
    }
    agents = {
        agent.id: {"created_at": agent.created_at, "updated_at": agent.updated_at, "settings": agent.settings}
        for agent in content.agents.values()
    }
    return {FORMAT: VERSION, "tools": tools, "agents": agents}


def check_stored_tool(value: Any, place: Place, faults: Faults) -> Any:
    made = fields({"created_at": required(number)})(value, place, faults)
    request = check_tool_request(value, place, faults)
    return made | request if isinstance(made, dict) and isinstance(request, dict) else value


CONTENT = fields(
    {
        "tools": required(mapping(check_stored_tool)),
        "agents": required(
            mapping(
                fields(
                    {"created_at": required(number), "updated_at": required(number), "settings": required(check_agent)}
                )
            )
        ),
    }
)


def parse_content(text: bytes, source: str) -> Content:
    """Read a file's text; `ConfigurationError` with everything that is wrong in it."""
    try:
        table = orjson.loads(text)
    except ValueError as error:
        raise ConfigurationError(source, [Problem("", f"is not JSON: {error}; mend it, or remove it")]) from None
    if not isinstance(table, Mapping) or table.get(FORMAT) != VERSION:
        words = f"is not a file of the simulator's (it has no {FORMAT} = {VERSION}); name another one"
        raise ConfigurationError(source, [Problem("", words)])
    if is_deeper(table, DEEPEST + 4):  # the file wraps what came as a body
        raise ConfigurationError(source, [Problem("", "is nested too deeply")])
    faults: Faults = []
    table = CONTENT(table, (), faults)
    if faults:
        problems = [Problem(".".join(map(str, fault.place)), fault.message) for fault in faults]
        raise ConfigurationError(source, problems)
    return Content(
        {
            tool_id: StoredTool(tool_id, tool["created_at"], tool["tool_config"], tool["response_mocks"])
            for tool_id, tool in table["tools"].items()
        },
        {agent_id: StoredAgent(agent_id, **agent) for agent_id, agent in table["agents"].items()},
    )
