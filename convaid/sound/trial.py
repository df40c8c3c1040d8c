"""A trial of a microphone and a speaker: what comes back, and which way of not hearing oneself fits (floor 3)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from attrs import frozen

from convaid.audio import AudioFormat
from convaid.config import ConversationConfig
from convaid.devices import (
    DeviceError,
    DeviceNote,
    Microphone,
    Speaker,
    convert_microphone,
    open_microphone,
    open_speaker,
)
from convaid.sound.echo import EchoMode, choose_mode, make_stage
from convaid.sound.echo.canceller import find_obstacle
from convaid.sound.measuring import Measurement, measure
from convaid.sound.sound import Devices, put_first

__all__ = ["OPENING_LIMIT", "Trial", "try_sound"]

OPENING_LIMIT = 3.0  # seconds that devices have to be there; those of a sound server take half a second
SOUNDING = 6.0  # seconds of sound to cancel, after the chirp


@frozen
class Trial:
    """What `try_sound` has found; each measurement knows why its own ``mode`` is the best."""

    microphone: str
    speaker: str
    plain: Measurement
    """By the devices that are configured."""
    cancelled: Measurement | None
    """By the sound server's echo-cancelled ones, where it has some."""

    @property
    def best(self) -> Measurement:
        """The one whose advice counts."""
        has_worked = self.cancelled is not None and self.cancelled.mode == "system"
        return self.cancelled if self.cancelled is not None and has_worked else self.plain

    @property
    def return_losses(self) -> dict[EchoMode, float]:
        """The echo's return loss in dB by mode: without anything ("none"), and with what takes some of it away."""
        plain = self.plain.echo.return_loss
        losses: dict[EchoMode, float] = {"none": plain}
        for mode, enhancement in self.plain.enhancements.items():
            losses[mode] = plain + enhancement if plain < math.inf else plain
        if self.cancelled is not None:
            losses["system"] = self.cancelled.echo.return_loss
        return losses

    def describe(self) -> dict[str, Any]:
        """Return what a script wants to know; None stands for what cannot be said, or is infinite."""
        echo = self.plain.echo
        return {
            "microphone": self.microphone,
            "speaker": self.speaker,
            "level_dbfs": keep_finite(echo.level),
            "floor_dbfs": keep_finite(echo.floor),
            "round_trip_seconds": echo.round_trip,
            "clipped_share": echo.clipped,
            "return_loss_db": {mode: keep_finite(loss) for mode, loss in self.return_losses.items()},
            "echo": self.best.mode,
            "why": self.best.why,
        }


def keep_finite(value: float) -> float | None:
    return round(value, 1) if abs(value) < math.inf else None


async def try_sound(settings: ConversationConfig, devices: Devices) -> Trial:
    """Play some 10 seconds of sound, twice where the server has an echo-cancelled microphone, and listen.

    Raises `DeviceError` where a device is not there.
    """
    wanted = await choose_mode(attrs.evolve(settings, echo="system"))
    async with open_devices(settings, devices) as (microphone, speaker, names):
        canceller: list[EchoMode] = [] if find_obstacle() else ["aec"]
        plain = await measure_with(settings, microphone, speaker, *canceller)
    cancelled = None
    if wanted.mode == "system" and wanted.microphone:
        theirs = put_first(put_first(devices, "microphone", wanted.microphone), "speaker", wanted.speaker)
        async with open_devices(settings, theirs) as (microphone, speaker, _):
            cancelled = await measure_with(settings, microphone, speaker, "system")
    return Trial(names["microphone"], names["speaker"], plain, cancelled)


async def measure_with(
    settings: ConversationConfig, microphone: Microphone, speaker: Speaker, *modes: EchoMode
) -> Measurement:
    def make(mode: EchoMode) -> Any:
        return make_stage(mode, settings.speech, microphone.format, lambda: 0.0)

    stages = [await trio.to_thread.run_sync(make, mode) for mode in modes]
    return await measure(microphone, speaker, *stages, seconds=SOUNDING)


@asynccontextmanager
async def open_devices(
    settings: ConversationConfig, devices: Devices
) -> AsyncIterator[tuple[Microphone, Speaker, dict[str, str]]]:
    """Open both, and yield them with their names, as soon as they are there."""
    states: dict[str, DeviceNote] = {}
    changed = trio.Event()

    def note(told: DeviceNote) -> None:
        nonlocal changed
        states[told.role] = told
        changed.set()
        changed = trio.Event()

    rate = settings.speech.rate
    async with open_microphone(devices, rate, note) as microphone, open_speaker(devices, rate, note) as speaker:
        with trio.move_on_after(OPENING_LIMIT) as limit:
            while not all(role in states and states[role].state != "lost" for role in ("microphone", "speaker")):
                await changed.wait()
        if limit.cancelled_caught:
            missing = [role for role in ("microphone", "speaker") if role not in states or states[role].state == "lost"]
            details = [
                f"no {role}: {states[role].detail if role in states else 'it does not open'}" for role in missing
            ]
            raise DeviceError("; ".join(details))
        heard = convert_microphone(microphone, AudioFormat("pcm", rate))
        yield heard, speaker, {role: told.device for role, told in states.items()}
