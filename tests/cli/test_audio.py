"""`convaid audio`: what it lists, what it says of a trial, and the settings that it writes for a sound server."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from convaid import AudioDevice
from convaid.cli.audio import audio, describe_devices, describe_offered
from convaid.cli.trying import choose_settings, print_trial
from convaid.config import ConversationConfig, DeviceConfig, parse_configuration
from convaid.devices.names import ALSA, Device
from convaid.plugins import Plugin, Plugins
from convaid.sound import trial as trying
from convaid.sound.measuring import Echo, Measurement
from convaid.sound.trial import Trial, try_sound
from tests.soundservers import needs_pipewire, needs_pulse, open_pipewire, open_pulse

from .running import install_plugin, run_convaid

VOICED = """
[conversations.main]
agent_id = "agent_demo"
audio = "device"
[conversations.main.device]
microphone = ["jabra", "mic"]
"""


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Where neither a sound server nor a configuration is found."""
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CONFIG_HOME": "", "PULSE_SERVER": ""}


# --- list ------------------------------------------------------------------------------------------------------------


@needs_pulse
def test_the_devices_of_a_server(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(VOICED)
    folder = tmp_path / "s"
    folder.mkdir()
    with open_pulse(folder) as server:
        as_text = run_convaid("audio", "list", folder=tmp_path, **server.env)
        as_json = run_convaid("audio", "list", "--json", folder=tmp_path, **server.env)
    assert (as_text.returncode, as_json.returncode) == (0, 0), as_text.stderr + as_json.stderr
    heads, *lines = [line.split() for line in as_text.stdout.splitlines()]
    assert heads == ["ROLE", "DEFAULT", "NAME", "OF", "USED", "BY", "DESCRIPTION"]
    assert ["microphone", "*", "mic", "PulseAudio"] in [line[:4] for line in lines]
    rows = {(row["role"], row["name"]): row for row in json.loads(as_json.stdout)}
    assert rows["microphone", "mic"]["conversations"] == ["main"]
    assert rows["speaker", "spk"]["is_default"]
    assert rows["microphone", "spk.monitor"]["is_monitor"]
    assert next(iter(rows)) == ("microphone", "mic")


def test_no_devices(tmp_path: Path, places: dict[str, str]) -> None:
    done = run_convaid("audio", "list", folder=tmp_path, **places)
    if done.stdout:
        pytest.skip("this machine has a sound card")
    assert done.returncode == 1
    assert done.stderr.startswith("this machine has no microphone and no speaker that could be seen\n")
    assert f"no sound server answers at {tmp_path}/pulse/native: No such file or directory -> start it:" in done.stderr
    assert run_convaid("audio", "list", "--json", folder=tmp_path, **places).stdout == "[]\n"


async def record(give: object) -> None:
    """Hear nothing."""


def test_who_uses_which() -> None:
    devices = [
        Device("microphone", "mon", "Monitor of Jabra", "PulseAudio 16.1", "", is_monitor=True),
        Device("microphone", "usb-1", "Jabra Speak", "PulseAudio 16.1", ""),
        Device("speaker", "hw:0", "Card", ALSA, "a"),
    ]
    text = VOICED + '[conversations.door]\nagent_id = "agent_demo"\naudio = "phone"\n'
    configuration = parse_configuration(text, "test")
    rows = list(describe_devices(devices, configuration))
    assert [(row["name"], row["conversations"]) for row in rows] == [("usb-1", ["main"]), ("mon", []), ("hw:0", [])]
    plugins = Plugins(
        (Plugin("line", "line", "line", "1", "ready", devices=(AudioDevice("phone", record, None, 8000),)),)
    )
    (row,) = describe_offered(plugins, configuration)
    assert (row["role"], row["name"], row["server"], row["rate"]) == ("microphone", "phone", "plugin line", 8000)
    assert row["conversations"] == ["door"]


# --- test ------------------------------------------------------------------------------------------------------------


def make_measurement(
    loss: float, mode: str | None, why: str, level: float = -31.0, **enhancements: float
) -> Measurement:
    echo = Echo(level, -math.inf, None if loss == math.inf else 0.12, loss, 0.0)
    return Measurement(echo, enhancements, mode, why)  # type: ignore[arg-type]


def test_what_a_trial_says(capsys: pytest.CaptureFixture[str]) -> None:
    plain = make_measurement(10.6, "aec", "it can be cancelled", aec=30.0)
    found = Trial("mic", "spk", plain, make_measurement(41.0, "system", "the server cancels it"))
    print_trial(found, ConversationConfig("agent_demo"))
    assert capsys.readouterr().out.splitlines() == [
        "microphone        mic",
        "speaker           spk",
        "heard             -31 dBFS; before the sound, nothing at all",
        "there and back    120 ms",
        "clipped           0.0% of the samples",
        'echo return loss  as it is, 11 dB; with "aec", 41 dB; with "system", 41 dB',
        'recommended       echo = "system"',
        "because           the server cancels it",
        'configured        echo = "auto"',
    ]
    assert found.describe() == {
        "microphone": "mic",
        "speaker": "spk",
        "level_dbfs": -31.0,
        "floor_dbfs": None,
        "round_trip_seconds": 0.12,
        "clipped_share": 0.0,
        "return_loss_db": {"none": 10.6, "aec": 40.6, "system": 41.0},
        "echo": "system",
        "why": "the server cancels it",
    }


def test_a_trial_in_which_nothing_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    found = Trial("mic", "spk", make_measurement(math.inf, None, "all zeros", -math.inf, aec=math.nan), None)
    print_trial(found, ConversationConfig("agent_demo"))
    out = capsys.readouterr().out
    assert 'echo return loss  as it is, no echo; with "aec", no echo' in out
    assert "recommended       put the devices right first" in out
    assert found.describe()["return_loss_db"] == {"none": None, "aec": None}


def test_which_devices_are_tried() -> None:
    files = '[conversations.files]\nagent_id = "agent_demo"\naudio = "wav"\nwav.microphone = "in.wav"\n'
    configuration = parse_configuration(files + VOICED, "test")
    assert choose_settings(configuration, None, None, None) == configuration.conversations["main"]
    named = choose_settings(configuration, "files", "usb", None)
    assert (named.audio, named.device) == ("device", DeviceConfig(microphone=["usb"]))
    assert choose_settings(parse_configuration(files, "test"), None, None, None).device == DeviceConfig()
    for name, microphone, words in (
        ("files", None, 'it has audio = "wav", and no devices; name some'),
        ("kitchen", None, "no conversation 'kitchen'; there is files, main"),
        ("main", "(", "is not a regular expression"),
    ):
        with pytest.raises(click.UsageError, match=words):
            choose_settings(configuration, name, microphone, None)


@needs_pipewire
async def test_a_trial_of_real_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "SOUNDING", 1.0)
    folder = tmp_path / "s"
    folder.mkdir()
    with open_pipewire(folder) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        server._ask("pw-link", "-d", "room:monitor_MONO", "mic:input_MONO")
        server._ask("pw-link", "spk:monitor_FL", "mic:input_MONO")  # the room: all that is played is heard
        found = await try_sound(ConversationConfig("agent_demo", audio="device"), DeviceConfig())
    assert (found.microphone, found.speaker, found.cancelled) == ("mic", "spk", None)
    assert found.plain.echo.return_loss == pytest.approx(0, abs=2)
    assert found.plain.echo.round_trip is not None
    assert found.plain.echo.round_trip < 0.5


