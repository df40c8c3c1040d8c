"""The plugin's table in the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from attrs import define, field

from convaid import Range
from convaid.errors import Problem, StructureError
from convaid.patterns import find_pattern_problem
from convaid.wording import nearest
from convaid_pushtotalk.key_codes import KEY_CODES, LAST_KEY
from convaid_pushtotalk.modes import Mode

__all__ = ["Button", "PushToTalkSettings"]


@define(kw_only=True)
class Button:
    """One of ``[[plugins.pushtotalk.buttons]]``: a key, or a line of a GPIO chip."""

    conversation: str = ""
    """May be left out where there is only one."""
    mode: Mode = "hold"

    key: str | int | None = None
    """A name, or the kernel's number."""
    device: str = ""
    """A path, or a regular expression for the names of devices; "": each that has the key."""

    line: str | int | None = None
    """A name, or the chip's number."""
    chip: Path = Path("/dev/gpiochip0")
    is_active_low: bool = True
    """Whether the button connects the line with ground, and is held up otherwise."""
    debounce: Annotated[float, Range(0, 1)] = 0.01
    """Seconds that the line must be steady."""

    key_code: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        if problems := list(self._find_problems()):
            raise StructureError(problems)

    def __str__(self) -> str:
        return f"line {self.line}" if self.key is None else f"key {self.key}"

    def _find_problems(self) -> Iterator[Problem]:
        if (self.key is None) == (self.line is None):
            yield Problem("", 'is a key or a line: set one of them, as in key = "F13" or line = 17')
        if isinstance(self.key, int):
            self.key_code = self.key
        elif self.key is not None:
            self.key_code = KEY_CODES.get(self.key.lower(), 0)
        if self.key is not None and not 0 < self.key_code <= LAST_KEY:
            close = nearest(str(self.key).lower(), KEY_CODES)
            hint = f'did you mean "{close[0]}"?' if close else "give its number, which evtest shows"
            yield Problem("key", f'"{self.key}" is the name of no key that is known here; {hint}')
        if self.key is None and self.device:
            yield Problem("device", "goes with key; for a line it is chip")
        if problem := None if self.device.startswith("/") else find_pattern_problem(self.device):
            yield Problem("device", problem)


@define
class PushToTalkSettings:
    """``[plugins.pushtotalk]``"""

    buttons: list[Button] = field(factory=list)
