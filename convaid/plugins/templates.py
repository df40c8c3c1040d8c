"""Texts in a configuration with the agent's arguments in them, ``"Table for {persons}"``, and with secrets (floor 4).

``{persons}`` stands for an argument, ``{{`` and ``}}`` for braces. Where secrets are allowed, ``${env:NAME}`` is an
environment variable and ``${file:PATH}`` a file; a relative PATH is one of systemd's credentials.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from convaid.config.secrets import Secret
from convaid.errors import Problem
from convaid.wording import describe_value, nearest

__all__ = ["Blank", "SecretReference", "Template", "TemplateReader", "write_text"]

TOKEN = re.compile(
    r"\$\{(?P<source>env|file):(?P<place>[^{}]*)\}|(?P<brace>\{\{|\}\})|\{(?P<name>[^{}]*)\}|(?P<stray>[{}])"
)


@frozen
class Blank:
    """The place of an argument in a template."""

    name: str


@frozen
class SecretReference:
    """Where a secret is: it is read when it is needed, as it may be there for the service only, and may change."""

    source: str
    place: str

    def __str__(self) -> str:
        return f"${{{self.source}:{self.place}}}"

    def read(self) -> Secret:
        """Raises ValueError, which says why there is none."""
        text = _read_variable(self.place) if self.source == "env" else _read_file(self.place)
        if not text:
            raise ValueError("there is nothing in it")
        if not text.isprintable():
            raise ValueError("there is more in it than one line of text")
        return Secret(text)


Part = str | Blank | SecretReference


@frozen
class Template:
    """A text with blanks and references to secrets."""

    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters whose arguments stand in it."""
        return tuple(part.name for part in self.parts if isinstance(part, Blank))

    @property
    def secrets(self) -> tuple[SecretReference, ...]:
        return tuple(part for part in self.parts if isinstance(part, SecretReference))

    @property
    def is_blank(self) -> bool:
        """Whether it is a single argument and nothing else."""
        return len(self.parts) == 1 and isinstance(self.parts[0], Blank)

    def fill(self, arguments: Mapping[str, Any], write: Callable[[Any], str] | None = None) -> str | None:
        """Return the text; None if an argument is left out or null. ``write`` makes text of one, else `write_text`.

        Raises ValueError for a secret that cannot be read.
        """
        if any(arguments.get(name) is None for name in self.names):
            return None
        return "".join(self._fill_parts(arguments, write or write_text))

    def _fill_parts(self, arguments: Mapping[str, Any], write: Callable[[Any], str]) -> Iterator[str]:
        for part in self.parts:
            match part:
                case Blank():
                    yield write(arguments[part.name])
                case SecretReference():
                    yield part.read().reveal()
                case _:
                    yield part


def write_text(value: Any) -> str:
    """Return an argument as it stands in a text: text as it is, anything else as JSON; always encodable as UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else json.dumps(value)


@define
class TemplateReader:
    """Reads the templates of one tool, and collects what is wrong with them and which parameters they use."""

    parameters: Collection[str]
    required: Collection[str]
    problems: list[Problem] = field(factory=list, init=False)
    used: set[str] = field(factory=set, init=False)

    def read(self, text: str, path: str, *, allows_secrets: bool = False) -> Template:
        """Return the template that a text is; ``path`` is where it stands."""
        parts: list[Part] = []
        end = 0
        for token in TOKEN.finditer(text):
            parts.append(text[end : token.start()])
            end = token.end()
            match token.lastgroup:
                case "brace":
                    parts.append(token[0][0])
                case "name":
                    parts.append(self._read_blank(token["name"], path))
                case "place" if allows_secrets:
                    parts.append(SecretReference(token["source"], token["place"]))
                case "place":
                    self.complain(path, f"has {token[0]}, and a secret cannot stand here")
                case _:
                    self.complain(path, f'has a brace of its own: write it twice, "{token[0] * 2}", to mean the brace')
        parts.append(text[end:])
        return Template(tuple(part for part in parts if part != ""))

    def complain(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def _read_blank(self, name: str, path: str) -> Blank:
        self.used.add(name)
        if name not in self.parameters:
            found = nearest(name, self.parameters)
            hint = f'did you mean "{{{found[0]}}}"?' if found else f"there are: {', '.join(self.parameters) or 'none'}"
            self.complain(path, f"names a parameter that the tool does not have, {describe_value(name)}; {hint}")
        return Blank(name)


def _read_variable(name: str) -> str:
    if name not in os.environ:
        raise ValueError(f"the environment variable {name} is not set")
    return os.environ[name].strip()


def _read_file(place: str) -> str:
    place = os.path.expanduser(place)
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not place.startswith("/") and not folder:
        raise ValueError("there is no $CREDENTIALS_DIRECTORY: write the whole path, or use systemd's LoadCredential=")
    file = Path(folder, place)
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text") from None
