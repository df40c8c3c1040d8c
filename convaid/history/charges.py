"""What a conversation cost, as the platform tells it afterwards: asked for where there is a key, logged, and kept.

It disturbs nothing: it asks a few times, ever less often, while the platform is still reckoning, and no more once the
platform has refused the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import trio
from attrs import frozen

from convaid.config import Secret
from convaid.errors import LinkError, LinkRefused

__all__ = ["Charge", "Charges", "read_charge"]

log = logging.getLogger(__name__)

PAUSES = (2.0, 8.0, 30.0, 60.0, 180.0, 600.0)  # seconds before each attempt
AT_ONCE = 4  # requests
MOST = 500  # conversations that are asked about; the next daemon asks about the others
BUSY = (408, 425, 429)  # and all from 500 on: statuses after which to ask again
NOT_FOUND = 404
LARGEST = 2**53  # more than any of the platform's numbers may be
SCALARS = 40  # entries of what the platform tells about the cost


@frozen
class Charge:
    """What the platform tells of a conversation's cost: seconds, credits, details; None is what it does not tell."""

    seconds: int | None
    cost: int | None
    charging: dict[str, Any]


def read_charge(answer: Mapping[str, Any]) -> Charge | None:
    """Return what the platform's answer says about the cost; None while it is still reckoning.

    Source: ``GetConversationResponseModel`` of the OpenAPI description.
    """
    if answer.get("status") not in ("done", "failed"):
        return None
    metadata = answer.get("metadata")
    told = metadata if isinstance(metadata, dict) else {}
    charging = told.get("charging")
    listed = list(charging.items())[:SCALARS] if isinstance(charging, dict) else []
    scalars = {
        str(name)[:100]: value[:100] if isinstance(value, str) else value
        for name, value in listed
        if isinstance(value, str | bool | int | float)
    }
    return Charge(_read_number(told.get("call_duration_secs")), _read_number(told.get("cost")), scalars)


def _read_number(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST
    return value if is_number else None


class Charges:
    """Asks the platform what conversations cost, each in a task of its own."""

    def __init__(self, find_way: Callable[[], tuple[str, Secret | None]], note: Callable[[int, Charge], None]) -> None:
        """``find_way`` returns the platform's REST address and the key; ``note`` is told what a kept session cost."""
        self._find_way = find_way
        self._note = note
        self._asked = 0
        self._refused_key: Secret | None = None
        self._told: set[int] = set()
        """Statuses that the log has been told of."""
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the tasks that ask, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def ask(self, session: int | None, conversation: str, conversation_id: str) -> None:
        """Have the platform asked about a conversation that is over; ``session`` is its id here, if it is kept."""
        _, key = self._find_way()
        if self._nursery is None or key is None or key == self._refused_key or self._asked >= MOST:
            return
        self._asked += 1
        self._nursery.start_soon(self._ask, session, conversation, conversation_id, name=f"cost of {conversation_id}")

    async def _ask(self, session: int | None, conversation: str, conversation_id: str) -> None:
        try:
            for pause in PAUSES:
                await trio.sleep(pause)
                base_url, key = self._find_way()
                if key is None or key == self._refused_key:
                    return
                try:
                    answer = await self._fetch(base_url, key, conversation_id)
                except LinkRefused as refusal:
                    if refusal.status not in BUSY and refusal.status < 500:
                        self._note_refusal(refusal, key)
                        return
                except LinkError as error:
                    log.debug("%s: %s", conversation, error)
                else:
                    if (charge := read_charge(answer)) is not None:
                        self._tell(session, conversation, conversation_id, charge)
                        return
            log.info("%s: what conversation %s cost cannot be learnt yet", conversation, conversation_id)
        finally:
            self._asked -= 1

    async def _fetch(self, base_url: str, key: Secret, conversation_id: str) -> dict[str, Any]:
        async with self._limiter:
            await trio.to_thread.run_sync(import_module, "httpx")  # 0.2 s, for which no conversation is to wait
            from convaid.rest.workspace import open_workspace

            async with open_workspace(base_url, key) as workspace:
                return await workspace.get_conversation(conversation_id)

    def _note_refusal(self, refusal: LinkRefused, key: Secret) -> None:
        """Say once what the platform refuses, and ask no more with a key that may not know."""
        if refusal.status in (401, 403):
            self._refused_key = key
        if refusal.status not in self._told:
            self._told.add(refusal.status)
            # What was deleted on the platform, or was another simulator's, is nobody's fault.
            level = logging.INFO if refusal.status == NOT_FOUND else logging.WARNING
            log.log(level, "what conversations cost is not known: %s", refusal)

    def _tell(self, session: int | None, conversation: str, conversation_id: str, charge: Charge) -> None:
        cost = "an unknown number of" if charge.cost is None else charge.cost
        log.info(
            "conversation %s of %s lasted %s s and cost %s credits",
            conversation_id,
            conversation,
            "?" if charge.seconds is None else charge.seconds,
            cost,
            extra={"fields": {"conversation": conversation, "conversation_id": conversation_id}},
        )
        if session is not None:
            self._note(session, charge)
