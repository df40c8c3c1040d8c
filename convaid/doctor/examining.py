"""All checks, each within its time (floor 6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio

from convaid.doctor.findings import Finding, error
from convaid.doctor.machine import check_daemon, check_plugins, check_service
from convaid.doctor.money import check_money
from convaid.doctor.network import check_network
from convaid.doctor.platform import check_platform
from convaid.doctor.sound import check_sound
from convaid.doctor.state import check_state
from convaid.doctor.subject import Subject

__all__ = ["examine"]

TIME_LIMIT = 30.0  # seconds for one check

Check = Callable[[Subject], Awaitable[list[Finding]]]
BlockingCheck = Callable[[Subject], Iterable[Finding]]


def in_thread(check: BlockingCheck) -> Check:
    """Make a check of one that waits for files and programs."""

    async def run(subject: Subject) -> list[Finding]:
        return await trio.to_thread.run_sync(lambda: list(check(subject)), abandon_on_cancel=True)

    return run


OF_CONVERSATIONS: dict[str, Check] = {
    "network": check_network,
    "platform": check_platform,
    "plugins": in_thread(check_plugins),
    "sound": check_sound,
    "money": in_thread(check_money),
}
"""These need a configuration."""
OF_MACHINE: dict[str, Check] = {
    "state": in_thread(check_state),
    "daemon": in_thread(check_daemon),
    "service": in_thread(check_service),
}


async def examine(subject: Subject, *, time_limit: float = TIME_LIMIT) -> list[Finding]:
    """Look at everything at the same time, and return what there is to say, always in the same order."""
    checks = {**OF_CONVERSATIONS, **OF_MACHINE} if subject.has_configuration else OF_MACHINE
    findings: dict[str, list[Finding]] = {}

    async def look(name: str, check: Check) -> None:
        with trio.move_on_after(time_limit) as limit:
            findings[name] = await check(subject)
        if limit.cancelled_caught:
            words = f"looking at it took longer than {time_limit:g} s"
            findings[name] = [error(name, words, "try again; something that it waits for does not answer")]

    async with trio.open_nursery() as nursery:
        for name, check in checks.items():
            nursery.start_soon(partial(look, name, check), name=name)
    return [finding for name in checks for finding in findings[name]]
