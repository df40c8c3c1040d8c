"""Words that open a conversation, and interrupt its agent. The README has the settings."""

from __future__ import annotations

import logging

import trio

from convaid import hookimpl
from convaid.plugins.activation import Activation
from convaid_wakeword.settings import Models, WakewordSettings

__all__ = ["convaid_activation", "convaid_settings"]

logger = logging.getLogger(__name__)

LOSS_TOLD = 10.0  # seconds of sound that were lost, after which the log says so once more


@hookimpl
def convaid_settings() -> type:
    return WakewordSettings


@hookimpl
async def convaid_activation(activation: Activation, settings: WakewordSettings) -> None:
    async with trio.open_nursery() as nursery:
        for conversation, models in settings.assign(activation.conversations).items():
            nursery.start_soon(attend, conversation, models, activation, settings)


async def attend(conversation: str, models: Models, activation: Activation, settings: WakewordSettings) -> None:
    """Hear what a conversation's microphone hears, and act on its words; all of it in the plugin's own thread."""
    from convaid_wakeword.detector import Detector, ModelError  # brings numpy and TensorFlow Lite

    try:
        detector = Detector(models, settings.refractory)
    except ModelError as error:
        activation.report(f"wakeword, {conversation}", f"{error}; no word is heard")
        return
    told = 0.0
    with activation.listen(conversation) as blocks:
        async for block in blocks:
            for word in detector.hear(block):
                logger.info("%s: heard «%s»", conversation, word)
                if settings.barge_in:
                    activation.interrupt(conversation)
                activation.start(conversation)
            if blocks.lost_seconds > told + LOSS_TOLD:
                told = blocks.lost_seconds
                logger.warning("%s: this machine is too slow for its wake words: %.0f s lost", conversation, told)
