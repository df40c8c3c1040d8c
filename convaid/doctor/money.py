"""Whether anything limits what conversations cost (floor 6)."""

from __future__ import annotations

from collections.abc import Iterator

from convaid.doctor.findings import Finding, ok, warning
from convaid.doctor.subject import Subject

__all__ = ["check_money"]

FIX = 'set start = "on_demand", or idle in [conversations.NAME.limits], or minutes_per_day in [budget]'


def check_money(subject: Subject) -> Iterator[Finding]:
    """Silence costs as much as talk: look for conversations that nothing ever ends."""
    unlimited = subject.configuration.find_unlimited()
    for name in unlimited:
        yield warning("money", "it is open day and night, and costs as much while nobody talks", FIX, name)
    if not unlimited:
        yield ok("money", "no conversation is open, and paid, without end")
