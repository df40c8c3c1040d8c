"""The watchdog: systemd hears from the daemon only while all that matters moves.

That is the loop itself, on which this runs; each session's reader, clocks and speech, both ways; and the task that
tells observers what happens. If one hangs, its stack is in the log, and systemd hears nothing more: it ends the process
by SIGABRT, upon which the stacks of all threads are in the journal, too. Plugins do not count: their rooms may hang
alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import trio

from convaid.pulse import Pulse
from convaid.service.notify import ServiceManager

if TYPE_CHECKING:
    from convaid.daemon import Daemon

__all__ = ["describe_stack", "feed_watchdog", "list_pulses"]

log = logging.getLogger(__name__)

USUAL_LIMIT = 30.0  # seconds of the watchdog that the units ask for; where there is none, a hang is told all the same
PATIENCE_SHARE = 1 / 3  # of the watchdog's limit: so late may a task be
FEED_SHARE = 1 / 2  # of it: between two signs of life, as `sd_watchdog_enabled(3)` advises
TURNS = 10  # of the loop: some tasks move only when others have
TROUBLE = "watchdog"


async def feed_watchdog(
    manager: ServiceManager, daemon: Daemon, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Give signs of life until cancelled, as long as nothing hangs. A service."""
    limit = manager.watchdog or USUAL_LIMIT
    interval, patience = limit * FEED_SHARE, limit * PATIENCE_SHARE
    known: list[Pulse] = []
    task_status.started()
    while True:
        now = trio.current_time()
        hanging = {pulse: where for where, pulse in list_pulses(daemon) if now > pulse.due + patience}
        for pulse, where in hanging.items():
            if pulse not in known:
                tell_hang(pulse, where, now - pulse.due)
        known = list(hanging)
        if hanging:
            daemon.troubles[TROUBLE] = " and ".join(f"{pulse.name} of {hanging[pulse]} hangs" for pulse in known)
        else:
            daemon.troubles.pop(TROUBLE, None)
            if manager.watchdog is not None:
                await manager.tell("WATCHDOG=1")
        await trio.sleep(interval)
        await wait_for_turn()


async def wait_for_turn() -> None:
    """Let everybody else move first: after a time in which the process stood still, everybody is late."""
    for _ in range(TURNS):
        await trio.lowlevel.checkpoint()


def list_pulses(daemon: Daemon) -> Iterator[tuple[str, Pulse]]:
    """Yield the pulses of what must not hang, each with what it belongs to."""
    yield "the daemon", daemon.announcer.pulse
    for conversation in daemon.conversations.values():
        session = conversation.session.pulses if conversation.session is not None else ()
        sound = conversation.sound.pulses if conversation.sound is not None else ()
        for pulse in (*session, *sound):
            yield f"conversation {conversation.name}", pulse


def tell_hang(pulse: Pulse, where: str, seconds: float) -> None:
    """Log what hangs, and where in its code."""
    place = describe_stack(pulse.task) if pulse.task is not None else "an unknown place"
    words = "%s of %s has not moved for %.1f s, so systemd hears nothing more until it does. It is at %s"
    log.critical(words, pulse.name, where, seconds, place)


def describe_stack(task: trio.lowlevel.Task) -> str:
    """Return where a task is that does not run just now, innermost first."""
    frames = [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in task.iter_await_frames()]
    return " from ".join(reversed(frames))
