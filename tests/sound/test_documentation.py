"""docs/sound.md cannot lie: its plugin has a device, and its configuration is one."""

from __future__ import annotations

import re
from pathlib import Path

from convaid.config import parse_configuration
from convaid.plugins import Plugin, loading

PAGE = (Path(__file__).parents[2] / "docs" / "sound.md").read_text()


class Module:
    """What the page's plugin has in its module."""


def test_the_plugin_of_the_page_brings_a_device() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module = Module()
    exec(source, vars(module))
    plugin = loading._ask(Plugin("i", "i", "i", "1", "ready"), loading._register(module), {})
    (device,) = plugin.devices
    assert f'audio = "{device.name}"' in PAGE
    assert (device.rate, bool(device.record), bool(device.play)) == (16000, True, True)


def test_the_configuration_of_the_page_is_one() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    device = parse_configuration(text, "docs/sound.md").conversations["main"].device
    assert device.microphone == ["jabra", "webcam", "default"]


def test_every_kind_of_audio_is_in_the_table() -> None:
    from convaid.plugins.devices import OURS

    assert set(re.findall(r'^\| `"(\w+)"` \|', PAGE, re.MULTILINE)) == set(OURS)
