"""``[tools]`` and the tables in it: what an operator lets tools do, and how (pure).

What a person writes for one tool stands in ``[tools.NAME]``, for all tools of a plugin in ``[tools."PLUGIN.*"]``, for
all tools in ``[tools."*"]``; for each setting, the closest table that has it counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import orjson
from attrs import field, frozen

from convaid.config.checks import Field, check_count, check_duration
from convaid.patterns import find_pattern_problem, matches_whole

__all__ = ["ALL_TOOLS", "Overlap", "Permission", "PermissionRule", "Rate", "ToolPolicy", "ToolsConfig", "name_plugin"]

ALL_TOOLS = "*"

Permission = Literal["allow", "ask", "deny"]
Overlap = Literal["parallel", "queue", "single", "replace"]

STRICTNESS: tuple[Permission, ...] = ("allow", "ask", "deny")
MATCHED_LENGTH = 1000  # characters

RATE = re.compile(r"(\d{1,6}) ?/ ?(s|min|h|day)")
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}


@frozen
class Rate:
    """How many calls there may be in how many seconds."""

    calls: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read ``10/min``. Raises ValueError."""
        found = RATE.fullmatch(text)
        if not found or not int(found[1]):
            raise ValueError(f'expected a number of calls and a unit, such as "10/min" (or /s, /h, /day), not "{text}"')
        return cls(int(found[1]), UNITS[found[2]])


def _check_rate(_: object, field: Field, value: str | None) -> None:
    if value is not None:
        Rate.parse(value)


def _check_patterns(_: object, field: Field, value: Mapping[str, str]) -> None:
    if not value:
        raise ValueError('is empty, which fits every call; write the tool\'s "permission" instead')
    for name, pattern in value.items():
        if problem := find_pattern_problem(pattern):
            raise ValueError(f'has for "{name}" what {problem}')


@frozen
class PermissionRule:
    """One of ``permissions``: for calls whose arguments all fit, this permission counts. The first that fits wins."""

    arguments: dict[str, str] = field(validator=_check_patterns)
    """Dotted paths of arguments, and regular expressions that their whole text must match; what is not text is taken as
    JSON, without spaces. An argument that is not there matches nothing."""
    permission: Permission

    def fits(self, texts: Mapping[str, str | None]) -> bool:
        """Whether this is a rule for calls whose arguments, by their paths, have these texts. Raises PatternTimeout."""
        return all(
            (text := texts[path]) is not None and matches_whole(pattern, text, dot_is_line_end=True)
            for path, pattern in self.arguments.items()
        )


def find_text(parameters: object, path: str) -> str | None:
    """Return the text of the argument at a dotted path; None where there is none.

    Raises ValueError for one that is too long to be matched, or has no JSON form.
    """
    value = parameters
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    try:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:  # nested too deeply, say
        raise ValueError from error
    if len(text) > MATCHED_LENGTH:
        raise ValueError
    return text


@frozen
class ToolPolicy:
    """``[tools.NAME]``, ``[tools."PLUGIN.*"]`` or ``[tools."*"]``. None leaves it to the next, then to the author."""

    enabled: bool | None = None
    time_limit: float | None = field(default=None, validator=check_duration)
    parallel: int | None = field(default=None, validator=check_count)  # calls of one tool at once, all conversations
    runs: Literal["room", "thread", "process"] | None = None
    memory: int | None = field(default=None, validator=check_count)  # MiB, of a process
    cpu_seconds: float | None = field(default=None, validator=check_duration)  # of a process, for one call
    overlap: Overlap | None = None
    on_interrupt: Literal["keep", "cancel"] | None = None
    on_disconnect: Literal["keep", "cancel"] | None = None
    deliver_late: bool | None = None
    rate: str | None = field(default=None, validator=_check_rate)
    result_size: int | None = field(default=None, validator=check_count)  # characters
    permission: Permission | None = None
    permissions: tuple[PermissionRule, ...] | None = None
    redact: tuple[str, ...] | None = None
    mock: str | None = None

    def find_permission(self, parameters: object) -> Permission:
        """Return what a call with these parameters may do.

        An argument of more than `MATCHED_LENGTH` characters is not matched, because patterns take time and hold up
        everything: such a call has the strictest permission that it could have. So is one to have for which this raises
        PatternTimeout, and whoever wrote the pattern is to be told.
        """
        rules = self.permissions or ()
        try:
            texts = {path: find_text(parameters, path) for rule in rules for path in rule.arguments}
        except ValueError:
            return self.strictest_permission
        return next((rule.permission for rule in rules if rule.fits(texts)), self.permission or "allow")

    @property
    def strictest_permission(self) -> Permission:
        """The least that a call may do under any of the rules."""
        permissions = [self.permission or "allow", *(rule.permission for rule in self.permissions or ())]
        return max(permissions, key=STRICTNESS.index)


DEFAULT = ToolPolicy(
    enabled=True,
    memory=1024,
    overlap="parallel",
    on_interrupt="keep",
    on_disconnect="keep",
    deliver_late=False,
    result_size=65536,
    permission="allow",
    permissions=(),
    redact=(),
)
"""What holds where no table says otherwise; what is None here is the tool's author's to say."""


def name_plugin(plugin: str) -> str:
    """Return the name of the table for all tools of a plugin."""
    return f"{plugin}.*"


@frozen
class ToolsConfig:
    """``[tools]``: all tools together. In TOML the policies' tables stand in it; here they are in ``named``."""

    time_limit: float = field(default=15.0, validator=check_duration)  # of a tool whose author has given it none
    parallel: int = field(default=500, validator=check_count)  # calls at once, of all tools together
    quarantine_after: float = field(default=30.0, validator=check_duration)  # a plugin that blocks for so long is stuck
    strict: bool = False
    snapshot: Path | None = None
    journal: Path | None = None
    named: dict[str, ToolPolicy] = field(factory=dict)

    def find_policy(self, tool: str, plugin: str) -> ToolPolicy:
        """Return what counts for a tool: the closest table that has a setting, for each of them."""
        tables = [self.named.get(name) for name in (tool, name_plugin(plugin), ALL_TOOLS)]
        if not any(tables):
            return DEFAULT
        return _overlay(DEFAULT, *(table for table in reversed(tables) if table is not None))

    def find_time_limit(self, tool: str, plugin: str, own: float | None) -> float:
        """Return the seconds that a call of a tool has, whose author has given it ``own``: the operator's say first."""
        return self.find_policy(tool, plugin).time_limit or own or self.time_limit


def _overlay(*policies: ToolPolicy) -> ToolPolicy:
    """Return what holds where each policy overrules the ones before it."""
    merged: dict[str, Any] = {}
    for policy in policies:
        settings = attrs.asdict(policy, recurse=False)
        merged |= {name: value for name, value in settings.items() if value is not None}
    return ToolPolicy(**merged)
