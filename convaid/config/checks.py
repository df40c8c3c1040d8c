"""Checks of single settings: attrs validators, whose ValueError says what is wrong and what to write instead (pure)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs

from convaid.patterns import find_pattern_problem
from convaid.structuring import nearest
from convaid.timetable import Timetable
from convaid.wording import shorten

__all__ = [
    "REGIONS",
    "SIMULATOR",
    "Field",
    "check_amount",
    "check_base_url",
    "check_count",
    "check_duration",
    "check_event_names",
    "check_json",
    "check_own_url",
    "check_patterns",
    "check_program",
    "check_schedule",
    "check_variable",
    "is_loopback",
]

SIMULATOR = "simulator"
REGIONS = {
    "global": "https://api.elevenlabs.io",
    "us": "https://api.us.elevenlabs.io",
    "eu": "https://api.eu.residency.elevenlabs.io",
    "in": "https://api.in.residency.elevenlabs.io",
    "sg": "https://api.sg.residency.elevenlabs.io",
}
"""The platform's hosts. Each residency region is a workspace of its own, with keys of its own."""

Field: TypeAlias = "attrs.Attribute[Any]"


def check_duration(_: object, field: Field, value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"must be longer than 0 seconds, not {value:g}; inf stands for no limit")


def check_amount(_: object, field: Field, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"must be 0 or more, not {value:g}; inf stands for no limit")


def check_count(_: object, field: Field, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"must be at least 1, not {value}")


def check_schedule(_: object, field: Field, value: Iterable[str]) -> None:
    Timetable.parse(value)


def check_event_names(_: object, field: Field, value: Iterable[str]) -> None:
    from convaid.event_json import EVENT_NAMES
    from convaid.protocol.from_agent import FROM_AGENT

    known = {*EVENT_NAMES.values(), *FROM_AGENT}
    if not value:
        raise ValueError('names no event; say which, as in ["connected", "tool_call_ended"]')
    for name in value:
        if name not in known:
            found = nearest(name, known)
            hint = f'did you mean "{found[0]}"?' if found else f"there are {', '.join(sorted(EVENT_NAMES.values()))}"
            raise ValueError(f'there is no event "{name}"; {hint}')


def check_patterns(_: object, field: Field, value: Iterable[str]) -> None:
    for pattern in value:
        if problem := find_pattern_problem(pattern):
            raise ValueError(f"{shorten(pattern)!r} {problem}")


def check_program(_: object, field: Field, value: list[str]) -> None:
    if not value or not value[0]:
        raise ValueError('needs a program, with its arguments, as in ["/usr/local/bin/lamp", "on"]')


def check_variable(_: object, field: Field, value: str) -> None:
    looks_like_key = re.fullmatch(r"sk_.*|[0-9a-f]{32}", value)
    if value and (looks_like_key or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value)):
        raise ValueError("is the name of an environment variable; the key itself never stands in this file")


def check_base_url(_: object, field: Field, value: str) -> None:
    names = [SIMULATOR, *REGIONS]
    if value in names:
        return
    fault = _find_fault(value)
    if not fault and (parts := urlsplit(value)) and (parts.query or parts.fragment or "@" in parts.netloc):
        fault = "has more than a host, a port and a path"
    if fault:
        found = nearest(value, names)
        hint = f'did you mean "{found[0]}"?' if found else f"expected one of {', '.join(names)}, or an https:// URL"
        raise ValueError(f"{fault}; {hint}")


def check_own_url(_: object, field: Field, value: str) -> None:
    if value and (fault := _find_fault(value)):
        raise ValueError(f"{fault}; expected an https:// URL of yours that answers with a signed URL")


def _find_fault(url: str) -> str:
    """Return why a secret cannot be entrusted to this URL, or "". The URL itself is not repeated: it may hold one."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("https", "http") or not host:
        return "is not an https:// URL"
    if parts.scheme == "http" and not is_loopback(host):
        return "is plain http://, which may only lead to this machine (127.0.0.1, ::1, localhost)"
    return ""


def is_loopback(host: str) -> bool:
    """Does this host name mean this machine?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_json(_: object, field: Field, value: dict[str, Any]) -> None:
    for path, fault in _find_what_json_lacks(value, ""):
        raise ValueError(f"{path} is {fault}, which JSON does not have; write it as text, in quotes")


def _find_what_json_lacks(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _find_what_json_lacks(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _find_what_json_lacks(inner, f"{path}[{place}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, f"{value}"
    elif isinstance(value, int) and value.bit_length() > 63:
        yield path, "a whole number of more than 64 bits"
    elif not isinstance(value, str | float | int):
        yield path, f"a {type(value).__name__}"
