"""Which mode a conversation takes, and what it says about that."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from attrs import evolve

from convaid.config import CommandConfig, ConversationConfig, DeviceConfig, SpeechConfig, WavConfig
from convaid.devices import DeviceError
from convaid.patterns import search_text
from convaid.sound.echo import EchoChoice, EchoMode, choose_mode
from convaid.sound.echo.sources import CancelledSource, find_cancelled_source, read_pactl, read_pw_dump

SOURCE = CancelledSource("mic.echo-cancel", "USB Mic (echo cancelled)", "usb_mic", False, "spk.echo-cancel", "Speakers")
TALK = ConversationConfig(agent_id="agent_demo", audio="device")


async def choose(source: CancelledSource | None = None, **changes: Any) -> EchoChoice:
    async def find_source() -> CancelledSource | None:
        return source

    return await choose_mode(evolve(TALK, **changes), find_source)


@pytest.fixture
def without_livekit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "convaid.sound.echo.choosing.find_obstacle", lambda: "it needs livekit: pip install 'convaid[aec]'"
    )


@pytest.fixture
def with_livekit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convaid.sound.echo.choosing.find_obstacle", lambda: "")


async def test_the_sound_servers_cancellation_comes_first(with_livekit: None) -> None:
    choice = await choose(SOURCE)
    assert choice.mode == "system"
    assert choice.why == (
        'the sound server cancels the echo in "mic.echo-cancel", of what is played on "spk.echo-cancel"'
    )
    for pattern, names in ((choice.microphone, (SOURCE.name, SOURCE.description)), (choice.speaker, (SOURCE.sink,))):
        assert all(search_text(pattern, name) for name in names)
        assert not search_text(pattern, "mic")


async def test_then_livekits(with_livekit: None) -> None:
    choice = await choose(None)
    assert (choice.mode, choice.microphone, choice.speaker) == ("aec", "", "")
    assert choice.why == "the sound server has no echo-cancelled source, and livekit is installed"


async def test_then_the_gate(without_livekit: None) -> None:
    choice = await choose(None)
    assert choice.mode == "gate"
    assert "pip install 'convaid[aec]'" in choice.why


@pytest.mark.parametrize(
    ("patterns", "mode"),
    [
        (["default"], "system"),
        (["usb"], "system"),
        (["USB_MIC"], "system"),
        (["headset", "default"], "system"),
        (["echo.cancel"], "system"),
        (["webcam"], "aec"),
    ],
)
async def test_only_the_configured_microphone_counts(patterns: list[str], mode: str, with_livekit: None) -> None:
    choice = await choose(SOURCE, device=DeviceConfig(microphone=patterns))
    assert choice.mode == mode
    if mode == "aec":
        assert '"mic.echo-cancel"' in choice.why


@pytest.mark.parametrize(
    ("argv", "is_default", "mode"),
    [
        (("parec", "--raw"), True, "system"),
        (("parec", "--raw"), False, "aec"),
        (("parec", "--device=mic.echo-cancel"), False, "system"),
        (("parec", "-d", "mic"), True, "aec"),
        (("arecord", "-D", "hw:1"), True, "aec"),
        (("pw-record", "--target=mic"), True, "aec"),
        (None, True, "system"),
        (None, False, "aec"),
    ],
)
async def test_programs_open_what_they_are_told(
    argv: tuple[str, ...] | None, is_default: bool, mode: str, with_livekit: None
) -> None:
    command = CommandConfig(microphone=argv, speaker=("pacat",))
    choice = await choose(evolve(SOURCE, is_default=is_default), audio="command", command=command)
    assert (choice.mode, choice.microphone) == (mode, "")


async def test_nothing_is_done_where_nothing_comes_back(with_livekit: None) -> None:
    assert (await choose(SOURCE, audio="none")).mode == "none"
    assert (await choose(SOURCE, audio="wav", wav=WavConfig(Path("a"), Path("b")))).mode == "none"
    choice = await choose(SOURCE, device=DeviceConfig(speaker=[]))
    assert (choice.mode, choice.why) == ("none", "there is no speaker")
    assert (await choose(SOURCE, device=DeviceConfig(microphone=[]))).why == "there is no microphone"
    choice = await choose(SOURCE, audio="command", command=CommandConfig(speaker=()))
    assert (choice.mode, choice.why) == ("none", "there is no speaker")


async def test_a_plugins_device_is_cancelled_here(with_livekit: None) -> None:
    assert (await choose(SOURCE, audio="intercom")).mode == "aec"


@pytest.mark.parametrize("mode", ["gate", "duck", "none", "aec"])
async def test_what_is_configured_is_taken(mode: Any, with_livekit: None) -> None:
    assert await choose(SOURCE, echo=mode) == EchoChoice(mode, "as configured")
    assert (await choose(None, echo=mode, audio="wav", wav=WavConfig(Path("a"), Path("b")))).mode == mode


async def test_aec_by_name_needs_its_package(without_livekit: None) -> None:
    with pytest.raises(DeviceError, match=r"""echo = "aec" cannot be used: .*pip install 'convaid\[aec\]'"""):
        await choose(None, echo="aec")


async def test_system_by_name_needs_a_source() -> None:
    assert (await choose(SOURCE, echo="system", device=DeviceConfig(microphone=["webcam"]))).mode == "system"
    choice = await choose(None, echo="system")
    assert choice.mode == "gate"
    assert "convaid audio setup-echo-cancel" in choice.why


async def test_system_by_name_is_believed_where_the_source_is_not_ours_to_open() -> None:
    choice = await choose(None, echo="system", audio="command", command=CommandConfig(microphone=("parec",)))
    assert (choice.mode, choice.microphone) == ("system", "")
    assert "as configured" in choice.why


def test_the_page_has_every_mode_and_every_setting() -> None:
    page = (Path(__file__).parents[2] / "docs" / "echo.md").read_text()
    modes = re.findall(r'^\| `"(\w+)"` \|', page, re.MULTILINE)
    assert sorted(modes) == sorted(get_args(EchoMode))
    speech = SpeechConfig()
    defaults = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE))
    assert defaults == {name: str(getattr(speech, name)).lower() for name in defaults}
    assert set(defaults) >= {"echo_tail", "duck_threshold", "noise_suppression", "automatic_gain", "vad"}


# ---- what the servers say, as PulseAudio 16.1 and PipeWire 0.3.65 do


def make_pulse(name: str, module: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"the {name}",
        "driver": "module-null-sink.c",
        "owner_module": module,
        "monitor_source": "",
        "properties": {},
    } | more


PULSE_SOURCES = [
    make_pulse("spk.monitor", 1, monitor_source="spk"),
    make_pulse("mic", 2),
    make_pulse("mic.echo-cancel", 3, driver="module-echo-cancel.c", properties={"device.master_device": "mic"}),
    make_pulse("spk.echo-cancel.monitor", 3, driver="module-echo-cancel.c", monitor_source="spk.echo-cancel"),
]
PULSE_SINKS = [
    make_pulse("spk", 1, monitor_source="spk.monitor"),
    make_pulse("other.echo-cancel", 4, driver="module-echo-cancel.c", monitor_source="other.echo-cancel.monitor"),
    make_pulse("spk.echo-cancel", 3, driver="module-echo-cancel.c", monitor_source="spk.echo-cancel.monitor"),
]


def test_pulseaudio_names_the_source_and_its_sink() -> None:
    assert read_pactl({"default_source_name": "mic"}, PULSE_SOURCES, PULSE_SINKS) == CancelledSource(
        "mic.echo-cancel", "the mic.echo-cancel", "mic", False, "spk.echo-cancel", "the spk.echo-cancel"
    )
    assert read_pactl({}, PULSE_SOURCES[:2], PULSE_SINKS) is None
    # The owner may have given it a name of his own.
    named = [make_pulse("hall", 3, driver="module-echo-cancel.c"), make_pulse("kitchen_aec", 9)]
    found = read_pactl({"default_source_name": "kitchen_aec"}, named, [])
    assert found is not None
    assert (found.name, found.is_default, found.speaker) == ("kitchen_aec", True, "")


@pytest.mark.parametrize(
    "name", ["aec_mic", "mic-aec", "alsa_input.AEC", "echo-cancel-source", "EchoCancel", "echo_cancelled"]
)
def test_names_that_tell(name: str) -> None:
    assert read_pactl({}, [make_pulse(name, 1)], []) is not None


@pytest.mark.parametrize("name", ["mic", "aecho", "alsa_input.usb-Maecom", "echo_dot"])
def test_names_that_do_not(name: str) -> None:
    assert read_pactl({}, [make_pulse(name, 1)], []) is None


def make_node(name: str, kind: str, group: str = "") -> dict[str, Any]:
    properties = {"node.name": name, "node.description": f"the {name}", "media.class": kind}
    return {"type": "PipeWire:Interface:Node", "info": {"props": properties | {"node.link-group": group}}}


def test_pipewire_says_it_without_pactl() -> None:
    things = [
        {"type": "PipeWire:Interface:Link", "info": None},
        {"metadata": [{"key": "default.audio.source", "value": {"name": "echo-cancel-source"}}]},
        make_node("mic", "Audio/Source/Virtual"),
        make_node("echo-cancel-capture", "Stream/Input/Audio", "echo-cancel-1-22"),
        make_node("aec-source", "Audio/Source", "echo-cancel-1-21"),
        make_node("echo-cancel-source", "Audio/Source", "echo-cancel-1-22"),
        make_node("echo-cancel-sink", "Audio/Sink", "echo-cancel-1-22"),
    ]
    assert read_pw_dump(things) == CancelledSource(
        "echo-cancel-source", "the echo-cancel-source", "", True, "echo-cancel-sink", "the echo-cancel-sink"
    )
    assert read_pw_dump(things[:3]) is None


# ---- asking


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


async def test_the_server_is_asked_by_pactl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources").write_text(json.dumps(PULSE_SOURCES))
    (tmp_path / "sinks").write_text(json.dumps(PULSE_SINKS))
    install(
        tmp_path,
        "pactl",
        f'case "$*" in *info) echo \'{{"default_source_name": "mic"}}\';; '
        f"*sources) cat {tmp_path}/sources;; *sinks) cat {tmp_path}/sinks;; esac",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = await find_cancelled_source()
    assert found is not None
    assert found.name == "mic.echo-cancel"


async def test_an_old_pactl_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dump").write_text(json.dumps([make_node("echo-cancel-source", "Audio/Source")]))
    install(tmp_path, "pactl", 'echo "unrecognised option" >&2; exit 1')
    install(tmp_path, "pw-dump", f"cat {tmp_path}/dump")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = await find_cancelled_source()
    assert found is not None
    assert found.name == "echo-cancel-source"


async def test_nobody_to_ask_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await find_cancelled_source() is None


async def test_a_server_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "pactl", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    began = time.monotonic()
    assert await find_cancelled_source() is None
    assert time.monotonic() - began < 2
