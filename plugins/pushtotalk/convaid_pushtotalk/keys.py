"""Keys of the kernel's input devices (evdev), read as ``linux/input.h`` has them; no compiled package is needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from fcntl import ioctl
from functools import partial
from glob import glob
from struct import Struct

import trio
from attrs import define, field

from convaid.patterns import PatternTimeout, search_text

__all__ = ["watch_key"]

logger = logging.getLogger(__name__)

EVENT = Struct("@llHHi")  # seconds, microseconds, type, code, value: 24 bytes, or 16 where a long has four
EV_SYN, EV_KEY = 0, 1
SYN_DROPPED = 3  # we were too slow, and events are lost
RELEASED, PRESSED = 0, 1  # 2 is a key that repeats itself
EVENTS_READ = 64  # at once
KEY_BYTES = 96  # a bit for each key there is
NAME_SIZE = 256
LOOK_INTERVAL = 1.0  # seconds between two looks for devices that have come


def read_request(number: int, size: int) -> int:
    """The number of a request that reads from an input device: ``_IOC(_IOC_READ, 'E', number, size)``."""
    return 2 << 30 | size << 16 | ord("E") << 8 | number


READ_NAME = read_request(0x06, NAME_SIZE)
READ_PRESSED = read_request(0x18, KEY_BYTES)
READ_KEYS = read_request(0x20 + EV_KEY, KEY_BYTES)


async def watch_key(code: int, device: str, note: Callable[[bool], None], report: Callable[[str], None]) -> None:
    """Tell ``note`` whenever a key is pressed or let go, on each device that fits, whichever come and go; for ever.

    ``device``: a path, which may have wildcards; or a regular expression for names, of devices that have the key. A key
    whose device vanishes is let go. ``report`` is told why there is no such device, and "" when there is.
    """
    keyboards = _Keyboards(code, device, note)
    async with trio.open_nursery() as nursery:
        while True:
            for path in keyboards.find_new():
                if (opened := keyboards.open(path)) is not None:
                    nursery.start_soon(keyboards.follow, path, opened, name=f"key {code} of {path}")
            report(keyboards.find_trouble())
            await trio.sleep(LOOK_INTERVAL)


@define(eq=False)
class _Keyboards:
    """The devices that may have the key."""

    code: int
    device: str
    note: Callable[[bool], None]
    _looked_at: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    """Paths that need no second look, with what would be different if they did."""
    _refused: dict[str, str] = field(factory=dict, init=False)
    """Paths that cannot be read, and why."""
    _followed: set[str] = field(factory=set, init=False)
    _pressed: set[str] = field(factory=set, init=False)

    def find_new(self) -> Iterator[str]:
        """Yield the paths of devices that are not followed, and have not been found unfit."""
        found = sorted(glob(self.device if self.device.startswith("/") else "/dev/input/event*"))
        for path in self._looked_at.keys() - set(found):
            del self._looked_at[path]
            self._refused.pop(path, None)
        for path in found:
            try:
                state = os.stat(path)
            except OSError:  # it has gone meanwhile
                continue
            mark = (state.st_ino, state.st_ctime_ns)  # of another device, or other permissions
            if path not in self._followed and self._looked_at.get(path) != mark:
                self._looked_at[path] = mark
                yield path

    def find_trouble(self) -> str:
        """Why there is nothing to follow, in words for the user; "" if there is."""
        if self._followed:
            return ""
        if self._refused:
            path, why = next(iter(self._refused.items()))
            return f"{path} cannot be read: {why}"
        return f'there is no input device "{self.device}"' if self.device else "there is no input device with this key"

    def open(self, path: str) -> int | None:
        """Open a device, which is not kept from others; None if it cannot be, or does not fit."""
        self._refused.pop(path, None)
        try:
            device = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._refused[path] = error.strerror or str(error)
            if isinstance(error, PermissionError):
                self._refused[path] += "; whoever runs convaid belongs into the group input"
            else:
                del self._looked_at[path]  # it may be a moment later
            return None
        if self._fits(device):
            self._followed.add(path)
            return device
        os.close(device)
        return None

    def _fits(self, device: int) -> bool:
        if self.device.startswith("/"):
            return True
        try:
            keys = ioctl(device, READ_KEYS, bytes(KEY_BYTES))
            name = ioctl(device, READ_NAME, bytes(NAME_SIZE)).partition(b"\0")[0].decode(errors="replace")
            return has_bit(keys, self.code) and search_text(self.device, name) is not None
        except OSError:  # it is gone, or is no input device
            return False
        except PatternTimeout as error:
            logger.warning("%s", error)
            return False

    async def follow(self, path: str, device: int) -> None:
        """Follow the key on an open device until that is gone; closes it."""
        logger.info("key %d is looked for on %s", self.code, path)
        try:
            await read_key(device, self.code, partial(self._note, path))
        except OSError as error:
            logger.info("%s is gone: %s", path, error.strerror)
        finally:
            os.close(device)
            self._followed.discard(path)
            self._looked_at.pop(path, None)
            self._note(path, False)

    def _note(self, path: str, is_pressed: bool) -> None:
        was_pressed = bool(self._pressed)
        if is_pressed:
            self._pressed.add(path)
        else:
            self._pressed.discard(path)
        if bool(self._pressed) != was_pressed:
            self.note(not was_pressed)


async def read_key(device: int, code: int, tell: Callable[[bool], None]) -> None:
    """Tell when the key is pressed (True) or let go; returns, or raises OSError, when the device is gone."""
    held = b""
    while True:
        await trio.lowlevel.wait_readable(device)
        try:
            read = os.read(device, EVENT.size * EVENTS_READ)
        except BlockingIOError:
            continue
        if not read:
            return
        held += read
        whole = len(held) - len(held) % EVENT.size
        for _, _, kind, number, value in EVENT.iter_unpack(held[:whole]):
            if kind == EV_KEY and number == code and value in (RELEASED, PRESSED):
                tell(value == PRESSED)
            elif kind == EV_SYN and number == SYN_DROPPED:
                tell(has_bit(ioctl(device, READ_PRESSED, bytes(KEY_BYTES)), code))
        held = held[whole:]


def has_bit(bits: bytes, number: int) -> bool:
    return bool(bits[number // 8] >> number % 8 & 1)
