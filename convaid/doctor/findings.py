"""What `convaid doctor` has to say (pure)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs
from attrs import field, frozen

from convaid.config import mask_text

__all__ = ["LEVELS", "Finding", "Level", "error", "ok", "warning"]

Level: TypeAlias = Literal["ok", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "error")
"""From good to bad. A warning is something to know: conversations are held all the same."""


@frozen
class Finding:
    """One thing that is so; ``fix`` is what mends it, "" where nothing is wrong."""

    check: str
    """What was looked at, in a word or two: for scripts, too."""
    level: Level
    message: str = field(converter=mask_text)  # what others say may hold a secret
    fix: str = field(default="", converter=mask_text)
    conversation: str = ""
    """Which one it concerns, if one."""

    def __str__(self) -> str:
        text = f"{self.conversation}: {self.message}" if self.conversation else self.message
        return f"{text} -> {self.fix}" if self.fix else text

    def describe(self) -> dict[str, Any]:
        """Return the finding as scripts get it."""
        return attrs.asdict(self)


def ok(check: str, message: str, conversation: str = "") -> Finding:
    """Something that is as it should be."""
    return Finding(check, "ok", message, conversation=conversation)


def warning(check: str, message: str, fix: str, conversation: str = "") -> Finding:
    """Something to know."""
    return Finding(check, "warning", message, fix, conversation)


def error(check: str, message: str, fix: str, conversation: str = "") -> Finding:
    """Something that keeps conversations from being held as they are meant."""
    return Finding(check, "error", message, fix, conversation)
