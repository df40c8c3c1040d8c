"""What plugins open and close conversations with: buttons, wake words, whoever comes through the door (floor 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from attrs import field, frozen

__all__ = ["Activation", "Wish"]

Wish = Literal["start", "stop"]


@frozen(eq=False)
class Activation:
    """The conversations of the configuration, as a plugin sees them; usable from any thread.

    Nothing here waits, or raises: what cannot be done, because there is no such conversation or too many are open, is
    in the log. How a conversation goes on, `convaid_observe` tells.
    """

    conversations: tuple[str, ...]
    """Their names, as of the daemon's start."""
    _ask: Callable[[str, Wish], None] = field(repr=False)
    _find_state: Callable[[str], str] = field(repr=False)

    def start(self, conversation: str) -> None:
        """Have a conversation opened; nothing happens to one that is open, or about to be."""
        self._ask(conversation, "start")

    def stop(self, conversation: str) -> None:
        """Have a conversation closed, with a goodbye; nothing happens to one that is closed."""
        self._ask(conversation, "stop")

    def find_state(self, conversation: str) -> str:
        """Return "closed", "queued", "connecting", "connected" or "waiting" (to connect again); "" if there is none."""
        return self._find_state(conversation)
