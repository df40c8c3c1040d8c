"""Where tool calls wait for a person's permission (floor 5): asked like a plugin, answered through the control API."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from attrs import define, field, frozen

from convaid.errors import ConvaidError
from convaid.events import ApprovalAnswered, ApprovalAsked, ApprovalRequest, Event

__all__ = ["Desk", "NoSuchQuestion", "Question"]


class NoSuchQuestion(ConvaidError):
    """Nobody is asked this, any more or at all."""


@frozen(eq=False)
class Question:
    """A call that waits for permission; ``answer`` is the asker's."""

    id: str
    request: ApprovalRequest
    answer: Callable[[bool | None], None] = field(repr=False)


@define(eq=False)
class Desk:
    """Questions that people may answer. Each is answered once; one that is not, in time, is taken back by its asker."""

    publish: Callable[[Event], None]
    _open: dict[str, Question] = field(init=False, factory=dict)
    _ids: itertools.count[int] = field(init=False, factory=lambda: itertools.count(1))

    @property
    def open(self) -> Mapping[str, Question]:
        """The questions that wait, by id, oldest first."""
        return MappingProxyType(self._open)

    def ask(self, request: ApprovalRequest, answer: Callable[[bool | None], None]) -> Callable[[], None]:
        """Put a question; returns what takes it back. As `convaid.calls.gates.Approver` has it."""
        question = Question(str(next(self._ids)), request, answer)
        self._open[question.id] = question
        self.publish(
            ApprovalAsked(request.conversation, request.conversation_id, question.id, request.call, request.deadline)
        )
        return partial(self._take_back, question)

    def decide(self, id: str, is_allowed: bool, by: str) -> Question:
        """Answer a question on behalf of ``by``. Raises `NoSuchQuestion`."""
        question = self._open.pop(id, None)
        if question is None:
            waiting = ", ".join(self._open) or "none"
            raise NoSuchQuestion(f'no call waits for permission as "{id}" (any more). Waiting: {waiting}')
        self._tell(question, is_allowed, by)
        question.answer(is_allowed)
        return question

    def _take_back(self, question: Question) -> None:
        if self._open.pop(question.id, None) is not None:
            self._tell(question, None, "")

    def _tell(self, question: Question, is_allowed: bool | None, by: str) -> None:
        request = question.request
        self.publish(
            ApprovalAnswered(request.conversation, request.conversation_id, question.id, request.call, is_allowed, by)
        )
