"""Which way of not hearing itself a conversation takes, and why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import frozen

from convaid.config import ConversationConfig
from convaid.devices import DeviceError
from convaid.patterns import search_text
from convaid.sound.echo.canceller import find_obstacle
from convaid.sound.echo.sources import CancelledSource, find_cancelled_source
from convaid.sound.echo.stage import EchoMode

__all__ = ["EchoChoice", "choose_mode"]

NO_SOURCE = "the sound server has no echo-cancelled source"
NAMING = ("-d", "-D", "--device", "--target")  # the options of parec, arecord and pw-record that name a device


@frozen
class EchoChoice:
    """A mode, and one sentence that says why it is this one.

    With ``system``, ``microphone`` and ``speaker`` are the devices to be opened before the configured ones, as regular
    expressions; "" leaves the configuration as it is.
    """

    mode: EchoMode
    why: str
    microphone: str = ""
    speaker: str = ""


async def choose_mode(
    settings: ConversationConfig,
    find_source: Callable[[], Awaitable[CancelledSource | None]] = find_cancelled_source,
) -> EchoChoice:
    """Settle ``settings.echo``. It takes the sound server's answer where that matters: a second at most.

    `DeviceError` with the remedy where a mode is asked for by its name whose package is missing.
    """
    reason = _find_no_need(settings)
    match settings.echo:
        case "auto" if reason:
            return EchoChoice("none", reason)
        case "auto":
            return await _choose_best(settings, find_source)
        case "system" if settings.audio != "device":
            return EchoChoice("system", f'as configured: audio = "{settings.audio}" is to cancel the echo itself')
        case "system":
            source = await find_source()
            if source is None:
                return EchoChoice("gate", f"{NO_SOURCE}: convaid audio setup-echo-cancel sets one up")
            return _use_source(source)
        case "aec":
            if obstacle := await _find_obstacle():
                raise DeviceError(f'echo = "aec" cannot be used: {obstacle}')
            return EchoChoice("aec", "as configured")
        case mode:
            return EchoChoice(mode, "as configured")


def _find_no_need(settings: ConversationConfig) -> str:
    """Return why nothing that is played can come back; "" where it may."""
    if settings.audio == "none":
        return "a conversation in text has no sound"
    if settings.audio == "wav":
        return "a file does not hear what is played"
    devices = {"device": settings.device, "command": settings.command}.get(settings.audio)
    for role in ("microphone", "speaker"):
        if devices is not None and getattr(devices, role) in ([], ()):
            return f"there is no {role}"
    return ""


async def _choose_best(
    settings: ConversationConfig, find_source: Callable[[], Awaitable[CancelledSource | None]]
) -> EchoChoice:
    source = await find_source() if settings.audio in ("device", "command") else None
    if source is not None and _is_wanted(source, settings):
        return _use_source(source) if settings.audio == "device" else EchoChoice("system", _tell_of(source))
    if source is not None:
        seen = f'"{source.name}", which is echo-cancelled, is not the microphone that is configured'
    else:
        seen = NO_SOURCE if settings.audio in ("device", "command") else "what a plugin's device plays is known here"
    obstacle = await _find_obstacle()
    if obstacle:
        return EchoChoice("gate", f"{seen}; to let the user cut in, aec would be better, but {obstacle}")
    return EchoChoice("aec", f"{seen}, and livekit is installed")


async def _find_obstacle() -> str:
    return await trio.to_thread.run_sync(find_obstacle)  # it loads a library


def _is_wanted(source: CancelledSource, settings: ConversationConfig) -> bool:
    """Whether the configured microphone is this source, or the one behind it, or left to the system."""
    if settings.audio == "command":
        # What the programs open is theirs to know: the source by its name, or the default if they name none.
        arguments = settings.command.microphone or ()
        return any(source.name in argument for argument in arguments) or (
            source.is_default and not any(argument.startswith(NAMING) for argument in arguments)
        )
    names = [name for name in (source.name, source.description, source.master) if name]
    return any(
        pattern == "default" or any(search_text(pattern, name) for name in names)
        for pattern in settings.device.microphone
    )


def _use_source(source: CancelledSource) -> EchoChoice:
    return EchoChoice("system", _tell_of(source), source.microphone, source.speaker)


def _tell_of(source: CancelledSource) -> str:
    from_what = f', of what is played on "{source.sink}"' if source.sink else ""
    return f'the sound server cancels the echo in "{source.name}"{from_what}'
