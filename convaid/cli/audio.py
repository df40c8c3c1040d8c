"""``convaid audio``: the devices that are there, a trial of them, and a microphone without echo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_json, print_line, print_table
from convaid.cli.setting import config_option, json_option, load_setting
from convaid.cli.trying import test_audio

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.devices.names import Device
    from convaid.plugins import Plugins
    from convaid.sound.echo_source import ServerKind

__all__ = ["audio"]


@click.group()
def audio() -> None:
    """Microphones and speakers: what there is, and how good it is."""


audio.add_command(test_audio)


# --- list ------------------------------------------------------------------------------------------------------------


@audio.command("list")
@config_option
@json_option
def list_audio(path: Path | None, as_json: bool) -> int:
    """List the microphones and speakers that are there, and which conversation would use them.

    A * marks the system's own choice, "default". Patterns in [conversations.NAME.device] are looked for in names and
    descriptions. Opens nothing. Exit code 1: there are none.
    """
    import trio

    from convaid.devices.listing import list_devices

    configuration, plugins = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    devices = trio.run(list_devices)
    rows = [*describe_devices(devices, configuration), *describe_offered(plugins, configuration)]
    if as_json:
        print_json(rows)
    elif rows:
        print_table([describe_row(row) for row in rows])
    if not devices and not as_json:
        tell_why_none()
    return 0 if rows else EXIT_FAILURE


def describe_devices(devices: list[Device], configuration: Configuration) -> Iterator[dict[str, Any]]:
    """One row for each device of this machine, those that hear a speaker last."""
    from convaid.devices.names import choose_devices
    from convaid.devices.servers import has_server

    users: dict[tuple[str, str], list[str]] = {}
    for name, settings in configuration.conversations.items():
        if settings.audio == "device":
            for role in ("microphone", "speaker"):
                patterns = getattr(settings.device, role)
                choices = choose_devices(role, patterns, devices, expects_server=has_server())
                if (device := next(choices, None)) is not None:
                    users.setdefault((role, device.name), []).append(name)
    for device in sorted(devices, key=lambda device: (device.role, device.is_monitor)):
        yield {
            "role": device.role,
            "is_default": device.is_default,
            "name": device.name,
            "server": device.server,
            "rate": device.rate,
            "channels": device.channels,
            "is_monitor": device.is_monitor,
            "conversations": users.get((device.role, device.name), []),
            "description": device.description,
        }


def describe_offered(plugins: Plugins, configuration: Configuration) -> Iterator[dict[str, Any]]:
    """One row for each microphone and speaker of a plugin's."""
    for plugin in plugins.ready:
        for device in plugin.devices:
            for role, steps in (("microphone", device.record), ("speaker", device.play)):
                if steps is not None:
                    yield {
                        "role": role,
                        "is_default": False,
                        "name": device.name,
                        "server": f"plugin {plugin.name}",
                        "rate": device.rate,
                        "channels": 1,
                        "is_monitor": False,
                        "conversations": [
                            name for name, each in configuration.conversations.items() if each.audio == device.name
                        ],
                        "description": f'for audio = "{device.name}"',
                    }


def describe_row(row: dict[str, Any]) -> dict[str, str]:
    """A row as people read it."""
    return {
        "role": row["role"],
        "default": "*" if row["is_default"] else "",
        "name": row["name"],
        "of": row["server"],
        "used by": " ".join(row["conversations"]),
        "description": row["description"],
    }


def tell_why_none() -> None:
    """Say what stands in the way of any device."""
    from convaid.doctor.sound_server import find_about_cards, find_about_libraries, find_about_server

    print_line("this machine has no microphone and no speaker that could be seen", err=True)
    libraries = (*find_about_libraries(os.environ, {"device"}), *find_about_cards())
    for finding in (*libraries, *find_about_server(os.environ, [])):
        if finding.level != "ok":
            print_line(str(finding), err=True)


# --- setup-echo-cancel -----------------------------------------------------------------------------------------------


@audio.command("setup-echo-cancel")
@click.option(
    "--server",
    "kind",
    type=click.Choice(["pipewire", "pulseaudio"]),
    help="Which sound server is meant; else the one that runs.",
)
@click.option("--dry-run", "is_shown", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--remove", "is_removed", is_flag=True, help="Remove it again.")
def setup_echo_cancel(kind: ServerKind | None, is_shown: bool, is_removed: bool) -> int:
    """Have your sound server make a microphone without the speaker's echo, for echo = "system".

    Writes one file of your own settings, which PipeWire or PulseAudio reads when it begins. A file that is there
    already, and was not written by this command, is left alone.

    \b
    Examples:
      convaid audio setup-echo-cancel --dry-run
      convaid audio setup-echo-cancel && systemctl --user restart pipewire pipewire-pulse
    """
    from convaid.sound.echo_source import SOURCE, EchoSourceError, find_place

    place = find_place(kind or find_server_kind())
    if is_shown:
        click.echo(f"# {place.path}{' would be removed:' if is_removed else ''}\n{place.text}", nl=False)
        return 0
    try:
        if is_removed:
            was_done, done, undone = place.remove(), "removed", "there is nothing to remove: no"
        else:
            was_done, done, undone = place.write(), "written:", "already there:"
    except EchoSourceError as error:
        for line in f"convaid: {error}".splitlines():  # those to be added by hand can be copied
            print_line(line, err=True)
        return EXIT_FAILURE
    print_line(f"{done if was_done else undone} {place.path}")
    if was_done:
        print_line(f"next: {place.restart}  # cuts off whoever uses sound just now")
    if not is_removed:
        print_line(f'then: {SOURCE} is what echo = "auto" and echo = "system" use; `convaid audio test` measures it')
    return 0


def find_server_kind() -> ServerKind:
    """The server that runs, or else the one that is installed."""
    import shutil

    import trio

    from convaid.devices.listing import list_devices
    from convaid.errors import ConvaidError

    for device in trio.run(list_devices):
        if device.server != "ALSA":
            return "pipewire" if device.server.startswith("PipeWire") else "pulseaudio"
    if shutil.which("pipewire-pulse"):
        return "pipewire"
    if shutil.which("pulseaudio"):
        return "pulseaudio"
    remedy = "sudo apt install pipewire-pulse wireplumber pulseaudio-utils, or say which is meant (--server)"
    raise ConvaidError(f"there is no sound server: {remedy}")
