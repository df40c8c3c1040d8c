"""Where a plugin's `process` tools run: worker processes, one for each running call (floor 5).

A process serves one call after the other, and one is always ready, or soon will be, so that a call need not wait for
Python to start and the plugin to be imported. Whatever a call does to its process costs that call alone: at its
deadline, or when it breaks the rules, the process is killed, and all of its group.

What this does not do: it is no sandbox. A tool has the daemon's user, files and network, and a program that leaves its
process group escapes.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from collections import deque
from collections.abc import Collection
from functools import partial

import trio
from attrs import define, field, frozen
from outcome import Value

from convaid.calls.answers import Ending, describe_lack_of_threads, describe_stop
from convaid.calls.process import Process, open_process
from convaid.calls.run import Run
from convaid.config.secrets import names_secret
from convaid.plugins.loading import Plugin

__all__ = ["Processes", "ProcessesState", "make_environment"]

logger = logging.getLogger(__name__)

STARTS_AT_ONCE = 2  # a start is half a second of work: until then, processes that run calls may be free again
SPARE_DELAY = 0.1  # seconds that a call may take without another process being started for the next
IDLE_END_DELAY = 10.0  # seconds until a process is replaced that ended while it was idle: the next may do so, too
IDLE_LIMIT = 60.0  # seconds until an idle process that is not the only one is ended
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd's, of the daemon


@frozen
class ProcessesState:
    """What there is, and what has been."""

    busy: int
    idle: int
    starting: int
    killed: int
    """How many were killed because their call's time was over, or nobody wanted it any more."""
    crashed: int
    """How many ended by themselves in a call, or were killed because they broke the rules."""


