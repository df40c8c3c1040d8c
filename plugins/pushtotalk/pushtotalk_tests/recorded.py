"""What a plugin asks of its conversation, written down in place of a daemon."""

from __future__ import annotations

from collections.abc import Callable

import trio

from convaid.plugins.activation import Activation, Wish
from convaid.plugins.listening import Blocks

__all__ = ["LIMIT", "Recorded", "make_activation", "wait_until"]

LIMIT = 20.0  # seconds: longer than anything here takes


class Recorded:
    """Does as a daemon would with one conversation; ``timed`` is what it was asked for, and when, on trio's clock."""

    def __init__(self) -> None:
        self.timed: list[tuple[float, str]] = []
        self.troubles: dict[str, str] = {}
        self.state = "closed"
        self._is_muted = False

    @property
    def acts(self) -> list[str]:
        return [act for _, act in self.timed]

    async def wait_acts(self, *acts: str) -> None:
        """Wait until it has been asked for exactly these."""
        await wait_until(lambda: self.acts == list(acts))

    async def wait_trouble(self, source: str, words: str) -> None:
        """Wait until there is a trouble with these words, or with "", until there is none."""

        def is_told() -> bool:
            told = self.troubles.get(source)
            return told == words or bool(told and words and words in told)

        await wait_until(is_told)

    def ask(self, wish: Wish) -> None:
        self.timed.append((trio.current_time(), wish.act))
        if wish.act in ("start", "stop"):
            self.state = "connected" if wish.act == "start" else "closed"
        elif wish.act in ("mute", "unmute"):
            self._is_muted = wish.act == "mute"

    def find_state(self, conversation: str) -> str:
        return self.state

    def is_muted(self, conversation: str) -> bool:
        return self._is_muted

    def attend(self, blocks: Blocks) -> None:
        raise AssertionError("nobody listens here")

    def leave(self, blocks: Blocks) -> None:
        raise AssertionError("nobody listens here")

    def report(self, source: str, trouble: str) -> None:
        self.troubles[source] = trouble


async def wait_until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(LIMIT):
        while not is_so():  # noqa: ASYNC110 - not everything here has an event
            await trio.sleep(0.001)


def make_activation(*conversations: str) -> tuple[Activation, Recorded]:
    recorded = Recorded()
    return Activation(conversations or ("kitchen",), recorded), recorded
