"""The lines of a recording: how they are written, and read again. Pure, but for the file that is read.

Each is a JSON object, and says what it is by its one telling key: ``recording`` (the first line), ``frame``, ``text``,
``binary`` or ``left_out`` (what one side has sent), ``close``, ``lost`` and ``end`` (the last line).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import orjson
from attrs import field, frozen

from convaid.errors import ConfigurationError, Problem, StructureError
from convaid.files import read_file
from convaid.structuring import structure
from convaid.wording import describe_value

__all__ = [
    "VERSION",
    "CloseLine",
    "EndLine",
    "FrameLine",
    "Header",
    "Line",
    "LostLine",
    "Recording",
    "parse_recording",
    "read_recording",
    "write_line",
]

VERSION = 1  # of the format; another one is refused
FACTORY: Any = attrs.Factory  # a class, though not for mypy
MOST_PROBLEMS = 20  # that a message names


def check_time(_: object, field: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError("must be 0 or more: seconds since the session began")


def check_count(_: object, field: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError("must be 0 or more")


def check_version(_: object, field: attrs.Attribute[Any], value: int) -> None:
    if value != VERSION:
        raise ValueError(f"is version {value} of the format, and this convaid reads version {VERSION}")


@frozen
class Header:
    """The first line. ``began`` is the time of day, ``redacted`` says in words what is not in the file."""

    recording: int = field(validator=check_version)
    convaid: str = ""
    conversation: str = ""
    agent_id: str = ""
    began: str = ""
    redacted: list[str] = field(factory=list)


@frozen
class FrameLine:
    """What one side has sent; ``at`` is in seconds since the session began.

    ``frame`` is a JSON object, ``text`` another text, ``binary`` base64; ``left_out`` is the length of a frame that is
    too long to be kept.
    """

    at: float = field(validator=check_time)
    by: Literal["agent", "us"]
    frame: dict[str, Any] | None = None
    text: str | None = None
    binary: str | None = None
    left_out: int | None = field(default=None, validator=check_count)

    def __attrs_post_init__(self) -> None:
        contents = (self.frame, self.text, self.binary, self.left_out)
        if sum(content is not None for content in contents) != 1:
            raise ValueError("a line has one of frame, text, binary, left_out, close, lost and end")

    @property
    def kind(self) -> str:
        """The type of the frame; empty for what has none."""
        kind = (self.frame or {}).get("type", "")
        return kind if isinstance(kind, str) else ""


@frozen
class CloseLine:
    """The other side has closed the connection with this code; 1006 where it was lost."""

    at: float = field(validator=check_time)
    by: Literal["agent"]
    close: int
    reason: str = ""


@frozen
class LostLine:
    """So many frames are not in the recording, because they came faster than they could be written."""

    at: float = field(validator=check_time)
    lost: int = field(validator=check_count)


@frozen
class EndLine:
    """How the session ended: the fields of `convaid.protocol.endings.SessionEnd`, and what was noted on the way."""

    at: float = field(validator=check_time)
    end: str
    code: int | None = None
    detail: str = ""
    error_type: str | None = None
    losses: dict[str, int] = field(factory=dict)


Line = FrameLine | CloseLine | LostLine | EndLine

SHAPES: Mapping[str, type[Line]] = {"close": CloseLine, "lost": LostLine, "end": EndLine}
"""By the key that tells; all others are frames."""


@frozen
class Recording:
    """A recording as it was read. ``lines`` are by their numbers in the file, the header is not among them."""

    source: str
    header: Header
    lines: Mapping[int, Line]
    texts: tuple[str, ...]
    """The file's lines as they stand there; the first has the number 1. One that was cut off is not among them."""
    is_cut: bool = False
    """The last line was not complete: whoever wrote it had no time to."""

    @property
    def end(self) -> EndLine | None:
        """How the session ended; None where nobody had the time to write it."""
        return next((line for line in self.lines.values() if isinstance(line, EndLine)), None)

    @property
    def close(self) -> CloseLine | None:
        """How the other side ended it, if it did."""
        return next((line for line in self.lines.values() if isinstance(line, CloseLine)), None)


def write_line(line: Header | Line) -> bytes:
    """Return a line as it stands in the file; what says nothing is left out."""
    told = {}
    for attribute in attrs.fields(type(line)):
        value, default = getattr(line, attribute.name), attribute.default
        if value != (default.factory() if isinstance(default, FACTORY) else default):
            told[attribute.name] = value
    return orjson.dumps(told) + b"\n"


def read_recording(path: Path) -> Recording:
    """Read a recording. Raises ConfigurationError, which names each wrong line by its number."""
    return parse_recording(read_file(path), str(path))


def parse_recording(content: bytes, source: str) -> Recording:
    """Read a recording from bytes; ``source`` is what a ConfigurationError calls them."""
    *complete, rest = content.split(b"\n")
    if not complete and not rest.strip():
        raise ConfigurationError(source, [Problem("", "is empty; `record = true` or `convaid chat --record` fill one")])
    is_cut = bool(rest.strip())
    if is_cut and is_json(rest):  # an editor has left out the last line's end
        complete, is_cut = [*complete, rest], False
    reader = Reader()
    header: Header | None = None
    lines: dict[int, Line] = {}
    for number, text in enumerate(complete, 1):
        if header is None and number == 1:
            header = reader.read(text, number, {"recording": Header}, None)
        elif text.strip() and (line := reader.read(text, number, SHAPES, FrameLine)) is not None:
            lines[number] = line
    problems = [*reader.problems, *find_disorder(lines)]
    if not complete:
        problems = [Problem("line 1", "is cut off: there is nothing to be read")]
    if problems or header is None:
        raise ConfigurationError(source, problems[:MOST_PROBLEMS])
    return Recording(source, header, lines, tuple(text.decode() for text in complete), is_cut)


def find_disorder(lines: Mapping[int, Line]) -> Iterator[Problem]:
    """Find lines after the end."""
    end = next((number for number, line in lines.items() if isinstance(line, EndLine)), None)
    if end is not None and (late := next((number for number in lines if number > end), None)):
        yield Problem(f"line {late}", f"stands behind the end, which is line {end}")


def is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


class Reader:
    """Reads lines, and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, text: bytes, number: int, shapes: Mapping[str, Any], other: Any) -> Any:
        """Read a line in the shape whose key it has; None where that cannot be."""
        place = f"line {number}"
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self.problems.append(Problem(place, f"is not JSON: {error}"))
            return None
        if not isinstance(value, dict):
            self.problems.append(Problem(place, f"expected a table (object), got {describe_value(value)}"))
            return None
        shape = next((shape for key, shape in shapes.items() if key in value), other)
        if shape is None:
            self.problems.append(Problem(place, 'is not the first line of a recording, which begins {"recording":1'))
            return None
        try:
            return structure(value, shape, place)
        except StructureError as error:
            self.problems += error.problems
            return None
