"""A plugin whose microphone and speaker are Unix sockets: raw PCM comes from one, and goes to the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from attrs import frozen

from convaid import AudioDevice, hookimpl

RATE = 16000
STEP = 0.02  # seconds played at a time
SIZE = round(RATE * STEP) * 2


@frozen
class Settings:
    """``folder`` has the sockets: ``microphone``, and ``speaker``."""

    folder: Path


@hookimpl
def convaid_settings() -> type:
    return Settings


@hookimpl
def convaid_devices(settings: Settings) -> list[AudioDevice]:
    return [AudioDevice("socket", partial(record, settings.folder), partial(play, settings.folder), RATE)]


async def record(folder: Path, give: Callable[[bytes], None]) -> None:
    async with await trio.open_unix_socket(folder / "microphone") as stream:
        while pcm := await stream.receive_some():
            give(pcm)


async def play(folder: Path, take: Callable[[int], bytes]) -> None:
    async with await trio.open_unix_socket(folder / "speaker") as stream:
        due = trio.current_time()
        while True:
            await stream.send_all(take(SIZE))
            due += STEP
            await trio.sleep_until(due)
