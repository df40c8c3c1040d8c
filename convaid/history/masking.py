"""What ``keep = "redacted"`` takes out of what is said (pure).

It recognises shapes, and masks too much rather than too little: e-mail addresses; numbers of six digits and more, with
whatever usually stands between their digits (telephones, cards, accounts, one-time codes), dates excepted; texts of 20
characters and more in which letters and digits mix (keys, identifiers); and what `convaid.config.secrets` knows. It
knows no names, no streets, and no number that is spelled in words: who must not have these on the disk keeps nothing.
"""

from __future__ import annotations

import re
from typing import Any

from convaid.config.secrets import MASK, mask_text

__all__ = ["redact_text", "redact_values"]

LONG_NUMBER = 100_000  # as numbers have six digits
# Bounded, and each match begins where nothing like it stands before: a long text takes no longer than its length.
EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
NUMBER = re.compile(
    r"(?<!\d)\d{4}-\d\d-\d\d(?![-.]?\d)"  # a date, which stays
    r"|(?P<number>\+?\d(?:[\s.,/()\-\u2010-\u2015]{0,2}\d){5,})"
)
KEY = re.compile(r"[A-Za-z0-9_-]{20,}")


def redact_text(text: str) -> str:
    """Return the text with all masked that has one of the shapes."""
    text = mask_text(text)
    if "@" in text:
        text = EMAIL.sub(MASK, text)
    text = KEY.sub(lambda found: MASK if _is_mixed(found[0]) else found[0], text)
    return NUMBER.sub(lambda found: MASK if found["number"] else found[0], text)


def redact_values(value: Any) -> Any:
    """Return JSON's values with their texts redacted, and whole numbers of six digits and more; keys stay."""
    match value:
        case str():
            return redact_text(value)
        case bool():
            return value
        case int() if abs(value) >= LONG_NUMBER:
            return MASK
        case dict():
            return {name: redact_values(inner) for name, inner in value.items()}
        case list():
            return [redact_values(inner) for inner in value]
    return value


def _is_mixed(text: str) -> bool:
    return any(character.isdigit() for character in text) and any(character.isalpha() for character in text)
