"""A call's arguments as they may be written down, in the journal and in the log (floor 5)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import islice

from convaid.config.secrets import MASK, mask_text, names_secret

__all__ = ["redact_arguments", "write_arguments"]

ARGUMENTS_SIZE = 4096  # characters of a call's arguments
DEPTH_LIMIT = 20  # levels of arguments that are looked into
NAME_LENGTH = 200  # characters of an argument's name; what has a longer one is not looked into


def write_arguments(parameters: object, redact: Collection[str] = ()) -> str:
    """Return a call's arguments as JSON for the journal, at most `ARGUMENTS_SIZE` characters and a mark.

    Masked as by `redact_arguments`.
    """
    plain = redact_arguments(parameters, redact)
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    if len(text) > ARGUMENTS_SIZE:
        text = f"{text[:ARGUMENTS_SIZE]}… [cut here]"
    return text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be stored


def redact_arguments(parameters: object, redact: Collection[str] = ()) -> object:
    """Return a call's arguments in plain values, as far as they may be shown and as much as anybody reads.

    Masked are values whose name is a secret's, texts in the shape of one, and what ``redact`` names: a name counts
    wherever it stands, a dotted path from the top (lists have no place in it), ``*`` stands for everything.
    """
    budget = range(ARGUMENTS_SIZE)  # of items and characters: so many fill the text, and no time goes into more
    return MASK if "*" in redact else _redact(parameters, "", redact, iter(budget), 0)


def _redact(value: object, path: str, redact: Collection[str], budget: Iterator[int], depth: int) -> object:
    match value:
        case str():
            text = mask_text(value[: 2 * ARGUMENTS_SIZE])  # a regular expression keeps the interpreter's lock
            next(islice(budget, len(text), None), None)
            return text
        case dict() | list() if depth >= DEPTH_LIMIT:
            return "…"
        case dict():
            plain = {}
            for (name, item), _ in zip(value.items(), budget, strict=False):
                place = f"{path}.{name}" if path else name
                is_hidden = len(name) > NAME_LENGTH or names_secret(name) or name in redact or place in redact
                plain[name[:NAME_LENGTH]] = MASK if is_hidden else _redact(item, place, redact, budget, depth + 1)
            return plain
        case list():
            return [_redact(item, path, redact, budget, depth + 1) for item, _ in zip(value, budget, strict=False)]
    return value
