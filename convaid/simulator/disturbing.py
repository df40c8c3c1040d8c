"""The steps of a scenario that no agent means well with: what breaks, and how."""

from __future__ import annotations

import pybase64
import trio

from convaid.simulator.conversation import Conversation
from convaid.simulator.record import Ending
from convaid.simulator.scenario import Close, Drop, Fail, Frame, Freeze, Raw, Step
from convaid.transport import ABNORMAL

__all__ = ["disturb"]


async def disturb(conversation: Conversation, step: Step) -> None:
    """Perform a step that no agent means well with."""
    conversation.record.is_played = isinstance(step, Fail | Close | Drop)
    match step:
        case Freeze(seconds):
            await conversation.flush()
            conversation.peer.freeze()
            await trio.sleep(seconds)
            conversation.peer.thaw()
        case Fail():
            await conversation.fail(step)
        case Close(code, reason):
            await conversation.end(Ending("agent", code, reason))
        case Drop():
            await conversation.end(Ending("agent", ABNORMAL, is_reset=True))
        case Raw(text, times):
            for _ in range(times):
                await conversation.send_raw(text)
        case Frame(payload, opcode):
            await conversation.send_frame(opcode, pybase64.b64decode(payload))
        case _:
            raise AssertionError(f"{step} is for the server, before a conversation begins")
