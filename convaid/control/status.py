"""What the daemon says of itself: one value, for the status sentence of systemd, `convaid status` and scripts."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import trio
from attrs import field, frozen

from convaid import __version__
from convaid.calls.processes import ProcessesState
from convaid.keeper import Keeping, State
from convaid.logs import RECENT_WARNINGS, Warned
from convaid.protocol.endings import Retry
from convaid.sound.status import SoundStatus

if TYPE_CHECKING:
    from convaid.calls import ToolCalls
    from convaid.calls.room import Room
    from convaid.calls.run import Run
    from convaid.daemon import Daemon
    from convaid.plugins import Plugin

__all__ = ["ConversationStatus", "LastEnd", "LeftBehind", "PluginStatus", "Resources", "Status", "describe_status"]

LEFT_BEHIND_SHOWN = 20  # tools that go on although given up: to look where each is takes time
NAMED = 3  # things in the sentence; more are counted

PluginState = Literal["ready", "disabled", "broken", "refused", "stuck"]
"""A plugin's own, but for "stuck": nothing moves in its room."""


@frozen
class LastEnd:
    """How the latest session of a conversation ended."""

    cause: str
    code: int | None
    detail: str
    remedy: str
    """What a person can do about it; "" where nothing is wrong."""
    is_wrong: bool
    """It was no normal end."""


@frozen
class ConversationStatus:
    """One conversation of the configuration. Times are Unix seconds, durations seconds."""

    name: str
    state: State
    since: float
    """When it came into this state."""
    start: str
    """Its setting."""
    conversation_id: str | None
    """The platform's, of the session that is open."""
    is_muted: bool
    place: int | None
    """In the queue for the pool, from 1 on."""
    retry_in: float | None
    """Until it connects again, from now."""
    last_end: LastEnd | None
    losses: dict[str, int]
    """What was ignored, dropped or filled up with silence since the daemon began, and how often."""
    sound: SoundStatus | None
    """In conversations by voice."""

    problem: str
    """What is wrong, in a few words; "" if nothing is."""


@frozen
class PluginStatus:
    """One installed plugin."""

    name: str
    version: str
    state: PluginState
    reason: str
    """Why it is not ready, or the line that blocks."""
    stuck_for: float | None
    """Seconds."""
    tools: tuple[str, ...]
    processes: ProcessesState | None
    """Where it has tools that run in processes."""

    @property
    def problem(self) -> str:
        """What is wrong, in a few words; "" if nothing is."""
        if self.state in ("ready", "disabled"):
            return ""
        return f"plugin {self.name} is {self.state}" + (f": {self.reason}" if self.reason else "")


@frozen
class LeftBehind:
    """A tool that was given up, and goes on all the same."""

    tool: str
    conversation: str
    tool_call_id: str
    seconds: float
    """Since its call."""
    place: str
    """The line where its code is, or was."""


@frozen
class Resources:
    """What the process uses. None of it grows with time."""

    memory: float
    """Resident, in MiB."""
    descriptors: int
    """Open files and sockets."""
    threads: int
    tasks: int
    """Of the conversations' loop."""


@frozen
class Status:
    """All of it. ``since`` is in Unix seconds."""

    version: str
    pid: int
    since: float
    state: Literal["starting", "ready", "stopping"]
    conversations: tuple[ConversationStatus, ...] = ()
    plugins: tuple[PluginStatus, ...] = ()
    calls_running: int = 0
    left_behind: tuple[LeftBehind, ...] = ()
    """The latest."""
    left_behind_count: int = 0
    approvals_pending: int = 0
    budget: dict[str, dict[str, float]] = field(factory=dict)
    """What has been used, of "all" and by conversation: minutes of this day and month, starts of the last hour."""
    troubles: tuple[str, ...] = ()
    """What else does not work just now, a sentence each."""
    warnings: tuple[Warned, ...] = ()
    """What the log has warned of since the daemon began, each kind once, the latest last; most of it is over."""
    readers: int = 0
    """Of the live events, just now."""
    resources: Resources | None = None
    problems: tuple[str, ...] = field(init=False)
    """Everything that is wrong now, a few words each."""
    is_well: bool = field(init=False)
    """Nothing is wrong."""
    sentence: str = field(init=False)
    """All this in one sentence, for ``systemctl status``; it changes only when something does."""

    @problems.default
    def _(self) -> tuple[str, ...]:
        return tuple(self._find_problems())

    @is_well.default
    def _(self) -> bool:
        return not self.problems

    @sentence.default
    def _(self) -> str:
        opened = [each for each in self.conversations if each.state != "closed"]
        connected = [each for each in opened if each.state == "connected"]
        if self.state == "starting":
            return "starting"
        if opened:
            noun = "conversation" if len(opened) == 1 else "conversations"
            first = f"{len(connected)} of {len(opened)} {noun} connected"
        elif self.conversations:
            first = f"no conversation is open ({len(self.conversations)} could be)"
        else:
            first = "there are no conversations"
        if self.state == "stopping":
            first = f"stopping; {first}"
        problems = self.problems
        more = [f"{len(problems) - NAMED} more problems"] if len(problems) > NAMED else []
        return "; ".join([first, *problems[:NAMED], *more])

    def _find_problems(self) -> Iterator[str]:
        yield from filter(None, (each.problem for each in self.conversations))
        yield from filter(None, (each.problem for each in self.plugins))
        if self.left_behind_count:
            last = self.left_behind[-1]
            count = "a tool that was" if self.left_behind_count == 1 else f"{self.left_behind_count} tools that were"
            verb = "goes" if self.left_behind_count == 1 else "go"
            yield f"{count} given up {verb} on ({last.tool}, at {last.place})"
        yield from self.troubles


