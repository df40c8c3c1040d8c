"""The event loop in the room of a plugin that needs asyncio (floor 5). Imported where there is one, and only there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import partial
from types import FrameType
from typing import Any

import trio

from convaid.calls.loops import Event, Job, Loop, Steps

__all__ = ["AsyncioLoop"]

logger = logging.getLogger(__name__)

LEFTOVER_LIMIT = 1.0  # seconds for what a plugin has left running on its loop to be cancelled, and for its generators


class AsyncioLoop(Loop):
    """As `asyncio.run`, except that nothing keeps it: not a task that will not be cancelled, nor a thread of
    `asyncio.to_thread` that does not end, nor a SystemExit in a task."""

    def __init__(self, owner: str, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        """``owner`` says in the log whose loop this is."""
        self._owner = owner
        self._new_loop = new_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = Context()  # for callbacks: not that of whoever posts them
        self._life: asyncio.Task[None] | None = None
        self._is_life_ended = False
        self._jobs: set[_AsyncioJob] = set()

    def run(self, live: Steps) -> None:
        loop = self._new_loop()
        loop.set_exception_handler(self._log_failure)
        loop.set_default_executor(_DaemonThreads())
        self._life = loop.create_task(_run_steps(live), name=self._owner)
        self._loop = loop
        try:
            self._turn(loop, self._life)
        except asyncio.CancelledError:
            if not self._is_life_ended:
                raise
        finally:
            self._turn(loop, loop.create_task(self._end_leftovers(loop)))
            loop.close()

    def _turn(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:  # asyncio stops for these, in whichever task they are
                if task.done():
                    raise
                logger.error("a background task of %s failed", self._owner, exc_info=error)

    async def _end_leftovers(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            _, staying = await asyncio.wait(tasks, timeout=LEFTOVER_LIMIT)
            for task in staying:
                logger.warning("%s leaves a task behind that does not end: %s", self._owner, task.get_name())
        with suppress(TimeoutError):
            async with asyncio.timeout(LEFTOVER_LIMIT):
                await loop.shutdown_asyncgens()

    def _log_failure(self, loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        """asyncio's last resort, for what nobody else has seen: each is logged once, and everything goes on."""
        error = told.get("exception")
        if isinstance(error, SystemExit | KeyboardInterrupt) or (error is None and loop.is_closed()):
            return  # `_turn` or `_end_leftovers` has said so
        logger.error("%s: %s", self._owner, told.get("message"), exc_info=error)

    def post(self, act: Callable[..., object], *args: object) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(act, *args, context=self._context)
            except RuntimeError:  # it is closed
                return

    def end_life(self) -> None:
        assert self._life is not None
        self._is_life_ended = True
        self._life.cancel()

    @asynccontextmanager
    async def open_jobs(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for job in self._jobs:
                job.cancel()
            while self._jobs:
                await asyncio.wait([job.task for job in self._jobs])

    def start_job(self, name: str, steps: Steps, *args: object) -> Job:
        assert self._loop is not None
        task = self._loop.create_task(_run_steps(steps, *args), name=name, context=Context())
        job = _AsyncioJob(task, partial(self._loop.call_soon, context=self._context))
        self._jobs.add(job)
        task.add_done_callback(lambda _: self._jobs.discard(job), context=self._context)
        return job

    def make_event(self) -> Event:
        return asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    def is_cancellation(self, error: BaseException) -> bool:
        task = asyncio.current_task()
        return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class _AsyncioJob:
    def __init__(self, task: asyncio.Task[None], call_soon: Callable[[Callable[[], object]], object]) -> None:
        self.task = task
        self.is_cancelled = False
        self._call_soon = call_soon

    def cancel(self) -> None:
        # Not at once: a task that is cancelled before its first step has no steps, and would never say that it is over.
        self._call_soon(self.task.cancel)
        self.is_cancelled = True

    def walk_stack(self) -> Iterator[tuple[FrameType, int]]:
        frames: list[tuple[FrameType, int]] = []
        awaited: Any = self.task.get_coro()
        while awaited is not None:  # each knows what it awaits; Task.get_stack has the outermost only
            kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
            if kind is None:  # a future
                break
            if (frame := getattr(awaited, f"{kind}_frame")) is not None:
                frames.append((frame, frame.f_lineno))
            awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
        return reversed(frames)


class _DaemonThreads(ThreadPoolExecutor):
    """Where asyncio runs blocking functions: threads of trio's, which no end of a loop or of the process waits for."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def perform() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001  # as in any executor, it is for whoever awaits it
                    future.set_exception(error)
                else:
                    future.set_result(result)

        trio.lowlevel.start_thread_soon(perform, lambda _: None, "asyncio's default executor")
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """There is nothing to be shut down."""


async def _run_steps(steps: Steps, *args: Any) -> None:
    await steps(*args)
