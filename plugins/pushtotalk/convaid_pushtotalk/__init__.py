"""Keys and buttons that one talks by. The README has the settings."""

from __future__ import annotations

import math
from functools import partial

import trio

from convaid import hookimpl
from convaid.plugins.activation import Activation
from convaid_pushtotalk.modes import act
from convaid_pushtotalk.settings import Button, PushToTalkSettings

__all__ = ["convaid_activation", "convaid_settings"]


@hookimpl
def convaid_settings() -> type:
    return PushToTalkSettings


@hookimpl
async def convaid_activation(activation: Activation, settings: PushToTalkSettings) -> None:
    async with trio.open_nursery() as nursery:
        for button in settings.buttons:
            nursery.start_soon(attend, button, activation)


async def attend(button: Button, activation: Activation) -> None:
    """Follow one button, and do what it is for."""
    report = partial(activation.report, f"pushtotalk, {button}")
    conversation = button.conversation or (activation.conversations[0] if len(activation.conversations) == 1 else "")
    if not conversation:
        names = ", ".join(activation.conversations) or "none"
        report(f"whose is it? Set conversation; there are: {names}")
        return
    give, presses = trio.open_memory_channel[bool](math.inf)  # whoever takes them is never away for long
    note = give.send_nowait
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act, button.mode, conversation, activation, presses)
        if button.key is not None:
            from convaid_pushtotalk.keys import watch_key

            nursery.start_soon(watch_key, button.key_code, button.device, note, report)
        else:
            from convaid_pushtotalk.lines import watch_line

            nursery.start_soon(watch_line, button, note, report)
