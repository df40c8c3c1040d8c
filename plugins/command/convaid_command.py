"""Tools that run a program, written in the configuration: never a shell, and killed with its whole group in time."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import trio
from attrs import define, field

from convaid import Range, Tool, ToolContext, ToolError, hookimpl
from convaid.plugins.tables import ToolTable, declare_tools
from convaid.plugins.templates import Blank, Template, TemplateReader
from convaid.wording import escape_controls, join_path

logger = logging.getLogger(__name__)

SHELLS = {"ash", "bash", "busybox", "dash", "fish", "ksh", "sh", "zsh"}
ALWAYS_PASSED = ("PATH", "HOME", "LANG")  # variables without which hardly anything runs
STOP_GRACE = 1.0  # seconds between SIGTERM and SIGKILL: a room of convaid's closes within 3
REAP_LIMIT = 1.0  # seconds for the kernel to end a killed program; longer only if it hangs in the kernel itself
LAST_WORDS = 0.3  # seconds for output to arrive after the program's end: others may hold the pipe for ever
CHUNK = 65536  # bytes of a read
ERROR_KEPT = 4000  # bytes of stderr that are kept: its end
ERROR_TOLD = 500  # characters of it that the agent gets


@define(kw_only=True, eq=False)
class CommandTool(ToolTable):
    """``[plugins.command.tools.NAME]``"""

    program: str
    """A whole path, or a name that is looked for in PATH when the daemon starts."""
    arguments: list[str | list[str]] = field(factory=list)
    """Each text becomes one argument. One that needs an argument that was left out is left out; a list, as a whole."""
    may_begin_with_dash: bool = False
    """Whether a value may be taken for an option. After an argument ``--`` it may anyway."""
    stdin: str = ""
    environment: list[str] = field(factory=list)
    """The daemon's variables that the program gets, beside PATH, HOME and LANG."""
    folder: Path = Path("/")
    output: Literal["text", "json"] = "text"
    output_size: Annotated[int, Range(1)] = 100_000
    """The most bytes of its output; the rest is read and forgotten."""
    ok: list[int] = field(factory=lambda: [0])
    """The exit statuses that say that it went well."""
    time_limit: Annotated[float, Range(0.1)] = 15.0
    """Seconds for a call."""

    path: str = field(init=False, repr=False, default="")
    groups: list[list[Template]] = field(init=False, repr=False)
    input: Template = field(init=False, repr=False)

    def read_templates(self, reader: TemplateReader) -> None:
        self.path = shutil.which(os.path.expanduser(self.program)) or ""
        if not os.path.isabs(self.path):  # a relative one would depend on where convaid is started
            reader.complain("program", f'"{self.program}" is no program that can be run: give its whole path')
        self.groups = []
        for index, entry in enumerate(self.arguments):
            path = join_path("arguments", index)
            if isinstance(entry, str):
                self.groups.append([reader.read(entry, path)])
            else:
                self.groups.append([reader.read(text, join_path(path, step)) for step, text in enumerate(entry)])
        self._keep_out_of_scripts(reader)
        self.input = reader.read(self.stdin, "stdin")
        self.folder = self.folder.expanduser()
        if not self.folder.is_absolute() or not self.folder.is_dir():
            reader.complain("folder", f"{self.folder} is no folder: give its whole path")

    def _keep_out_of_scripts(self, reader: TemplateReader) -> None:
        """A shell may be the program, or be started by it: ``env``, ``sudo`` and ``ssh`` do that."""
        templates = [template for group in self.groups for template in group if template.parts != ("--",)]
        words = [self.path, *("".join(map(str, template.parts)) for template in templates)]
        if not any(Path(word).name in SHELLS for word in words):
            return
        for option, script in pairwise(templates):
            if re.fullmatch(r"-\w*c\w*", "".join(map(str, option.parts))) and script.names:
                message = (
                    f"{{{script.names[0]}}} in a shell's script could be any command: add it after the script, as $1"
                )
                reader.complain("arguments", message)

    def fill_arguments(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return what the program is called with. Raises ToolError for what cannot be an argument."""
        filled: list[str] = []
        may_begin_with_dash = self.may_begin_with_dash
        for group in self.groups:
            texts = [template.fill(arguments) for template in group]
            if None in texts:
                continue
            for template, text in zip(group, texts, strict=True):
                assert text is not None
                if "\0" in text:
                    raise ToolError(f"{_name(template)}: a null character cannot stand here.")
                if text.startswith("-") and isinstance(template.parts[0], Blank) and not may_begin_with_dash:
                    raise ToolError(f'{_name(template)}: what begins with "-" would be taken for an option.')
                may_begin_with_dash = may_begin_with_dash or text == "--"
                filled.append(text)
        return filled

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        command = [text.encode() for text in (self.path, *self.fill_arguments(arguments))]
        ran = Running(self.output_size)
        try:
            status = await ran.run(
                command,
                (self.input.fill(arguments) or "").encode(),
                env={name: os.environ[name] for name in (*ALWAYS_PASSED, *self.environment) if name in os.environ},
                cwd=self.folder,
            )
        except OSError as error:
            context.log.error("%s cannot be started in %s: %s", self.path, self.folder, error.strerror)
            raise ToolError(f"{Path(self.path).name} cannot be started: {error.strerror}.") from None
        context.log.debug("%s ended with status %d", self.path, status)
        if status not in self.ok:
            ending = f"ended with status {status}" if status >= 0 else f"was ended by {_name_signal(-status)}"
            words = ran.find_last_words()
            raise ToolError(f"{Path(self.path).name} {ending}{': ' if words else '.'}{words}")
        return self._read_output(ran)

    def _read_output(self, ran: Running) -> Any:
        text = bytes(ran.output).decode("utf-8", "replace")
        if self.output == "json":
            try:
                return orjson.loads(text)
            except orjson.JSONDecodeError:
                cut = f": it is longer than {self.output_size} bytes" if ran.size > self.output_size else ""
                raise ToolError(f"{Path(self.path).name} ran, but its output is not JSON{cut}.") from None
        if ran.size > self.output_size:
            return f"{text}… [cut here; {ran.size} bytes in all]"
        return text.rstrip("\n") or None


@define(eq=False)
class Running:
    """One program while it runs, in a session and process group of its own."""

    output_size: int
    output: bytearray = field(factory=bytearray, init=False)
    size: int = field(default=0, init=False)
    """Bytes of output in all."""
    errors: bytearray = field(factory=bytearray, init=False)
    """The end of what it wrote to stderr."""

    async def run(self, command: list[bytes], stdin: bytes, *, env: Mapping[str, str], cwd: Path) -> int:
        """Run the program to its end and return its exit status; -N for signal N. Raises OSError if it cannot start.

        When cancelled, it ends the whole process group, with SIGTERM and then SIGKILL, before it returns. A program
        that ends by itself may leave others behind; they are not waited for.
        """
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
        try:
            return await self._attend(process, stdin)
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)

    async def _attend(self, process: trio.Process, stdin: bytes) -> int:
        assert process.stdout is not None
        assert process.stderr is not None
        async with trio.open_nursery() as feeding, process.stdout, process.stderr:
            if process.stdin is not None:
                feeding.start_soon(_feed, process.stdin, stdin)
            async with trio.open_nursery() as reading:
                reading.start_soon(self._keep_beginning, process.stdout)
                reading.start_soon(self._keep_end, process.stderr)
                await process.wait()
                reading.cancel_scope.deadline = trio.current_time() + LAST_WORDS
            feeding.cancel_scope.cancel()
        assert process.returncode is not None
        return process.returncode

    async def _keep_beginning(self, stream: trio.abc.ReceiveStream) -> None:
        while part := await stream.receive_some(CHUNK):
            self.output += part[: max(0, self.output_size - len(self.output))]
            self.size += len(part)

    async def _keep_end(self, stream: trio.abc.ReceiveStream) -> None:
        while part := await stream.receive_some(CHUNK):
            self.errors += part
            del self.errors[:-ERROR_KEPT]

    def find_last_words(self) -> str:
        """Return the end of what it wrote to stderr, on one line."""
        words = " ".join(bytes(self.errors).decode("utf-8", "replace").split())
        return escape_controls(words if len(words) <= ERROR_TOLD else f"…{words[-ERROR_TOLD:]}")


async def _feed(stream: trio.abc.SendStream, text: bytes) -> None:
    try:
        async with stream:
            await stream.send_all(text)
    except trio.BrokenResourceError:
        return  # it does not want to read all of it


async def _end(process: trio.Process) -> None:
    """End a process group whose leader still runs, and reap the leader."""
    for number, patience in ((signal.SIGTERM, STOP_GRACE), (signal.SIGKILL, REAP_LIMIT)):
        if process.returncode is not None:
            return
        _signal_group(process.pid, number)
        with trio.move_on_after(patience):
            await process.wait()
            _signal_group(process.pid, signal.SIGKILL)  # whoever of the group outlives it
            return
    logger.error("the process %d does not end, not even by SIGKILL", process.pid)


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return


def _name(template: Template) -> str:
    return ", ".join(template.names)


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"the signal {number}"


@define
class CommandSettings:
    """``[plugins.command]``"""

    tools: dict[str, CommandTool] = field(factory=dict)
    declared: list[Tool] = field(init=False, factory=list, repr=False)

    def __attrs_post_init__(self) -> None:
        self.declared = declare_tools(self.tools)


@hookimpl
def convaid_settings() -> type:
    return CommandSettings


@hookimpl
def convaid_tools(settings: CommandSettings) -> list[Tool]:
    return settings.declared
