"""Which conversations are open: those that always are, that somebody asks for, that have their hours (floor 6).

Each is kept by a task of its own, so that one that fails or floods touches no other. At most ``pool_size`` are open at
once; whoever comes then waits in the queue, and is refused where that is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

import trio
from attrs import define, field

from convaid.errors import ConvaidError
from convaid.structuring import nearest
from convaid.supervisor import Conversation, keep_conversing
from convaid.timetable import Timetable

__all__ = ["Keeper", "Keeping", "Pool", "Refused", "State", "UnknownConversation"]

State = Literal["closed", "queued", "connecting", "connected", "waiting"]
"""Of a conversation: nobody wants it; it waits for a place in the pool; it is being connected; the agent is there; it
waits to connect again."""

TIMETABLE_INTERVAL = 20.0  # seconds between two looks at the wall clock, which may jump


class Refused(ConvaidError):
    """A conversation cannot be started now; the message says why, and when it may be."""


class UnknownConversation(ConvaidError):
    """There is no conversation of this name."""


@define(eq=False)
class Pool:
    """The places of conversations that are open at once, and the queue before them, first come, first served."""

    size: int
    queue_size: int
    taken: set[str] = field(init=False, factory=set)
    queue: dict[str, Callable[[], None]] = field(init=False, factory=dict)
    """Who waits, and what tells them that they are in."""

    @property
    def is_full(self) -> bool:
        """Whether there is neither a place nor room in the queue."""
        return len(self.taken) >= self.size and len(self.queue) >= self.queue_size

    def enter(self, name: str, admitted: Callable[[], None]) -> None:
        """Take a place, or one in the queue; ``admitted`` is called once the name is among ``taken``."""
        self.queue[name] = admitted
        self.admit()

    def leave(self, name: str) -> None:
        """Give up a place, or the wait for one."""
        self.queue.pop(name, None)
        self.taken.discard(name)
        self.admit()

    def admit(self) -> None:
        """Let in those of the queue for whom there are places."""
        while self.queue and len(self.taken) < self.size:
            name = next(iter(self.queue))
            admitted = self.queue.pop(name)
            self.taken.add(name)
            admitted()


@define(eq=False)
class Keeping:
    """One conversation of the configuration, open or not."""

    conversation: Conversation
    pool: Pool
    is_wanted: bool = field(init=False)
    _is_over: bool = field(init=False, default=False)
    """It will not be opened again."""
    _changed: trio.Event = field(init=False, factory=trio.Event)
    closed: trio.Event = field(init=False, factory=trio.Event)
    """Set when its task has ended."""

    def __attrs_post_init__(self) -> None:
        self.is_wanted = self.conversation.settings.start in ("always", "once")

    @property
    def name(self) -> str:
        return self.conversation.name

    @property
    def state(self) -> State:
        conversation = self.conversation
        if conversation.is_connected:
            return "connected"
        if conversation.retry is not None:
            return "waiting"
        if self.name in self.pool.queue:
            return "queued"
        return "connecting" if self.name in self.pool.taken else "closed"

    @property
    def since(self) -> float:
        """When it came into this state, on trio's clock."""
        session = self.conversation.session
        if session is not None and session.connected_at is not None and self.conversation.is_connected:
            return session.connected_at
        return self.conversation.changed_at

    def start(self) -> None:
        """Have it opened, if it is not. Raises `Refused` where no more are let in."""
        if self.is_wanted and not self._is_over:
            return
        try:
            self._let_in()
        except Refused:
            self.conversation.chime("error")
            raise
        self._want()

    def _let_in(self) -> None:
        """Raise `Refused` where it may not be opened now."""
        if self._is_over:
            raise Refused(f"{self.name} was to be held once, or its settings change, or its daemon ends: it is over")
        if self.pool.is_full:
            raise Refused(
                f"{len(self.pool.taken)} conversations are open and {len(self.pool.queue)} wait: "
                "end one, or raise pool_size or queue_size in [daemon]"
            )
        budget = self.conversation.budget
        if budget is not None and (refusal := budget.find_refusal(self.name)):
            raise Refused(refusal.reason)

    def stop(self) -> None:
        """Have it closed, with a goodbye; it stays so until it is started, or its hours begin."""
        self.is_wanted = False
        self.conversation.stop.set()
        self._notice_change()

    def end(self) -> None:
        """Have it closed for good."""
        self._is_over = True
        self.stop()

    async def run(self) -> None:
        """Keep it, until its end."""
        try:
            async with trio.open_nursery() as nursery:
                sound = self.conversation.sound
                if sound is not None:
                    nursery.start_soon(sound.run)
                if self.conversation.settings.start == "schedule":
                    nursery.start_soon(self._follow_timetable)
                while not self._is_over:
                    if self.is_wanted:
                        await self._open()
                    else:
                        await self._changed.wait()
                if sound is not None:
                    await sound.finish()
                nursery.cancel_scope.cancel()
        finally:
            self.closed.set()

    async def _open(self) -> None:
        conversation = self.conversation
        conversation.changed_at = trio.current_time()
        self.pool.enter(self.name, self._notice_change)
        try:
            while self.is_wanted and self.name not in self.pool.taken:
                await self._changed.wait()
            if self.is_wanted:
                conversation.stop = trio.Event()  # it may have been stopped in the queue, and started again
                await keep_conversing(conversation)
        finally:
            self.pool.leave(self.name)
            conversation.changed_at = trio.current_time()
        if conversation.settings.start == "once":
            self._is_over = True
        elif conversation.settings.start == "on_demand" and not conversation.stop.is_set():
            self.is_wanted = False  # it has ended by itself; whoever has stopped it may have asked for it again

    async def _follow_timetable(self) -> None:
        timetable, was_open = Timetable.parse(self.conversation.settings.schedule), False
        while True:
            is_open = timetable.is_open(datetime.now())
            if is_open and not was_open:
                self._want()
            elif was_open and not is_open:
                self.stop()
            was_open = is_open
            await trio.sleep(TIMETABLE_INTERVAL)

    def _want(self) -> None:
        self.is_wanted = True
        self._notice_change()

    def _notice_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Keeper:
    """All conversations of a daemon, each run in a task of the nursery, which is the caller's."""

    def __init__(self, nursery: trio.Nursery, pool: Pool) -> None:
        self.pool = pool
        self.is_ending = False
        self._nursery = nursery
        self._kept: dict[str, Keeping] = {}

    def __iter__(self) -> Iterator[Keeping]:
        """All of them, in the order of the configuration."""
        return iter(self._kept.values())

    def get(self, name: str) -> Keeping | None:
        """The conversation of this name, if there is one; from any thread."""
        return self._kept.get(name)

    def find(self, name: str) -> Keeping:
        """The conversation of this name. Raises `UnknownConversation`, which says which there are."""
        if name in self._kept:
            return self._kept[name]
        close = nearest(name, self._kept)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(self._kept) or 'none'}"
        raise UnknownConversation(f'there is no conversation "{name}"; {hint}')

    def add(self, conversation: Conversation, *, is_wanted: bool | None = None) -> Keeping:
        """Keep one more; ``is_wanted``: whether it is opened at once, where that is not for its settings to say."""
        keeping = Keeping(conversation, self.pool)
        keeping.is_wanted = keeping.is_wanted if is_wanted is None else is_wanted
        if self.is_ending:
            keeping.end()
        self._kept[conversation.name] = keeping
        self._nursery.start_soon(keeping.run, name=f"conversation {conversation.name}")
        return keeping

    async def close(self, name: str) -> Keeping:
        """Close one for good, and wait until that is done; another of its name may be added in its place then."""
        keeping = self._kept[name]
        keeping.end()
        await keeping.closed.wait()
        return keeping

    def remove(self, name: str) -> None:
        """Forget one that is closed for good."""
        del self._kept[name]

    @property
    def is_over(self) -> bool:
        """Nothing is kept any more, and nothing can be."""
        return all(keeping.closed.is_set() for keeping in self)

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """While all may be removed, and others added, it is not over. To be begun before it is."""
        is_done = trio.Event()
        self._nursery.start_soon(is_done.wait)
        try:
            yield
        finally:
            is_done.set()

    def end(self) -> None:
        """Close all of them for good, and whatever is added from now on."""
        self.is_ending = True
        for keeping in self._kept.values():
            keeping.end()
