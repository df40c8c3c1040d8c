"""Regular expressions that a user has written, held against texts that come from somebody else. Pure, and bounded.

A pattern that repeats a repetition, such as ``(a|a)+$``, can take for ever on a text that just does not fit. Python's
own ``re`` cannot be stopped in that, and lets nothing else go on meanwhile; the ``regex`` library can be and does. The
language is that of ``re``, but for a brace before a letter, which means something else to ``regex``, and is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from convaid.errors import ConvaidError
from convaid.wording import shorten

if TYPE_CHECKING:
    from regex import Match

__all__ = ["PatternTimeout", "find_pattern_problem", "matches_whole", "search_text"]

MATCH_LIMIT = 0.05
"""Seconds of processor time for one text: patterns that mean well take microseconds, and nobody who waits for another
notices. The clock is looked at between two attempts, each of which may go through the text: of a megabyte of it, this
comes to half a second."""

APPROXIMATE = re.compile(r"(?<!\\)(?:\\\\)*(?<!\\N)\{[a-z]")
"""How ``regex`` begins to look for what only resembles a text; after ``\\N`` it is a character's name."""


class PatternTimeout(ConvaidError):
    """A pattern has not come to an end in time; says what to do about it, and nothing of the text."""

    def __init__(self, pattern: str) -> None:
        super().__init__(
            f"the pattern {shorten(pattern)!r} takes too long, and was stopped after {MATCH_LIMIT * 1000:g} ms: "
            "write it so that nothing repeats a repetition, as in (a|b+)+, and that of two repetitions in a row only "
            "one fits a character"
        )


def find_pattern_problem(pattern: str) -> str | None:
    """Return why a text is no regular expression, as the end of a sentence; None for one that can be searched for."""
    import regex

    if APPROXIMATE.search(pattern):
        return r'is not a regular expression: write \{ for the character "{"'
    try:
        re.compile(pattern)
        regex.compile(pattern, regex.VERSION0)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        return f"is not a regular expression: {error}"
    return None


def search_text(pattern: str, text: str) -> Match[str] | None:
    """Return the first place in a text that a pattern fits, whatever the case. Raises PatternTimeout."""
    import regex

    try:
        return regex.search(pattern, text, regex.IGNORECASE | regex.VERSION0, timeout=MATCH_LIMIT)
    except TimeoutError:
        raise PatternTimeout(pattern) from None


def matches_whole(pattern: str, text: str, *, dot_is_line_end: bool = False) -> bool:
    """Whether a pattern fits the whole of a text, in the case that it is written in. Raises PatternTimeout.

    ``dot_is_line_end``: a dot stands for any character, the end of a line among them.
    """
    import regex

    flags = regex.VERSION0 | (regex.DOTALL if dot_is_line_end else 0)
    try:
        found = regex.fullmatch(pattern, text, flags, timeout=MATCH_LIMIT)
    except TimeoutError:
        raise PatternTimeout(pattern) from None
    return found is not None
