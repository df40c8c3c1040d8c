"""The event loop in a plugin's room, as far as a room needs one: trio's; `asyncio_loop` has the other (floor 5)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType
from typing import Any, Protocol

import trio

__all__ = ["Event", "Job", "Loop", "Steps", "TrioLoop"]

Steps = Callable[..., Awaitable[None]]


class Event(Protocol):
    """What both libraries mean by it."""

    def set(self) -> None: ...

    async def wait(self) -> object: ...


class Job(Protocol):
    """A task on a loop."""

    @property
    def is_cancelled(self) -> bool:
        """It has been asked to end: its loop has turned since."""
        ...

    def cancel(self) -> None:
        """Ask it to end; on its loop only."""

    def walk_stack(self) -> Iterator[tuple[FrameType, int]]:
        """Yield the frames and lines at which it is suspended, innermost first; from any thread, which may raise
        AttributeError or TypeError where it moves on meanwhile."""
        ...


class Loop(ABC):
    """An event loop in a thread. All of it belongs to that thread, but for `post`."""

    @abstractmethod
    def run(self, live: Steps) -> None:
        """Turn until ``live`` returns, and raise what it raises; `end_life` makes both come early."""

    @abstractmethod
    def post(self, act: Callable[..., object], *args: object) -> None:
        """Have a callback run on the loop, if it turns; from any thread."""

    @abstractmethod
    def end_life(self) -> None:
        """Cancel ``live``, which then counts as having returned."""

    @abstractmethod
    def open_jobs(self) -> AbstractAsyncContextManager[None]:
        """Jobs may be started inside; at the end all are cancelled, and have ended."""

    @abstractmethod
    def start_job(self, name: str, steps: Steps, *args: object) -> Job:
        """Start a task that raises nothing, in a context (``contextvars``) of its own."""

    @abstractmethod
    def make_event(self) -> Event: ...

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Let a job of the loop's rest."""

    @abstractmethod
    async def checkpoint(self) -> None:
        """Let others have their turn."""

    @abstractmethod
    def is_cancellation(self, error: BaseException) -> bool:
        """Whether this was raised in the current task because it is to end."""


class TrioLoop(Loop):
    def __init__(self, clock: trio.abc.Clock | None = None) -> None:
        """``clock`` stands in for the machine's."""
        self._clock = clock
        self._token: trio.lowlevel.TrioToken | None = None
        self._life = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    def run(self, live: Steps) -> None:
        trio.run(self._live, live, clock=self._clock)

    async def _live(self, live: Steps) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._life:
            await live()

    def post(self, act: Callable[..., object], *args: object) -> None:
        if self._token is not None:
            try:  # contextlib.suppress would be three calls more, in every tool call
                self._token.run_sync_soon(act, *args)
            except trio.RunFinishedError:
                return

    def end_life(self) -> None:
        self._life.cancel()

    @asynccontextmanager
    async def open_jobs(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as self._nursery:
            try:
                yield
            finally:
                self._nursery.cancel_scope.cancel()

    def start_job(self, name: str, steps: Steps, *args: object) -> Job:
        assert self._nursery is not None
        job = _TrioJob()
        self._nursery.start_soon(job.run, steps, *args, name=name)
        return job

    def make_event(self) -> Event:
        return trio.Event()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    def is_cancellation(self, error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):  # of a nursery whose tasks were cancelled with it
            return error.split(trio.Cancelled)[1] is None
        return isinstance(error, trio.Cancelled)


class _TrioJob:
    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None

    @property
    def is_cancelled(self) -> bool:
        return self._scope.cancel_called

    def cancel(self) -> None:
        self._scope.cancel()

    def walk_stack(self) -> Iterator[tuple[FrameType, int]]:
        return reversed([] if self._task is None else list(self._task.iter_await_frames()))

    async def run(self, steps: Steps, *args: Any) -> None:
        self._task = trio.lowlevel.current_task()
        with self._scope:
            await steps(*args)
