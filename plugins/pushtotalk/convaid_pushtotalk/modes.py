"""What a button is for."""

from __future__ import annotations

from typing import Literal, assert_never

import trio

from convaid.plugins.activation import Activation

__all__ = ["Mode", "act"]

Mode = Literal["hold", "toggle", "mute"]
"""To talk while it is pressed; to open and close the conversation; to mute and unmute it."""

LOOK_INTERVAL = 1.0  # seconds between two looks whether a reload has brought the conversation
RELEASE_TAIL = 0.3  # seconds that the microphone stays open: people let go before their last syllable is over


async def act(mode: Mode, conversation: str, activation: Activation, presses: trio.MemoryReceiveChannel[bool]) -> None:
    """Do what a button is for, whenever it is pressed (True) or let go (False)."""
    match mode:
        case "hold":
            await hold(conversation, activation, presses)
        case "toggle":
            async for is_pressed in presses:
                if not is_pressed:
                    continue
                if activation.find_state(conversation) in ("", "closed"):
                    activation.start(conversation)
                else:
                    activation.stop(conversation)
        case "mute":
            async for is_pressed in presses:
                if is_pressed:
                    activation.mute(conversation, not activation.is_muted(conversation))
        case _:
            assert_never(mode)


async def hold(conversation: str, activation: Activation, presses: trio.MemoryReceiveChannel[bool]) -> None:
    """Pressed, the user is heard, and the agent is not; at all other times the microphone is closed."""
    activation.mute(conversation, True)
    while True:
        await wait_press(conversation, activation, presses)
        activation.mute(conversation, False)
        activation.interrupt(conversation)
        activation.start(conversation)
        is_pressed = True
        while is_pressed:
            is_pressed = await presses.receive()
            with trio.move_on_after(RELEASE_TAIL):
                is_pressed = await presses.receive()  # it was only let go for a moment
        activation.mute(conversation, True)


async def wait_press(conversation: str, activation: Activation, presses: trio.MemoryReceiveChannel[bool]) -> None:
    """Wait until it is pressed; a conversation that a reload brings meanwhile is muted, as it was at the beginning."""
    is_there = bool(activation.find_state(conversation))
    while True:
        with trio.move_on_after(LOOK_INTERVAL):
            if await presses.receive():
                return
            continue
        was_there, is_there = is_there, bool(activation.find_state(conversation))
        if is_there and not was_there:
            activation.mute(conversation, True)
