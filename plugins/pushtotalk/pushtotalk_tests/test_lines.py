"""Lines of GPIO chips: libgpiod's own settings and events; a pipe in place of the kernel's line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from convaid_pushtotalk import attend, lines
from convaid_pushtotalk.settings import Button

from .recorded import LIMIT, make_activation, wait_until

SOURCE = "pushtotalk, line 17"
PRESSED, RELEASED = b"+", b"-"


class Chip:
    """A chip whose lines can be had from the third attempt on; ``write`` is what its button does."""

    def __init__(self) -> None:
        self.attempts = 0
        self.requested: Any = None
        self.fd, self.button = os.pipe()

    def request_lines(self, path: str, consumer: str, config: dict[Any, Any]) -> Chip:
        self.attempts += 1
        if self.attempts < 3:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.requested = (path, consumer, config)
        return self

    def __enter__(self) -> Chip:
        return self

    def __exit__(self, *error: object) -> None: ...

    def read_edge_events(self) -> list[Any]:
        import gpiod

        read = os.read(self.fd, 100)
        if not read:
            raise OSError(errno.ENODEV, "No such device")
        kinds = gpiod.EdgeEvent.Type
        return [
            gpiod.EdgeEvent(kinds.RISING_EDGE.value if byte == PRESSED[0] else kinds.FALLING_EDGE.value, 0, 17, 0, 0)
            for byte in read
        ]


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chip]:
    gpiod = pytest.importorskip("gpiod", reason="pip install 'plugins/pushtotalk[gpio]'")
    chip = Chip()
    monkeypatch.setattr(gpiod, "request_lines", chip.request_lines)
    monkeypatch.setattr(lines, "LOOK_INTERVAL", 0.001)
    yield chip
    os.close(chip.fd)
    os.close(chip.button)


async def test_a_button_on_a_line_is_held_and_let_go(chip: Chip, nursery: trio.Nursery) -> None:
    from gpiod.line import Bias, Edge

    activation, recorded = make_activation()
    nursery.start_soon(attend, Button(line=17, debounce=0.02), activation)
    await wait_until(lambda: chip.requested is not None)
    assert recorded.troubles == {SOURCE: ""}
    path, consumer, ((line, settings),) = *chip.requested[:2], chip.requested[2].items()
    assert (path, consumer, line) == ("/dev/gpiochip0", "convaid", 17)
    assert (settings.active_low, settings.bias, settings.edge_detection) == (True, Bias.PULL_UP, Edge.BOTH)
    assert settings.debounce_period.total_seconds() == 0.02
    os.write(chip.button, PRESSED)
    await recorded.wait_acts("mute", "unmute", "interrupt", "start")
    os.write(chip.button, RELEASED)
    await recorded.wait_acts("mute", "unmute", "interrupt", "start", "mute")
    nursery.cancel_scope.cancel()


async def test_a_chip_that_is_not_there_is_told(
    chip: Chip, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LOOK_INTERVAL", LIMIT)
    activation, recorded = make_activation()
    nursery.start_soon(attend, Button(line=17), activation)
    await wait_until(lambda: bool(recorded.troubles))
    assert recorded.troubles == {SOURCE: "line 17 of /dev/gpiochip0 cannot be had: No such file or directory"}
    nursery.cancel_scope.cancel()


async def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "find_spec", lambda name: None)
    activation, recorded = make_activation()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend, Button(line=17), activation)
        await wait_until(lambda: bool(recorded.troubles))
        nursery.cancel_scope.cancel()
    assert recorded.troubles == {SOURCE: "the package gpiod is missing: pip install 'convaid-pushtotalk[gpio]'"}
