"""From a TOML file to a `Configuration`, or to all that is wrong with it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import attrs

from convaid.config.model import Configuration, ConversationConfig
from convaid.config.policy import ToolPolicy, ToolsConfig
from convaid.errors import ConfigurationError, Problem, StructureError
from convaid.structuring import describe_value, join_path, structure

__all__ = ["load_configuration", "parse_configuration", "read_tables"]

SYNTAX_REMEDIES = {
    "Invalid value": 'text stands in quotes, as in name = "value"; true, false and inf do not',
    "Expected '=' after a key": 'a line is name = value, or a table such as [log]; a name with a space is "quoted"',
    "Cannot overwrite a value": "this name is already set in this table; remove one of the two",
    "Cannot declare": "this table already exists; put both parts together",
    "Unclosed array": "a list ends with ]",
    "Unterminated string": "text ends with a quote",
    "Illegal character": "text ends with a quote on its own line",
    "Expected newline": "one setting stands on one line, and text in quotes",
}
"""The beginnings of tomllib's messages (which speak of the parser), and what a person can do about it."""


TOO_LONG = "has a whole number with thousands of digits in it; text stands in quotes"


def load_configuration(path: Path, *, needs_conversations: bool = True) -> Configuration:
    """Read and check a TOML file. Relative paths in it start at the file's folder; ``~`` is the user's home.

    Raises ConfigurationError with all problems at once. ``needs_conversations``: a file without any is one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        message = f"cannot be read: {error.strerror}; start from the config.toml that convaid ships with"
        raise ConfigurationError(str(path), [Problem("", message)]) from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), [Problem("", "is not UTF-8 text; save it as UTF-8")]) from None
    configuration = parse_configuration(text, str(path), needs_conversations=needs_conversations)
    return _settle_paths(configuration, path.absolute().parent)


def parse_configuration(text: str, source: str, *, needs_conversations: bool = True) -> Configuration:
    """Check TOML text; ``source`` names it in a ConfigurationError, which holds all problems at once."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(source, [_explain_syntax(str(error))]) from None
    except RecursionError:
        raise ConfigurationError(source, [Problem("", "is nested too deeply")]) from None
    except ValueError:  # of Python's: it reads no whole number of more than 4300 digits
        raise ConfigurationError(source, [Problem("", TOO_LONG)]) from None
    return read_tables(tables, source, needs_conversations=needs_conversations)


def read_tables(tables: dict[str, Any], source: str, *, needs_conversations: bool = True) -> Configuration:
    """Check a file's tables, as tomllib returns them; raises ConfigurationError as `parse_configuration` does."""
    problems: list[Problem] = []

    def read(value: object, shape: Any, path: str) -> Any:
        try:
            return structure(value, shape, path)
        except StructureError as error:
            problems.extend(error.problems)
            problems.extend(_find_hidden(value, shape, path, error.problems))
            return None

    # In TOML, the tables of single tools stand in the table of all tools.
    tools = tables.get("tools", {})
    tables = {name: table for name, table in tables.items() if name != "tools"}
    single = (
        {name: table for name, table in tools.items() if isinstance(table, dict)} if isinstance(tools, dict) else {}
    )
    common = {name: value for name, value in tools.items() if name not in single} if single else tools
    configuration: Configuration = read(tables, Configuration, "")
    all_tools: ToolsConfig = read(common, ToolsConfig, "tools")
    named = {name: read(table, ToolPolicy, join_path("tools", name)) for name, table in single.items()}
    if needs_conversations and tables.get("conversations", {}) == {}:
        problems.append(Problem("conversations", "is empty; add a table such as [conversations.main]"))
    problems.extend(_check_names(tables))
    if problems:
        raise ConfigurationError(source, problems)
    return attrs.evolve(configuration, tools=attrs.evolve(all_tools, named=named))


