"""The configuration as it is in effect, written out for a person or a script, with secrets masked (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date, time
from typing import Any

from convaid.config.model import Configuration

__all__ = ["describe_configuration"]


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
        yield f"{_write_key(name)} = {_write_value(value)}"
    for name, value in inner.items():
        yield from _write_table(value, f"{path}.{_write_key(name)}" if path else _write_key(name))


def _write_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _write_value(name)


def _write_value(value: Any) -> str:
    match value:
        case bool():
            written = str(value).lower()
        case int() | float():
            written = repr(value)
        case date() | time():
            written = value.isoformat()
        case list() | tuple():
            written = f"[{', '.join(map(_write_value, value))}]"
        case dict():
            written = f"{{ {', '.join(f'{_write_key(key)} = {_write_value(inner)}' for key, inner in value.items())} }}"
        case _:  # JSON escapes as TOML does, but for one character
            written = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return written