def test_a_trial_without_devices(tmp_path: Path, places: dict[str, str]) -> None:
    done = run_convaid("audio", "test", "--microphone", "jabra", folder=tmp_path, **places)
    assert done.returncode == 1
    assert done.stderr.startswith("this makes a sound for 10 to 20 seconds; Ctrl+C ends it\n")
    assert "no microphone: nothing fits 'jabra'" in done.stderr
    assert "WARNING" not in done.stderr


# --- setup-echo-cancel -----------------------------------------------------------------------------------------------


def test_setup_is_shown_written_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    path = tmp_path / ".config/pipewire/pipewire.conf.d/60-convaid-echo-cancel.conf"

    def run(*options: str) -> str:
        done = CliRunner().invoke(audio, ["setup-echo-cancel", "--server", "pipewire", *options])
        assert done.exception is None, done.output
        return done.output

    assert run("--dry-run").startswith(f"# {path}\n# Written by `convaid audio setup-echo-cancel`")
    assert not path.exists()
    assert run().startswith(f"written: {path}\nnext: systemctl --user restart pipewire pipewire-pulse")
    assert "libpipewire-module-echo-cancel" in path.read_text()
    assert run().startswith(f"already there: {path}\nthen: ")
    assert run("--remove").startswith(f"removed {path}\nnext: systemctl")
    assert run("--remove") == f"there is nothing to remove: no {path}\n"
    assert not path.exists()


def test_setup_leaves_somebody_elses_file_alone(tmp_path: Path, places: dict[str, str]) -> None:
    path = tmp_path / ".config/pulse/default.pa"
    path.parent.mkdir(parents=True)
    path.write_text("# mine\n")
    done = run_convaid("audio", "setup-echo-cancel", "--server", "pulseaudio", folder=tmp_path, **places)
    assert done.returncode == 1
    assert f"convaid: {path} is there, and not ours; add this to it yourself:" in done.stderr
    assert "\nload-module module-echo-cancel" in done.stderr
    assert path.read_text() == "# mine\n"


def test_setup_without_any_server(tmp_path: Path, places: dict[str, str]) -> None:
    done = run_convaid("audio", "setup-echo-cancel", folder=tmp_path, **places, PATH=str(Path(sys.executable).parent))
    assert done.returncode == 1
    assert "convaid: there is no sound server: sudo apt install pipewire-pulse" in done.stderr


# --- devices of plugins ----------------------------------------------------------------------------------------------

PHONE = """
from convaid import AudioDevice, hookimpl

async def record(give):
    "Hear nothing."

@hookimpl
def convaid_devices():
    return [AudioDevice("phone", record, rate=8000)]
"""


def test_plugins_are_listed_with_their_devices(tmp_path: Path, places: dict[str, str]) -> None:
    install_plugin(tmp_path, "line", PHONE)
    text = '[conversations.main]\nagent_id = "agent_demo"\naudio = "{}"\n'
    (tmp_path / "config.toml").write_text(text.format("phone"))
    rows = json.loads(run_convaid("plugins", "--json", folder=tmp_path, PYTHONPATH=str(tmp_path), **places).stdout)
    assert {row["plugin"]: row["devices"] for row in rows}["line"] == ["phone"]
    done = run_convaid("plugins", folder=tmp_path, PYTHONPATH=str(tmp_path), **places)
    assert done.stdout.splitlines()[0].split() == ["PLUGIN", "STATUS", "TOOLS", "DEVICES", "PACKAGE", "REASON"]
    rows = json.loads(
        run_convaid("audio", "list", "--json", folder=tmp_path, PYTHONPATH=str(tmp_path), **places).stdout
    )
    assert [row["conversations"] for row in rows if row["name"] == "phone"] == [["main"]]
    (tmp_path / "config.toml").write_text(text.format("fone"))
    done = run_convaid("check", folder=tmp_path, PYTHONPATH=str(tmp_path), **places)
    assert done.returncode == 78
    assert 'conversations.main.audio: "fone" is none of convaid\'s (none, wav, command, device)' in done.stderr
