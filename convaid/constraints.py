"""What a type alone cannot say of a value: its range, its length, its pattern (floor 1, pure).

They stand in ``Annotated``, beside the description: ``Annotated[int, "how loud", Range(0, 100)]``. `structure` holds
values against them, wherever it is used: tool arguments, plugins' settings. The platform has no words for them, so an
agent reads them in the description. None, where a type allows it, passes all of them.
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Any, ClassVar, get_args, get_origin

from attrs import field, frozen

from convaid.errors import ToolDefinitionError
from convaid.patterns import PatternTimeout, find_pattern_problem, matches_whole
from convaid.shapes import SEQUENCES
from convaid.wording import describe_value

__all__ = ["Constraint", "Length", "Pattern", "Range", "find_constraints"]


@frozen
class Constraint:
    """The base of all three. ``str()`` continues a description, or a sentence that begins with «must be»."""

    applies_to: ClassVar[tuple[Any, ...]]

    def allows(self, value: Any) -> bool:
        raise NotImplementedError

    def check(self, value: Any) -> None:
        """Raise ValueError with a sentence for the agent if the value is not allowed."""
        if value is not None and not self.allows(value):
            raise ValueError(f"must be {self}, got {self.describe(value)}")

    def describe(self, value: Any) -> str:
        """Return what it is about a value that is held against the constraint."""
        return describe_value(value)


@frozen
class Range(Constraint):
    """The least and the greatest number, date or time, both included; None is no bound on that side."""

    least: Any = None
    most: Any = None

    applies_to = (int, float, date, time, datetime)

    def __attrs_post_init__(self) -> None:
        _check_bounds(self, self.least, self.most)

    def allows(self, value: Any) -> bool:
        # Not «value < least»: NaN is in no range.
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        return _describe_bounds(self.least, self.most)


@frozen
class Length(Constraint):
    """The least and the greatest number of characters of a text, or of items of a list."""

    least: int = 0
    most: int | None = None

    applies_to = (str, *SEQUENCES)

    def __attrs_post_init__(self) -> None:
        _check_bounds(self, self.least or None, self.most)

    def allows(self, value: Any) -> bool:
        return self.least <= len(value) and (self.most is None or len(value) <= self.most)

    def __str__(self) -> str:
        return f"of length {_describe_bounds(self.least or None, self.most)}"

    def describe(self, value: Any) -> str:
        return str(len(value))


@frozen
class Pattern(Constraint):
    """A regular expression that the whole of a text must match."""

    expression: str = field()

    applies_to = (str,)

    @expression.validator
    def _check_expression(self, _: object, value: str) -> None:
        if problem := find_pattern_problem(value):
            raise ToolDefinitionError(f"{self} {problem}")

    def allows(self, value: Any) -> bool:
        return matches_whole(self.expression, value)

    def check(self, value: Any) -> None:
        try:
            super().check(value)
        except PatternTimeout as error:
            raise ValueError(f"cannot be checked: {error}") from None

    def __str__(self) -> str:
        return f"text that matches {self.expression}"


def find_constraints(shape: Any) -> tuple[Constraint, ...]:
    """Return the constraints of an ``Annotated`` type; of any other none."""
    if get_origin(shape) is not Annotated:
        return ()
    return tuple(note for note in get_args(shape)[1:] if isinstance(note, Constraint))


def _check_bounds(constraint: Constraint, least: Any, most: Any) -> None:
    try:
        is_possible = bool(least <= most) if None not in (least, most) else least is not most
    except TypeError:
        is_possible = False
    if not is_possible:
        raise ToolDefinitionError(f"{constraint!r} bounds nothing: give it the least and the greatest value, in order")


def _describe_bounds(least: Any, most: Any) -> str:
    if most is None:
        return f"{least} or more"
    if least is None:
        return f"{most} or less"
    return f"{least} to {most}"