@define(eq=False)
class Processes:
    """The processes of one plugin. All of it belongs to the conversations' loop."""

    plugin: Plugin
    _environment: dict[str, str]
    failure: str = field(default="", init=False)
    """Why no process could be started the last time; each call that finds none tries again."""
    _live: set[Process] = field(factory=set, init=False)
    """Those that have loaded the plugin."""
    _idle: list[Process] = field(factory=list, init=False)
    """The one that is used next is the last, so that those too many grow old."""
    _waiting: deque[Run] = field(factory=deque, init=False)
    _starting: int = field(default=0, init=False)
    _ending: int = field(default=0, init=False)
    _awaits_spare: bool = field(default=False, init=False)
    _killed: int = field(default=0, init=False)
    _crashed: int = field(default=0, init=False)
    _nursery: trio.Nursery | None = field(default=None, init=False)
    _ended: trio.Event = field(factory=trio.Event, init=False)

    @property
    def state(self) -> ProcessesState:
        busy = len(self._live) - len(self._idle)
        return ProcessesState(busy, len(self._idle), self._starting, self._killed, self._crashed)

    @property
    def is_changing(self) -> bool:
        """Whether a process is starting or ending, which takes its time on the machine's clock."""
        return self._starting > 0 or self._ending > 0

    async def open(self) -> None:
        """Nothing needs to be waited for: `watch` starts the first process."""

    async def watch(self) -> None:
        """Keep the processes, and one that is idle, until `close`; then kill them all."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._start_process()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for run in self._waiting:
                run.finish(Value(describe_stop(run)))
            self._ended.set()

    async def close(self) -> None:
        """Kill all processes and wait until they are gone, for a limited time."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):  # each has a limit of its own
                await self._ended.wait()

    def start(self, run: Run) -> None:
        """Begin a run, in a process of its own; `Run.finish` is told of its end."""
        if self._idle:
            process = self._idle.pop()
            process.run = run
            process.given.set()
        else:
            self._waiting.append(run)
        self._provide()

    def cancel(self, run: Run) -> None:
        """Kill the run's process."""
        if run in self._waiting:
            self._waiting.remove(run)
            run.finish(Value(describe_stop(run)))
        for process in self._live:
            if process.run is run:
                self._killed += 1
                process.life.cancel()

    def _provide(self, spare_delay: float = SPARE_DELAY) -> None:
        """See to it that there are processes for the calls that wait, and soon one for the next."""
        if self._nursery is None:
            return
        while self._starting < min(len(self._waiting), STARTS_AT_ONCE):
            self._start_process()
        if not self._idle and not self._starting and not self._awaits_spare:
            self._awaits_spare = True
            self._nursery.start_soon(self._bring_spare, spare_delay)

    async def _bring_spare(self, delay: float) -> None:
        await trio.sleep(delay)
        self._awaits_spare = False
        if not self._idle and not self._starting and not self.failure:
            self._start_process()

    def _start_process(self) -> None:
        assert self._nursery is not None
        self._starting += 1
        self._nursery.start_soon(self._keep_process, name=f"a process of {self.plugin.name}")

    async def _keep_process(self) -> None:
        """See one process from its start to its end."""
        await trio.lowlevel.checkpoint()  # where all is at its end, none is started any more
        try:
            process = await open_process(self.plugin, self._environment)
        except (OSError, RuntimeError) as error:  # RuntimeError: the system gives us no more threads
            self._note_start(str(error))
            return
        failure = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.log_output)
            nursery.start_soon(process.notice_end)
            try:
                with process.life:
                    failure = await process.prepare()
                    self._note_start(failure)
                    if not failure:
                        self._live.add(process)
                        await self._serve(process)
            finally:
                self._ending += 1
                self._live.discard(process)
                if process in self._idle:
                    self._idle.remove(process)
                await process.end()
                if failure is None:
                    self._note_start(process.fault)  # "" where we are at the end
                await self._see_off(process)
                self._ending -= 1
            nursery.cancel_scope.cancel()

    def _note_start(self, failure: str) -> None:
        self._starting -= 1
        self.failure = failure
        if not failure:
            return
        logger.error("no process of %s can be used: %s", self.plugin, failure)
        while self._waiting and not self._live:
            run = self._waiting.popleft()
            name = run.call.tool_name
            text = f'The tool "{name}" is out of service: no process starts for it. Do not call it again soon.'
            run.finish(Value(("error", text)))

    async def _serve(self, process: Process) -> None:
        """Have a process run one call after the other, until it cannot run another."""
        while run := await self._take_run(process):
            process.is_at_work = True
            is_clean = True
            # The journal is ours, and not for the process.
            if run.journal is not None and (refusal := await _note_begin(run)):
                process.run = None
                run.finish(Value(refusal))
            elif report := await process.perform(run):
                process.run = None
                ending, is_clean = report
                await _finish(run, ending)
            else:
                return
            process.is_at_work = False
            if not is_clean:
                return

    async def _take_run(self, process: Process) -> Run | None:
        """Wait until there is a call for the process; None if it is not needed any more."""
        if self._waiting:
            process.run = self._waiting.popleft()
            self._provide()
            return process.run
        process.given = trio.Event()
        self._idle.append(process)
        while process.run is None:
            with trio.move_on_after(math.inf if len(self._idle) == 1 else IDLE_LIMIT):
                await process.given.wait()
            if process.run is None and len(self._idle) > 1:
                return None
        return process.run

    async def _see_off(self, process: Process) -> None:
        """A process is gone: say what that means for its call."""
        run = process.run
        if run is not None and (process.is_at_work or run.is_given_up):
            await _finish(run, self._describe_end(process, run))
        elif run is not None:
            self._waiting.appendleft(run)
        self._provide(IDLE_END_DELAY if run is None else SPARE_DELAY)

    def _describe_end(self, process: Process, run: Run) -> Ending:
        if not process.fault:
            return describe_stop(run)
        self._crashed += 1
        name, what = run.call.tool_name, process.fault
        if process.status == -signal.SIGXCPU and run.offer.cpu_limit is not None:
            what = f"it used more than {run.offer.cpu_limit:g} s of processor time"
        logger.error('the process of the tool "%s" is lost: %s', name, what)
        return "error", (
            f'The tool "{name}" failed, with its process: {what}. It may have done part of its work: '
            "do not call it again at once."
        )


async def _note_begin(run: Run) -> Ending | None:
    try:
        return await trio.to_thread.run_sync(run.note_begin)
    except RuntimeError as error:  # the system gives us no more threads
        logger.error('the tool "%s" was not run: %s', run.call.tool_name, error)
        return describe_lack_of_threads(run)


async def _finish(run: Run, ending: Ending) -> None:
    """As `Run.close`, from the conversations' loop."""
    is_awaited = run.end_late is None
    if is_awaited:
        run.finish(Value(ending))
    if run.journal is not None:
        note_end = partial(run.note_end, ending, is_awaited=is_awaited)
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(note_end)
        except RuntimeError as error:  # as above
            logger.error('the end of the tool "%s" is not recorded: %s', run.call.tool_name, error)
    run.finish(Value(ending))


def make_environment(hidden: Collection[str]) -> dict[str, str]:
    """Return our environment for a plugin's processes, without ``hidden`` and whatever is named as secrets are."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and name != CREDENTIALS and not names_secret(name)
    }
