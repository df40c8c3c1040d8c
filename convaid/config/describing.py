"""The configuration as it is in effect, written out for a person or a script, with secrets masked (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, time
from typing import Any

from convaid.config.model import Configuration

__all__ = ["describe_configuration", "write_key", "write_value"]


def describe_configuration(configuration: Configuration) -> str:
    """Return TOML text with every setting, defaults included; a setting without a value is left out.

    It can be read back, and means the same where nothing had to be masked.
    """
    return "\n".join(_write_table(configuration.masked(), "")).strip() + "\n"


def _write_table(table: dict[str, Any], path: str) -> Iterator[str]:
    inner = {name: value for name, value in table.items() if isinstance(value, dict)}
    settings = {name: value for name, value in table.items() if name not in inner}
    if path and (settings or not inner):
        yield f"\n[{path}]"
    for name, value in settings.items():
        yield f"{write_key(name)} = {write_value(value)}"
    for name, value in inner.items():
        yield from _write_table(value, f"{path}.{write_key(name)}" if path else write_key(name))


def write_key(name: str) -> str:
    """Return a name as TOML has it, quoted where it must be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else write_value(name)


def write_value(value: Any) -> str:
    """Return a value as TOML has it, on one line; TOML has no null."""
    match value:
        case bool():
            written = str(value).lower()
        case int() | float():
            written = repr(value)
        case date() | time():
            written = value.isoformat()
        case list() | tuple():
            written = f"[{', '.join(map(write_value, value))}]"
        case {} if not value:
            written = "{}"
        case dict():
            written = f"{{ {', '.join(f'{write_key(key)} = {write_value(inner)}' for key, inner in value.items())} }}"
        case _:  # JSON escapes as TOML does, but for one character
            written = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return written
