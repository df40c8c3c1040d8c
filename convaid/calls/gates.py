"""What stands between a tool call and its run: how often, how many at once, and whether it may (floor 5)."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio
from attrs import define, field

from convaid.calls.answers import Ending
from convaid.calls.offers import Offer
from convaid.calls.run import Run
from convaid.config.policy import Permission, Rate
from convaid.events import ApprovalRequest
from convaid.patterns import PatternTimeout

__all__ = ["Approvals", "Gate"]

logger = logging.getLogger(__name__)

APPROVAL_SHARE = 0.8  # of a call's time is for somebody to allow it; the rest is for the tool


@define(eq=False)
class Gate:
    """Lets the calls of one tool through, or says why not."""

    offer: Offer
    _recent: deque[float] = field(init=False)
    """When the latest calls were let through, as many as the rate allows."""
    _rate: Rate | None = field(init=False)
    _turns: dict[str, trio.Semaphore] = field(factory=dict, init=False)
    """For each conversation, where the tool runs once at a time in it."""
    _latest: dict[str, Run] = field(factory=dict, init=False)
    """For each conversation, the run that has its turn, or is the last to wait for it."""
    _is_slowness_told: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        rate = self.offer.policy.rate
        self._rate = Rate.parse(rate) if rate else None
        self._recent = deque(maxlen=self._rate.calls if self._rate else 0)

    def find_permission(self, parameters: object) -> Permission:
        """Return what a call with these parameters may do."""
        policy = self.offer.policy
        try:
            return policy.find_permission(parameters)
        except PatternTimeout as error:
            if not self._is_slowness_told:
                self._is_slowness_told = True
                logger.error(
                    'the tool "%s": in its "permissions", %s. Until then, calls like this have the permission "%s"',
                    self.offer.tool.name,
                    error,
                    policy.strictest_permission,
                )
            return policy.strictest_permission

    def count_call(self) -> Ending | None:
        """Count a call, or return the answer to one too many."""
        rate, now = self._rate, trio.current_time()
        if rate is None:
            return None
        if len(self._recent) == rate.calls and (wait := self._recent[0] + rate.seconds - now) > 0:
            name = self.offer.tool.name
            return "overloaded", (
                f'The tool "{name}" may be called {rate.calls} times in {rate.seconds:g} s, and has been. '
                f"Call it again in {max(wait, 1):.0f} s at the earliest."
            )
        self._recent.append(now)
        return None

    async def take_turn(self, run: Run) -> Ending | None:
        """Wait until the call may run beside the tool's other calls in its conversation, or return its answer."""
        overlap = self.offer.policy.overlap
        if overlap == "parallel":
            return None
        turn = self._turns.setdefault(run.conversation, trio.Semaphore(1, max_value=1))
        name = self.offer.tool.name
        if turn.value == 0:
            if overlap == "single":
                return "overloaded", (
                    f'The tool "{name}" still runs, for an earlier call: wait for the answer to that one.'
                )
            if overlap == "replace":
                earlier = self._latest[run.conversation]
                earlier.dismiss(("stopped", f'The tool "{name}" was stopped, because a newer call took its place.'))
        self._latest[run.conversation] = run  # at once: the next call replaces this one, also while it waits
        await turn.acquire()
        run.turn = turn
        return None


class Approver(Protocol):
    """Whoever can be asked to allow a call; a plugin's room, say."""

    def ask(self, request: ApprovalRequest, answer: Callable[[bool | None], None]) -> Callable[[], None]:
        """Ask, and have ``answer`` called once on the conversations' loop, soon or late; None stands for «no opinion».

        Returns what takes the question back.
        """
        ...


@define(eq=False)
class Approvals:
    """Those who can allow tool calls."""

    approvers: list[Approver] = field(factory=list)

    async def ask(self, run: Run) -> Ending | None:
        """Wait until somebody decides on a call; returns the answer if it may not run, as it may not if nobody does."""
        name = run.offer.tool.name
        if not self.approvers:
            logger.warning('the tool "%s" was not run: nobody is there who could allow it', name)
            return "denied", (
                f'The tool "{name}" was not run: it needs the permission of a person, and nobody can be asked. '
                "Do not call it again in this conversation."
            )
        seconds = max(0.0, run.deadline - time.monotonic()) * APPROVAL_SHARE
        decision = await self.decide(
            ApprovalRequest(run.conversation, run.conversation_id, run.call, time.monotonic() + seconds)
        )
        if decision:
            return None
        why = "nobody allowed it in time" if decision is None else "permission was denied"
        return "denied", f'The tool "{name}" was not run: {why}. Do not call it again unless the user asks for it anew.'

    async def decide(self, request: ApprovalRequest) -> bool | None:
        """Return the first decision, or None where nobody has decided by the deadline."""
        with trio.move_on_after(max(0.0, request.deadline - time.monotonic())):
            return await self._collect(request)
        return None

    async def _collect(self, request: ApprovalRequest) -> bool | None:
        """Return the first decision, or None once everybody has left it to others."""
        answers, decisions = trio.open_memory_channel[bool | None](len(self.approvers))
        questions = [approver.ask(request, answers.send_nowait) for approver in self.approvers]
        try:
            for _ in questions:
                decision = await decisions.receive()
                if decision is not None:
                    return decision
            return None
        finally:
            for take_back in questions:
                take_back()
