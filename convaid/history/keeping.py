"""The service that keeps the history of a daemon's conversations."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import trio

from convaid import events
from convaid.config import Configuration, Secret
from convaid.config.places import find_state_folder
from convaid.history.charges import Charges
from convaid.history.file import DAY, FILE_NAME, HistoryFile
from convaid.history.recording import Recorder, Terms
from convaid.logs import MaskingFormatter

if TYPE_CHECKING:
    from convaid.daemon import Daemon

__all__ = ["keep_history"]

UNBILLED = 2 * DAY  # seconds for which what a conversation cost is still asked for
MOST_UNBILLED = 100  # conversations of earlier daemons that are asked about


async def keep_history(daemon: Daemon, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Keep transcripts and ask what conversations cost, until cancelled. A service of the daemon's; it waits for none.

    The first of them, so that no conversation begins unseen.
    """

    mask: tuple[Configuration, Callable[[str], str]] | None = None

    def find_way() -> tuple[str, Secret | None]:
        key = next((keeping.conversation.api_key for keeping in daemon.keeper or ()), None)
        return daemon.configuration.platform.rest_url, key

    def find_terms(name: str) -> Terms | None:
        settings = daemon.configuration.conversations.get(name)
        if settings is None:  # it is just being removed
            return None
        return Terms(settings.history, settings.agent_id, find_mask(daemon.configuration))

    def find_mask(configuration: Configuration) -> Callable[[str], str]:
        nonlocal mask
        if mask is None or mask[0] is not configuration:
            _, key = find_way()
            secrets = [*configuration.secrets(), *([key] if key is not None else [])]
            mask = configuration, MaskingFormatter(secrets).mask
        return mask[1]

    def find_redacted(tool: str) -> Collection[str]:
        offer = daemon.tool_calls.find_offer(tool)
        return (offer.policy.redact or ()) if offer is not None else ()

    def list_days() -> dict[str, float]:
        return {name: settings.history.days for name, settings in daemon.configuration.conversations.items()}

    def observe(event: events.Event) -> None:
        session = recorder.observe(event)
        if isinstance(event, events.Ended) and event.conversation_id:
            charges.ask(session, event.conversation, event.conversation_id)

    file = HistoryFile(find_state_folder() / FILE_NAME)
    recorder = Recorder(file, find_terms, find_redacted, list_days, daemon.troubles)
    charges = Charges(find_way, recorder.note_charge)
    observers = daemon.announcer.observers
    observers.append(observe)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            await nursery.start(charges.run)
            task_status.started()
            for unbilled in await recorder.list_unbilled(time.time() - UNBILLED, MOST_UNBILLED):
                charges.ask(*unbilled)
    finally:
        observers.remove(observe)