def _find_hidden(value: Any, shape: Any, path: str, known: Sequence[Problem]) -> list[Problem]:
    """Find the contradictions that wrong settings hide: what is still wrong when these settings are left out.

    One that speaks of a setting of its table which was left out says nothing: that setting stands there, if wrongly.
    """
    hidden: list[Problem] = []
    left_out: list[tuple[list[str], set[str]]] = []  # the table, and how the setting is called or meant
    value, found, seen = deepcopy(value), list(known), set(known)
    while found:
        for problem in found:
            keys = _split_path(problem.path.removeprefix(path).lstrip("."))
            if keys:
                left_out.append((keys[:-1], {keys[-1], *re.findall(r'did you mean "(\w+)"', problem.message)}))
            _leave_out(value, keys)
        try:
            structure(value, shape, path)
        except StructureError as error:
            found = [problem for problem in error.problems if problem not in seen]
            seen |= set(found)
            hidden += [problem for problem in found if not any(_speaks_of(problem, path, *each) for each in left_out)]
        else:
            found = []
    return hidden


def _leave_out(table: Any, keys: Sequence[str]) -> None:
    for key in keys[:-1]:
        table = table.get(key) if isinstance(table, dict) else None
    if keys and isinstance(table, dict):
        table.pop(keys[-1], None)


def _speaks_of(problem: Problem, path: str, table: Sequence[str], names: set[str]) -> bool:
    place = _split_path(problem.path.removeprefix(path).lstrip("."))
    words = re.findall(r"[\w-]+", f"{place[-1:]} {problem.message}")
    return place[: len(table)] == list(table) and not names.isdisjoint(words)


def _split_path(path: str) -> list[str]:
    """Take a path apart that `join_path` has made; what is in a list is as far as it goes."""
    return [
        bare or json.loads(quoted)
        for bare, quoted in re.findall(r'([\w-]+)|("(?:\\.|[^"\\])*")', path.split("[", maxsplit=1)[0])
    ]


def _check_names(tables: dict[str, Any]) -> Iterator[Problem]:
    """Check the tables whose names are free, and what the free tables have in common."""
    conversations, plugins = tables.get("conversations", {}), tables.get("plugins", {})
    if isinstance(conversations, dict):
        for name in conversations:
            if not re.fullmatch(r"[a-z0-9_-]+", name):
                yield Problem(
                    join_path("conversations", name), "has a name with more than a-z, 0-9, _ and -; rename it"
                )
    if isinstance(plugins, dict):
        for name, table in plugins.items():
            if isinstance(table, dict) and not isinstance(enabled := table.get("enabled", True), bool):
                yield Problem(
                    f"{join_path('plugins', name)}.enabled", f"expected true or false, got {describe_value(enabled)}"
                )


def _explain_syntax(message: str) -> Problem:
    place = re.search(r" \(at (line \d+, column \d+|end of document)\)$", message)
    fault = message[: place.start()] if place else message
    remedy = next((f": {remedy}" for start, remedy in SYNTAX_REMEDIES.items() if fault.startswith(start)), "")
    return Problem(place[1] if place else "", f"is not TOML ({fault[0].lower()}{fault[1:]}){remedy}")


def _settle_paths(configuration: Configuration, folder: Path) -> Configuration:
    def settle(path: Path | None) -> Path | None:
        return None if path is None else folder / os.path.expanduser(path)  # Path's own raises for "~nobody"

    def settle_conversation(conversation: ConversationConfig) -> ConversationConfig:
        chimes = {
            name: str(settle(Path(chime)))
            for name, chime in attrs.asdict(conversation.chimes).items()
            if chime not in ("none", "default")
        }
        conversation = attrs.evolve(conversation, chimes=attrs.evolve(conversation.chimes, **chimes))
        if (wav := conversation.wav) is None:
            return conversation
        wav = attrs.evolve(wav, microphone=settle(wav.microphone), speaker=settle(wav.speaker))
        return attrs.evolve(conversation, wav=wav)

    tools = configuration.tools
    tools = attrs.evolve(tools, snapshot=settle(tools.snapshot), journal=settle(tools.journal))
    platform = attrs.evolve(
        configuration.platform,
        api_key_file=settle(configuration.platform.api_key_file),
        simulator_file=settle(configuration.platform.simulator_file),
    )
    conversations = {name: settle_conversation(each) for name, each in configuration.conversations.items()}
    control = attrs.evolve(configuration.control, path=settle(configuration.control.path))
    signed_urls = attrs.evolve(configuration.signed_urls, secret_file=settle(configuration.signed_urls.secret_file))
    return attrs.evolve(
        configuration,
        platform=platform,
        conversations=conversations,
        tools=tools,
        control=control,
        signed_urls=signed_urls,
    )
