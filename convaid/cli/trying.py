"""``convaid audio test``: a sound is played, and what comes back of it says which ``echo`` fits."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_json, print_line
from convaid.cli.setting import config_option, json_option, load_setting

if TYPE_CHECKING:
    from convaid.config import Configuration, ConversationConfig
    from convaid.plugins import Plugins
    from convaid.sound.sound import Devices
    from convaid.sound.trial import Trial

__all__ = ["test_audio"]


@click.command("test")
@click.argument("name", metavar="[CONVERSATION]", required=False)
@config_option
@json_option
@click.option("--microphone", metavar="PATTERN", help="This one, rather than the configuration's.")
@click.option("--speaker", metavar="PATTERN", help="This one, rather than the configuration's.")
def test_audio(name: str | None, path: Path | None, as_json: bool, microphone: str | None, speaker: str | None) -> int:
    """Play a sound, listen to what comes back of it, and recommend an `echo`.

    IT MAKES A SOUND, for some 10 seconds, or 20 where the sound server has a microphone without echo: a tone that
    glides up, then a murmur, as loud as the agent would be. Be quiet meanwhile. It tells how loud the microphone hears
    it, and the room without it (dBFS: 0 is the loudest there is); how long the sound takes there and back; whether it
    is overdriven; and the echo's return loss: by how many dB less than what was played the agent would hear of itself.

    Without CONVERSATION, the first that is by voice; without a configuration, the system's own devices. Exit code 1:
    there are no such devices, or they have to be put right first.

    \b
    Examples:
      convaid audio test
      convaid audio test kitchen --microphone jabra
      convaid audio test --json | jq .echo
    """
    import trio

    from convaid.sound.trial import try_sound

    configuration, plugins = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    settings = choose_settings(configuration, name, microphone, speaker)
    print_line("this makes a sound for 10 to 20 seconds; Ctrl+C ends it", err=True, bold=True)

    async def run() -> Trial:
        async with open_wanted(settings, plugins) as devices:
            return await try_sound(settings, devices)

    trial = trio.run(run)
    if as_json:
        print_json({**trial.describe(), "configured": settings.echo})
    else:
        print_trial(trial, settings)
    return 0 if trial.best.mode is not None else EXIT_FAILURE


def choose_settings(
    configuration: Configuration, name: str | None, microphone: str | None, speaker: str | None
) -> ConversationConfig:
    """The conversation that is meant, with other devices where options say so."""
    import attrs

    from convaid.config import ConversationConfig

    conversations = configuration.conversations
    if name is not None and name not in conversations:
        raise click.BadParameter(
            f"no conversation {name!r}; there is {', '.join(conversations)}", param_hint="CONVERSATION"
        )
    voiced = [each for each in conversations.values() if each.audio not in ("none", "wav")]
    settings = conversations[name] if name else (voiced or [ConversationConfig("none", audio="device")])[0]
    chosen = {"microphone": microphone, "speaker": speaker}
    if named := {role: [pattern] for role, pattern in chosen.items() if pattern is not None}:
        try:
            device = attrs.evolve(settings.device, **named)  # type: ignore[arg-type]  # mypy tries every field
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        settings = attrs.evolve(settings, audio="device", device=device)
    if settings.audio in ("none", "wav"):
        words = f'it has audio = "{settings.audio}", and no devices; name some (--microphone, --speaker)'
        raise click.BadParameter(words, param_hint="CONVERSATION")
    sound = settings.sound
    if sound is not None and any(value is not None and not value for value in (sound.microphone, sound.speaker)):
        words = "it has no microphone, or no speaker; name one (--microphone, --speaker)"
        raise click.BadParameter(words, param_hint="CONVERSATION")
    return settings


@asynccontextmanager
async def open_wanted(settings: ConversationConfig, plugins: Plugins) -> AsyncIterator[Devices]:
    """Yield what ``audio`` names; a plugin's device has its plugin's room."""
    if settings.sound is not None:
        yield settings.sound
        return
    from convaid.calls import open_tool_calls
    from convaid.calls.devices import find_device
    from convaid.config import ToolsConfig
    from convaid.plugins import Plugins

    owners = [plugin for plugin in plugins.ready if any(each.name == settings.audio for each in plugin.devices)]
    async with open_tool_calls(Plugins(tuple(owners)), ToolsConfig(), is_dry=True) as tool_calls:
        device = find_device(tool_calls.rooms, settings.audio)
        assert device is not None, "load_setting refuses a device that nobody offers"
        yield device


def print_trial(trial: Trial, settings: ConversationConfig) -> None:
    """Print what was found, a line each."""
    echo = trial.plain.echo
    rows = {
        "microphone": trial.microphone,
        "speaker": trial.speaker,
        "heard": f"{write_level(echo.level)}; before the sound, {write_level(echo.floor)}",
        "there and back": f"{echo.round_trip * 1000:.0f} ms" if echo.round_trip is not None else "it did not come back",
        "clipped": f"{echo.clipped:.1%} of the samples",
        "echo return loss": "; ".join(write_loss(mode, loss) for mode, loss in trial.return_losses.items()),
        "recommended": f'echo = "{trial.best.mode}"' if trial.best.mode else "put the devices right first",
        "because": trial.best.why,
        "configured": f'echo = "{settings.echo}"',
    }
    width = max(map(len, rows))
    for what, told in rows.items():
        print_line(f"{what:{width}}  {told}")


def write_level(level: float) -> str:
    return "nothing at all" if level == -math.inf else f"{level:.0f} dBFS"


def write_loss(mode: str, loss: float) -> str:
    """How much of the echo is lost by a mode, in words."""
    way = "as it is" if mode == "none" else f'with "{mode}"'
    return f"{way}, no echo" if loss == math.inf else f"{way}, {round(loss)} dB"
