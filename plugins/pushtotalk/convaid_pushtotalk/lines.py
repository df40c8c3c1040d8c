"""Lines of a GPIO chip, by libgpiod."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec

import trio

from convaid_pushtotalk.settings import Button

__all__ = ["watch_line"]

LOOK_INTERVAL = 1.0  # seconds between two attempts to get the line


async def watch_line(button: Button, note: Callable[[bool], None], report: Callable[[str], None]) -> None:
    """Tell ``note`` whenever a button on a line is pressed or let go; for ever.

    A line whose chip vanishes is let go. ``report`` is told why the line cannot be had, and "" when it can.
    """
    if find_spec("gpiod") is None:
        report("the package gpiod is missing: pip install 'convaid-pushtotalk[gpio]'")
        return
    while True:
        try:
            await read_line(button, note, report)
        except (OSError, ValueError) as error:  # ValueError: the chip has no such line
            report(f"line {button.line} of {button.chip} cannot be had: {getattr(error, 'strerror', None) or error}")
        note(False)
        await trio.sleep(LOOK_INTERVAL)


async def read_line(button: Button, note: Callable[[bool], None], report: Callable[[str], None]) -> None:
    """Hold the line, and tell when its button is pressed (True) or let go. Raises OSError, ValueError."""
    import gpiod
    from gpiod.line import Bias, Direction, Edge

    assert button.line is not None
    settings = gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.BOTH,
        bias=Bias.PULL_UP if button.is_active_low else Bias.PULL_DOWN,
        active_low=button.is_active_low,
        debounce_period=timedelta(seconds=button.debounce),
    )
    with gpiod.request_lines(str(button.chip), consumer="convaid", config={button.line: settings}) as request:
        report("")
        while True:
            await trio.lowlevel.wait_readable(request.fd)
            for event in request.read_edge_events():  # by the level that counts: rising is pressed
                note(event.event_type is event.Type.RISING_EDGE)
