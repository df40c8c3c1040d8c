"""Which device a list of patterns means."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from convaid.devices.found_programs import find_programs
from convaid.devices.names import ALSA, DEFAULT, Device, choose_devices, name_for_alsa


def make(name: str, description: str = "", server: str = "PulseAudio 16.1", **facts: Any) -> Device:
    return Device("microphone", name, description, server, facts.pop("address", name), **facts)


USB = make("alsa_input.usb-0d8c", "USB Audio Mono")
BUILT_IN = make("alsa_input.pci-00", "Built-in Audio", is_default=True)
MONITOR = make("alsa_output.usb-0d8c.monitor", "Monitor of USB Audio", is_monitor=True)
CARD = make("hw:CARD=PCH,DEV=0", "HDA Intel PCH", ALSA, address=name_for_alsa("hw:CARD=PCH,DEV=0"))
SPEAKER = Device("speaker", "alsa_output.usb-0d8c", "USB Audio", "PulseAudio 16.1", "spk", is_default=True)
ALL = [MONITOR, BUILT_IN, USB, SPEAKER, CARD]


@pytest.mark.parametrize(
    ("patterns", "addresses"),
    [
        (["default"], [DEFAULT]),
        (["usb audio"], [USB.address]),  # and not what only listens to a speaker
        (["monitor|usb audio"], [USB.address, MONITOR.address]),
        (["^monitor of"], [MONITOR.address]),
        (["webcam", "alsa_input"], [BUILT_IN.address, USB.address]),
        (["0d8c", "default"], [USB.address, DEFAULT]),
        (["PCH"], ["plughw:CARD=PCH,DEV=0"]),
        (["webcam"], []),
    ],
)
def test_patterns_are_tried_in_order(patterns: list[str], addresses: list[str]) -> None:
    chosen = choose_devices("microphone", patterns, ALL, expects_server=True)
    assert [device.address for device in chosen] == addresses


def test_what_a_speaker_plays_is_no_default_microphone() -> None:
    monitor = attrs.evolve(MONITOR, is_default=True)
    assert list(choose_devices("microphone", ["default"], [monitor], expects_server=True)) == []


def test_without_a_server_the_default_is_alsas_but_not_while_one_is_on_its_way_back() -> None:
    (device,) = choose_devices("microphone", ["default"], [CARD], expects_server=False)
    assert (device.name, device.address) == ("default", "default")
    assert list(choose_devices("microphone", ["default"], [CARD], expects_server=True)) == []


def test_a_pipewire_program_that_cannot_do_without_headers_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name.startswith("pw-") else None)
    monkeypatch.setattr("convaid.devices.found_programs._is_usable", lambda path: path.endswith("pw-record"))
    assert [program[0] for program in find_programs("microphone", 16000)] == ["/usr/bin/pw-record"]
    assert find_programs("speaker", 16000) == []


def test_a_pattern_that_takes_too_long_fits_nothing_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    odd = make("a" * 40 + "_")
    for _ in range(2):
        patterns = ["(a|a)+$", "built-in"]
        assert list(choose_devices("microphone", patterns, [odd, BUILT_IN], expects_server=True)) == [BUILT_IN]
    assert caplog.text.count("takes too long") == 1
