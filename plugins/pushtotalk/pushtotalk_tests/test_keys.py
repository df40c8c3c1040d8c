"""Keys: what the kernel writes, into a FIFO in place of a device."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from convaid_pushtotalk import attend, keys
from convaid_pushtotalk.key_codes import KEY_CODES
from convaid_pushtotalk.keys import EV_KEY, EV_SYN, EVENT, READ_KEYS, READ_NAME, READ_PRESSED, SYN_DROPPED
from convaid_pushtotalk.settings import Button

from .recorded import make_activation

F13, SPACE = KEY_CODES["f13"], KEY_CODES["space"]
HEADER = Path("/usr/include/linux/input-event-codes.h")
SOURCE = "pushtotalk, key F13"


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOOK_INTERVAL", 0.01)


def write_key(code: int, value: int) -> bytes:
    """What the kernel writes when a key is pressed (1), repeats itself (2), or is let go (0)."""
    scan = EVENT.pack(0, 0, 4, 4, 458856)  # beside each: which key of the keyboard's own counting it was
    return scan + EVENT.pack(0, 0, EV_KEY, code, value) + EVENT.pack(0, 0, EV_SYN, 0, 0)


@contextmanager
def plug_in(path: Path) -> Iterator[Callable[[bytes], int]]:
    """A keyboard is there, and what it writes can be written; at the end it is unplugged."""
    os.mkfifo(path)
    keyboard = os.open(path, os.O_RDWR)
    try:
        yield lambda written: os.write(keyboard, written)
    finally:
        path.unlink()
        os.close(keyboard)


async def test_a_key_is_held_and_let_go(tmp_path: Path, nursery: trio.Nursery) -> None:
    activation, recorded = make_activation()
    with plug_in(tmp_path / "event7") as write:
        nursery.start_soon(attend, Button(key="F13", device=f"{tmp_path}/event*"), activation)
        await recorded.wait_acts("mute")
        await recorded.wait_trouble(SOURCE, "")
        write(write_key(SPACE, 1) + write_key(F13, 1)[:30])
        write(write_key(F13, 1)[30:] + write_key(F13, 2) + write_key(SPACE, 0))
        await recorded.wait_acts("mute", "unmute", "interrupt", "start")
        write(write_key(F13, 0))
        await recorded.wait_acts("mute", "unmute", "interrupt", "start", "mute")
    nursery.cancel_scope.cancel()


async def test_an_unplugged_keyboard_lets_go_and_is_waited_for(tmp_path: Path, nursery: trio.Nursery) -> None:
    activation, recorded = make_activation()
    path = tmp_path / "event7"
    nursery.start_soon(attend, Button(key="F13", device=str(path)), activation)
    await recorded.wait_trouble(SOURCE, f'there is no input device "{path}"')
    with plug_in(path) as write:
        await recorded.wait_trouble(SOURCE, "")
        write(write_key(F13, 1))
        await recorded.wait_acts("mute", "unmute", "interrupt", "start")
    await recorded.wait_acts("mute", "unmute", "interrupt", "start", "mute")
    await recorded.wait_trouble(SOURCE, f'there is no input device "{path}"')
    with plug_in(path) as write:
        await recorded.wait_trouble(SOURCE, "")
        write(write_key(F13, 1))
        await recorded.wait_acts("mute", "unmute", "interrupt", "start", "mute", "unmute", "interrupt", "start")
    nursery.cancel_scope.cancel()


async def test_what_may_not_be_read_is_told_and_read_once_it_may(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    activation, recorded = make_activation()
    is_allowed = False

    def open_if_allowed(path: str, *flags: Any) -> int:
        if not is_allowed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return os.open(path, *flags)

    with plug_in(tmp_path / "event7"):
        monkeypatch.setattr(keys, "os", _With(os, open=open_if_allowed))
        nursery.start_soon(attend, Button(key="F13", device=f"{tmp_path}/event*"), activation)
        await recorded.wait_trouble(
            SOURCE, "cannot be read: Permission denied; whoever runs convaid belongs into the group input"
        )
        is_allowed = True
        (tmp_path / "event7").chmod(0o640)  # as udev does
        await recorded.wait_trouble(SOURCE, "")
    nursery.cancel_scope.cancel()


class _With:
    """A module in which some things are different."""

    def __init__(self, module: Any, **different: Any) -> None:
        self._module = module
        vars(self).update(different)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


async def test_devices_are_found_by_name_and_key(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        "event1": b"Power Button",
        "event2": b"ACME Keypad",
        "event3": b"ACME Keypad Mouse",
        "event4": b"ACME Keypad",
    }
    with_key = {"event1", "event2", "event4"}
    pressed: set[str] = set()

    def answer(device: int, request: int, size: bytes) -> bytes:
        name = Path(f"/proc/self/fd/{device}").readlink().name
        if request == READ_NAME:
            return names[name].ljust(len(size), b"\0")
        is_there = {READ_KEYS: with_key, READ_PRESSED: pressed}[request]
        return (1 << F13 if name in is_there else 0).to_bytes(len(size), "little")

    monkeypatch.setattr(keys, "ioctl", answer)
    monkeypatch.setattr(keys, "glob", lambda pattern: [str(path) for path in tmp_path.glob("event*")])
    activation, recorded = make_activation()
    with ExitStack() as plugged:
        writes = {name: plugged.enter_context(plug_in(tmp_path / name)) for name in names}
        nursery.start_soon(attend, Button(key="F13", device="acme", mode="mute"), activation)
        await recorded.wait_trouble(SOURCE, "")
        for name in ("event1", "event3"):
            writes[name](write_key(F13, 1))
        writes["event2"](write_key(F13, 1))
        await recorded.wait_acts("mute")
        pressed.add("event4")
        writes["event4"](EVENT.pack(0, 0, EV_SYN, SYN_DROPPED, 0))  # held on both: one press
        pressed.clear()
        writes["event4"](EVENT.pack(0, 0, EV_SYN, SYN_DROPPED, 0))
        writes["event2"](write_key(F13, 0) + write_key(F13, 1))
        await recorded.wait_acts("mute", "unmute")
    nursery.cancel_scope.cancel()


async def test_a_device_that_is_no_input_device_is_left_alone(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "glob", lambda pattern: [str(path) for path in tmp_path.glob("event*")])
    activation, recorded = make_activation()
    with plug_in(tmp_path / "event1"):
        nursery.start_soon(attend, Button(key="F13"), activation)
        await recorded.wait_trouble(SOURCE, "there is no input device with this key")
    nursery.cancel_scope.cancel()


async def test_a_button_of_nobody_is_told(nursery: trio.Nursery) -> None:
    activation, recorded = make_activation("kitchen", "hall")
    await attend(Button(key="F13"), activation)
    assert recorded.troubles == {SOURCE: "whose is it? Set conversation; there are: kitchen, hall"}


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's header is not here: apt-get install linux-libc-dev")
def test_the_numbers_of_the_keys_are_the_kernels() -> None:
    defined = dict(re.findall(r"#define\s+((?:KEY|BTN)_\w+)\s+(0x[0-9a-f]+|\d+)\b", HEADER.read_text()))
    for name, code in KEY_CODES.items():
        constant = name.upper() if name.startswith("btn_") else f"KEY_{name.upper()}"
        assert int(defined[constant], 0) == code, name
