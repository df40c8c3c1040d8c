"""Secrets, and how they are kept out of what people see (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlsplit

__all__ = [
    "MASK",
    "Secret",
    "mask_table",
    "mask_text",
    "mask_url",
    "names_secret",
    "secrets_of_table",
    "secrets_of_url",
]

MASK = "***"
LONG = 16  # characters: a value in a URL that is so long is rather a credential than a word

_SECRET_PARAMETERS = (
    r"conversation_signature|signature|token|access_token|api_key|apikey|xi-api-key|key|secret|password"
)
_IS = r"""["']?\s*[:=,]\s*(?:b(?=["']))?["']?"""  # between a header's name and its value: in HTTP, JSON, or a repr
_SECRET_SHAPES = [  # what such a secret has about it, in small letters; its shape; what is left of it
    (("sk_",), re.compile(r"\bsk_[A-Za-z0-9_-]{8,}"), f"sk_{MASK}"),  # the platform's API keys
    (  # the platform's tokens of one conversation, and keys of others, which plugins use
        ("cvtkn_", "sk-", "gh", "github_pat_", "glpat-", "xox", "hf_", "akia"),
        re.compile(r"\b(cvtkn_|sk-|gh[a-z]_|github_pat_|glpat-|xox[a-z]-|hf_|AKIA)[A-Za-z0-9_-]{8,}"),
        rf"\1{MASK}",
    ),
    (("eyj",), re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),  # tokens that are signed JSON (JWT)
    (("xi-api-key",), re.compile(rf"""(xi-api-key{_IS})[^\s"',}}]+""", re.IGNORECASE), rf"\1{MASK}"),
    (
        ("?", "&"),
        re.compile(rf"""([?&](?:{_SECRET_PARAMETERS})=)[^\s"'&#<>]+""", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (("://",), re.compile(r"""(://)[^\s"'/@]{1,256}@""", re.IGNORECASE), rf"\1{MASK}@"),
    (
        ("authorization",),
        re.compile(rf"""(\bauthorization{_IS}(?:bearer |basic )?)[^\s"',}}]+""", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    # A word of that length with a digit in it is no word.
    (("bearer ",), re.compile(r"""(\bbearer )(?=[^\s"',}]*(?:\d|\.\w))[^\s"',}]{8,}""", re.IGNORECASE), rf"\1{MASK}"),
]
_SECRET_NAME = re.compile(
    r"^secret__|(^|[_-])(key|apikey|token|secret|password|passphrase|credentials?|signature|authorization)$",
    re.IGNORECASE,
)


class Secret:
    """A text that is seen only through `reveal`: print, log and repr show a mask."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not to be written anywhere")


def mask_text(text: str) -> str:
    """Return the text with everything masked that has the shape of a secret, wherever it came from."""
    lowered = text.lower()
    for signs, shape, replacement in _SECRET_SHAPES:
        if any(sign in lowered for sign in signs):  # a hundred times faster than the shape, which holds up everybody
            text = shape.sub(replacement, text)
    return text


def mask_url(url: str) -> str:
    """Return the URL with a user part and every value of its query masked: which of them is a secret is not known."""
    masked = re.sub(r"(?<=[?&])([^=&#]+)=[^&#]*", rf"\1={MASK}", url)
    return re.sub(r"(?<=://)[^/?#]*@", f"{MASK}@", masked)


def secrets_of_url(url: str) -> Iterator[Secret]:
    """Yield the parts of a URL that are likely to be secrets, as they would stand in a log: encoded and decoded."""
    parts = urlsplit(url)
    values = [parts.password or ""]
    for parameter in parts.query.split("&"):
        name, _, value = parameter.partition("=")
        if names_secret(name) or (len(value) >= LONG and not value.startswith("agent_")):
            values.append(value)
    for value in values:
        for spelling in {value, unquote_plus(value)} - {""}:
            yield Secret(spelling)


def secrets_of_table(table: Mapping[str, Any]) -> Iterator[Secret]:
    """Yield the texts that stand under a secret's name, however deep."""
    for name, value in table.items():
        yield from _find_secrets(value, names_secret(name))


def _find_secrets(value: Any, is_secret: bool) -> Iterator[Secret]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _find_secrets(inner, is_secret or names_secret(name))
    elif isinstance(value, list):
        for item in value:
            yield from _find_secrets(item, is_secret)
    elif is_secret and isinstance(value, str) and value:
        yield Secret(value)


def names_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret, as far as a name can tell (``api_key``, ``secret__token``)."""
    return _SECRET_NAME.search(name) is not None


def mask_table(table: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a free table with texts masked that stand under a secret's name or have a secret's shape."""
    return {name: _mask_value(value, names_secret(name)) for name, value in table.items()}


def _mask_value(value: Any, is_secret: bool) -> Any:
    if isinstance(value, dict):
        return {name: _mask_value(inner, is_secret or names_secret(name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mask_value(item, is_secret) for item in value]
    if isinstance(value, str) and value:
        return MASK if is_secret else mask_text(value)
    return value
