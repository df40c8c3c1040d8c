"""What `convaid tools check` has to say: one finding for each place where code and platform do not fit (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import attrs
from attrs import frozen

__all__ = ["Finding", "Kind", "merge_findings"]

Kind: TypeAlias = Literal[
    "missing_on_platform",
    "missing_here",
    "name_case",
    "duplicate_name",
    "not_attached",
    "parameter_missing",
    "parameter_extra",
    "parameter_type",
    "parameter_required",
    "parameter_enum",
    "parameter_filled",
    "description",
    "expects_response",
    "response_timeout",
    "error_mode",
    "setting",
    "tool_unseen",
    "agent_missing",
    "client_events",
    "override_refused",
    "variable_missing",
    "auth_required",
    "text_only",
]
"""For scripts; these do not change."""


@frozen
class Finding:
    """Something that does not fit, or a note on something that fits but differs."""

    kind: Kind
    message: str
    """A clause that goes on from the tool's name, or from the conversation's."""
    remedy: str
    tool: str = ""
    place: str = ""
    """The parameter, as ``lamps[].level``, or the setting."""
    conversations: tuple[str, ...] = ()
    """Whose agents it concerns, by their names in the configuration."""
    is_note: bool = False
    """Whether calls go well all the same: such a thing is told, and no reason to fail."""

    def __str__(self) -> str:
        subject = f'tool "{self.tool}"' if self.tool else f"conversation {', '.join(self.conversations)}"
        place = f", {self.place}" if self.place else ""
        return f"{subject}{place}: {self.message}; {self.remedy}"

    def describe(self) -> dict[str, Any]:
        """Return the finding as scripts get it."""
        return attrs.asdict(self)


def merge_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings in order, those that several conversations share told once; notes come last."""
    merged: dict[Finding, dict[str, None]] = {}
    for finding in findings:
        merged.setdefault(attrs.evolve(finding, conversations=()), {}).update(dict.fromkeys(finding.conversations))
    found = [attrs.evolve(finding, conversations=tuple(names)) for finding, names in merged.items()]
    return sorted(found, key=lambda finding: finding.is_note)
