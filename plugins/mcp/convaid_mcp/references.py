"""Settings that hold ``${env:NAME}`` or ``${file:PATH}``: secrets stand elsewhere, and are read for each connection."""

from __future__ import annotations

import re
from collections.abc import Iterable

from convaid.plugins.templates import SecretReference

__all__ = ["REFERENCE", "find_secrets", "resolve_references"]

REFERENCE = re.compile(r"\$\{(env|file):([^{}]*)\}")


def resolve_references(text: str) -> str:
    """Return the text with what its references stand for, as of now. Raises ValueError, which says what is missing."""
    return REFERENCE.sub(_read, text)


def find_secrets(texts: Iterable[str]) -> list[str]:
    """Return what the references in some texts stand for: what a log must not show. Raises ValueError."""
    return [_read(found) for text in texts for found in REFERENCE.finditer(text)]


def _read(found: re.Match[str]) -> str:
    reference = SecretReference(*found.groups())
    try:
        return reference.read().reveal()
    except ValueError as error:
        raise ValueError(f"{reference} is missing: {error}") from None
