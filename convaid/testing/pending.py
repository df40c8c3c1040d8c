"""What will come from the test kit's loop: waited for in a plain test, awaited in an async one (floor 6)."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic, TypeVar

import trio
from attrs import define

from convaid.errors import ConvaidError

__all__ = ["KitError", "Pending"]

T = TypeVar("T")

WAIT_LIMIT = 60.0  # seconds


class KitError(ConvaidError):
    """A test uses the test kit in a way that cannot be."""


@define(eq=False)
class Pending(Generic[T]):
    """A value that is on its way. ``pending.wait()`` in a plain test, ``await pending`` under trio or asyncio."""

    _future: Future[T]

    @property
    def has_come(self) -> bool:
        return self._future.done()

    def wait(self, within: float = WAIT_LIMIT) -> T:
        """Return the value. Raises TimeoutError after so many seconds of the machine's clock."""
        __tracebackhide__ = True
        try:
            return self._future.result(within)
        except TimeoutError:
            if self._future.done():
                raise
            raise TimeoutError(
                f'nothing came in {within:g} s; if it waits for time to pass, move the fixture "clock"'
            ) from None

    def __await__(self) -> Generator[Any, Any, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        if not trio.lowlevel.in_trio_run():
            import asyncio

            async with asyncio.timeout(WAIT_LIMIT):
                return await asyncio.wrap_future(self._future)
        refuse_autojump()
        come, token = trio.Event(), trio.lowlevel.current_trio_token()

        def tell(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(come.set)

        self._future.add_done_callback(tell)
        with trio.fail_after(WAIT_LIMIT):
            await come.wait()
        return self._future.result()


def refuse_autojump() -> None:
    """Raise KitError if the test's own loop is on a clock that would run away while it waits for us."""
    import sys

    testing = sys.modules.get("trio.testing")  # who has such a clock has imported it
    clock = trio.lowlevel.current_clock()
    if testing is not None and isinstance(clock, testing.MockClock) and clock.autojump_threshold < float("inf"):
        raise KitError(
            "this test is on trio's autojump clock, which would run away: it jumps to the next deadline while tools "
            'run in threads of their own. Use convaid\'s fixture "clock" instead of "autojump_clock", and '
            "clock.move(seconds) where time is to pass"
        )
