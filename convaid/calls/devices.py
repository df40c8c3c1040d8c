"""Plugins' devices as whoever keeps devices wants them: functions of this loop, whose code runs in a room (floor 5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio
from attrs import define, field

from convaid.calls.loops import Steps
from convaid.calls.room import Room
from convaid.devices.offered import Give, PluginDevices, Take
from convaid.plugins.devices import Play, Record

__all__ = ["find_device"]


def find_device(rooms: Iterable[Room], name: str) -> PluginDevices | None:
    """Return the plugin's device of this name, for one conversation; None where there is none."""
    for room in rooms:
        for device in room.plugin.devices:
            if device.name == name:
                record = _bind_recorder(device.record, _Turns(room, f"microphone {name}")) if device.record else None
                play = _bind_player(device.play, _Turns(room, f"speaker {name}")) if device.play else None
                return PluginDevices(name, device.rate, record, play)
    return None


def make_over() -> trio.Event:
    over = trio.Event()
    over.set()
    return over


@define(eq=False)
class _Turns:
    """Runs a plugin's function in its room, one run at a time: where one is slow to end, the next waits for it."""

    room: Room
    name: str
    _over: trio.Event = field(factory=make_over, init=False)

    async def run(self, steps: Steps) -> str:
        """Return why it is over, in words for the log. Cancelled, it asks the function to end, and does not wait."""
        await self._over.wait()
        over = self._over = trio.Event()
        reason = ""

        def note_end(why: str) -> None:
            nonlocal reason
            reason = why
            over.set()

        end = self.room.perform(self.name, steps, note_end)
        try:
            await over.wait()
        finally:
            end()
        return reason


def _bind_recorder(record: Record, turns: _Turns) -> Callable[[Give], Awaitable[str]]:
    async def run(give: Give) -> str:
        is_over = False

        def give_in_time(pcm: bytes) -> None:
            if not is_over:
                give(pcm)

        try:
            return await turns.run(partial(record, give_in_time))
        finally:
            is_over = True

    return run


def _bind_player(play: Play, turns: _Turns) -> Callable[[Take], Awaitable[str]]:
    async def run(take: Take) -> str:
        is_over = False

        def take_in_time(size: int) -> bytes:
            return bytes(size) if is_over else take(size)

        try:
            return await turns.run(partial(play, take_in_time))
        finally:
            is_over = True

    return run
