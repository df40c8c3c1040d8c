"""The thread with a trio loop in which everything runs that the fixtures open (floor 6).

Tests stay where they are: in plain functions, under pytest-trio, or under asyncio. To everything in convaid that wants
to be on the conversations' loop, the stage is that loop.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

import trio
from attrs import field, frozen
from outcome import Error, Outcome, acapture, capture

from convaid.testing.clock import Clock
from convaid.testing.pending import Pending

__all__ = ["Stage", "open_stage"]

T = TypeVar("T")

START_LIMIT = 10.0  # seconds for a thread and a loop to begin


@frozen(eq=False)
class Stage:
    """A running loop. Opened by `open_stage`; its methods are for the test's thread."""

    clock: Clock
    _token: trio.lowlevel.TrioToken
    _nursery: trio.Nursery
    _scopes: list[trio.CancelScope] = field(factory=list, init=False)

    def act(self, act: Callable[..., T], *args: Any) -> T:
        """Call a function on the loop, wait until all loops have done what follows from it, return what it returned."""
        __tracebackhide__ = True
        result: Future[T] = Future()
        self._token.run_sync_soon(lambda: _settle(result, capture(act, *args)))
        self.clock.settle()
        return result.result()

    def start(self, steps: Callable[..., Awaitable[T]], *args: Any) -> Pending[T]:
        """Start a task on the loop; returns once it, and whatever it has set off, waits for something."""
        future = self._begin(steps, *args)
        self.clock.settle()
        return Pending(future)

    @contextmanager
    def hold(self, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter and leave a context on the loop; what was started inside, and is not over, is cancelled before."""
        opened: Future[T] = Future()
        leaving = trio.Event()

        async def keep() -> None:
            async with context as value:
                opened.set_result(value)
                await leaving.wait()

        over = self._begin(keep)
        either: list[Future[Any]] = [opened, over]
        wait(either, return_when=FIRST_COMPLETED)
        if not opened.done():
            over.result()
        before = len(self._scopes)
        try:
            yield opened.result()
        finally:
            for scope in self._scopes[before:]:
                self._token.run_sync_soon(scope.cancel)
            self.clock.settle()
            self._token.run_sync_soon(leaving.set)
            over.result()

    def _begin(self, steps: Callable[..., Awaitable[T]], *args: Any) -> Future[T]:
        future: Future[T] = Future()
        scope = trio.CancelScope()
        self._scopes.append(scope)

        async def perform() -> None:
            with scope:
                result = await acapture(steps, *args)
                _settle(future, result)

        self._token.run_sync_soon(self._nursery.start_soon, perform)
        return future


def _settle(future: Future[T], result: Outcome[T]) -> None:
    if isinstance(result, Error):
        future.set_exception(result.error)
    else:
        future.set_result(result.unwrap())


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Start the thread; it ends with the context."""
    clock = Clock()
    started: Future[Stage] = Future()
    ending = trio.Event()

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            started.set_result(Stage(clock, trio.lowlevel.current_trio_token(), nursery))
            await ending.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(
        target=lambda: trio.run(live, clock=clock.make_trio_clock()), name="stage of convaid's tests", daemon=True
    )
    thread.start()
    stage = started.result(START_LIMIT)
    try:
        yield stage
    finally:
        stage._token.run_sync_soon(ending.set)
        thread.join()