def describe_status(daemon: Daemon) -> Status:
    """Return what there is to say of a daemon now. To be called on its loop; waits for nothing."""
    since = time.time() - (time.monotonic() - daemon.began_at)
    if daemon.keeper is None:
        return Status(__version__, os.getpid(), since, "starting")
    tool_calls = daemon.tool_calls
    left_behind = [run for run in tool_calls.aftermath.left_behind if run.ending is None]
    troubles = (tool_calls.journal_trouble, daemon.budget.trouble, *daemon.troubles.values())
    return Status(
        version=__version__,
        pid=os.getpid(),
        since=since,
        state="stopping" if daemon.stop.is_set() else "ready",
        conversations=tuple(describe_conversation(keeping) for keeping in daemon.keeper),
        plugins=tuple(describe_plugins(tool_calls)),
        calls_running=len(tool_calls.running),
        left_behind=tuple(describe_left_behind(run) for run in left_behind[-LEFT_BEHIND_SHOWN:]),
        left_behind_count=len(left_behind),
        approvals_pending=len(daemon.desk.open) if daemon.desk is not None else 0,
        budget=daemon.budget.describe(),
        troubles=tuple(filter(None, troubles)),
        warnings=tuple(RECENT_WARNINGS.get_latest()),
        readers=daemon.feed.count_readers() if daemon.feed is not None else 0,
        resources=measure_resources(),
    )


def measure_resources() -> Resources:
    """Return what the process uses. To be called on the conversations' loop."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return Resources(
        memory=round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # without the one that lists them
        threads=threading.active_count(),
        tasks=trio.lowlevel.current_statistics().tasks_living,
    )


def describe_conversation(keeping: Keeping) -> ConversationStatus:
    """Return the state of one conversation."""
    conversation, now = keeping.conversation, trio.current_time()
    end, retry, session = conversation.last_end, conversation.retry, conversation.session
    losses = Counter(conversation.losses)
    if session is not None:
        losses.update(session.count_losses())
    sound = None
    if conversation.sound is not None:
        sound = conversation.sound.describe(session.audio_ages if session is not None else ())
    waited = now - keeping.since
    problem = find_sound_problem(keeping.name, sound)
    if end is not None and end.retry is not Retry.NO:
        if retry is not None:  # its whole delay: a sentence that changes every second is none
            problem = f"{keeping.name} waits {retry.delay:.0f} s: {end.cause}"
        elif keeping.state == "closed" and not conversation.stop.is_set():
            problem = f"{keeping.name} is closed: {end.cause}"
    queue = list(keeping.pool.queue)
    return ConversationStatus(
        name=keeping.name,
        state=keeping.state,
        since=time.time() - waited,
        start=conversation.settings.start,
        conversation_id=session.side.conversation_id if session is not None else None,
        is_muted=conversation.is_muted,
        place=queue.index(keeping.name) + 1 if keeping.name in queue else None,
        retry_in=max(0.0, retry.delay - waited) if retry is not None else None,
        last_end=LastEnd(str(end.cause), end.code, end.detail, end.remedy, end.retry is not Retry.NO) if end else None,
        losses=dict(losses),
        sound=sound,
        problem=problem,
    )


def find_sound_problem(name: str, sound: SoundStatus | None) -> str:
    """What is wrong with a conversation's devices, in a few words; "" if nothing is."""
    for role, device in (("microphone", sound.microphone), ("speaker", sound.speaker)) if sound is not None else ():
        if device.state in ("lost", "silent", "failed"):
            return f"the {role} of {name} is {device.state}" + (f": {device.detail}" if device.detail else "")
    return ""


def describe_plugins(tool_calls: ToolCalls) -> Iterator[PluginStatus]:
    """Yield the state of each installed plugin."""
    rooms: dict[str, Room] = {room.plugin.name: room for room in tool_calls.rooms}
    for plugin in tool_calls.plugins:
        yield describe_plugin(plugin, rooms.get(plugin.name), tool_calls.find_processes(plugin.name))


def describe_plugin(plugin: Plugin, room: Room | None, processes: ProcessesState | None) -> PluginStatus:
    """Return the state of one plugin; ``room`` and ``processes`` are its own, if it has any."""
    state: PluginState = plugin.status
    reason, stuck_for = plugin.reason, None
    if room is not None and room.stuck_since is not None:
        state, reason, stuck_for = "stuck", room.stuck_at, trio.current_time() - room.stuck_since
    tools = tuple(tool.name for tool in plugin.tools)
    return PluginStatus(plugin.name, plugin.version, state, reason, stuck_for, tools, processes)


def describe_left_behind(run: Run) -> LeftBehind:
    """Return where a tool is that goes on although it was given up."""
    seconds = trio.current_time() - run.began_at
    return LeftBehind(run.call.tool_name, run.conversation, run.call.tool_call_id, seconds, run.locate())
