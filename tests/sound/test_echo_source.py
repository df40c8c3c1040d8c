"""The lines that have a sound server make a microphone without echo: real servers load them, and nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from convaid.devices.listing import list_devices
from convaid.sound.echo.sources import find_cancelled_source
from convaid.sound.echo_source import MARK, SINK, SOURCE, EchoSourceError, ServerKind, find_place
from tests import soundservers
from tests.soundservers import needs_pipewire, needs_pulse, open_pipewire

LIMIT = 15.0  # seconds for everything that a test waits for
KINDS: tuple[ServerKind, ...] = ("pipewire", "pulseaudio")


@needs_pipewire
async def test_pipewire_makes_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    with trio.fail_after(LIMIT), open_pipewire(folder) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        assert await find_cancelled_source() is None
        place = find_place("pipewire")
        assert place.path.is_relative_to(folder / "config")
        assert place.write()
        shutil.copytree(place.path.parent, folder / "pipewire.conf.d")  # beside the file that this server reads
        await server.restart()
        source = await find_cancelled_source()
        assert source is not None
        assert (source.name, source.sink, source.is_default) == (SOURCE, "", False)
        assert [device.name for device in await list_devices() if device.is_default] == ["mic", "spk"]
        links = server._ask("pw-link", "--links")
        assert f"spk:monitor_FL\n  |-> {SINK}:" in links  # it hears what the speaker plays, of all programs


class Desktop(soundservers.PulseAudio):
    """Begins as it does for a user, with what stands in the user's own settings."""

    def _start(self, *command: str, **options: Any) -> None:
        if command[0] == "pulseaudio":
            command = tuple(part for part in command if part not in ("-n", "-F", str(self.folder / "pulse.pa")))
        super()._start(*command, **options)


@needs_pulse
async def test_pulseaudio_makes_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "s"
    place = find_place("pulseaudio", {"HOME": str(folder)})
    assert place.write()
    text = place.path.read_text()
    stock = "/etc/pulse/default.pa"
    assert text.count(stock) == 1
    place.path.write_text(text.replace(stock, str(folder / "pulse.pa")))  # this machine has no sound, that one has
    with trio.fail_after(LIMIT), soundservers._open(Desktop(folder)) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        source = await find_cancelled_source()
        assert source is not None
        assert (source.name, source.sink, source.master) == (SOURCE, SINK, "mic")
        assert [device.name for device in await list_devices() if device.is_default] == ["mic", "spk"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_written_once_and_removed_again(kind: ServerKind, tmp_path: Path) -> None:
    place = find_place(kind, {"HOME": str(tmp_path)})
    assert not place.remove()
    assert not place.is_there
    assert place.write()
    assert place.is_there
    assert not place.write()
    place.path.write_text(MARK + "# of an earlier convaid\n")
    assert place.write()
    assert place.is_there
    assert place.remove()
    assert not place.path.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_somebody_elses_settings_are_left_alone(kind: ServerKind, tmp_path: Path) -> None:
    place = find_place(kind, {"HOME": str(tmp_path)})
    place.path.parent.mkdir(parents=True)
    place.path.write_text("# mine\n")
    with pytest.raises(
        EchoSourceError, match=r"is there, and not ours; add this to it yourself:\n(.*\n)*.*echo-cancel"
    ):
        place.write()
    with pytest.raises(EchoSourceError, match="is not ours; remove what is in it yourself"):
        place.remove()
    assert place.path.read_text() == "# mine\n"


def test_a_file_that_is_read_before_ours(tmp_path: Path) -> None:
    place = find_place("pulseaudio", {"HOME": str(tmp_path)})
    (tmp_path / ".pulse").mkdir()
    (tmp_path / ".pulse" / "default.pa").touch()
    with pytest.raises(EchoSourceError, match=r"\.pulse/default\.pa is what PulseAudio reads, rather than .*\.config"):
        place.write()
    assert not place.path.exists()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".config").touch()
    place = find_place("pipewire", {"HOME": str(tmp_path)})
    with pytest.raises(EchoSourceError, match=r"cannot be (read|written): Not a directory"):
        place.write()
