"""Reading and writing the files of others, and ours that others may have touched."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import orjson

from convaid.errors import ConfigurationError, Problem
from convaid.protocol.bodies import DEEPEST, is_deeper

__all__ = ["check_regular", "is_tool_config", "read_file", "read_json_file", "write_file"]


def check_regular(path: Path) -> None:
    """Raise OSError for a pipe, say: opening it would wait for whoever writes into it, whatever signals come."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def read_file(path: Path) -> bytes:
    """Return what a file holds. Raises `ConfigurationError`, also for what is no regular file."""
    try:
        check_regular(path)
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(str(path), [Problem("", f"cannot be read: {error.strerror}")]) from None


def read_json_file(path: Path) -> Any:
    """Return what a JSON file holds. Raises `ConfigurationError`."""
    try:
        value = orjson.loads(read_file(path))
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(str(path), [Problem("", f"is not JSON: {error}")]) from None
    if is_deeper(value, DEEPEST):
        raise ConfigurationError(str(path), [Problem("", "is nested too deeply")])
    return value


def is_tool_config(value: object) -> bool:
    """Whether a value is a tool's configuration, as far as it must be one to be of use."""
    return isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("type"), str)


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a text file, whole or not at all. Raises OSError, which names the file."""
    try:
        _replace_file(path, text, mode)
    except OSError as error:  # of another file, which nobody has heard of
        raise OSError(error.errno, error.strerror, str(path)) from None


def _replace_file(path: Path, text: str, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
