"""Microphones and speakers that plugins offer: what can be one, whose name it is, what the configuration may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from convaid import AudioDevice, hookimpl
from convaid.config import parse_configuration
from convaid.plugins import Plugin, Plugins, loading
from convaid.plugins.loading import find_unknown_devices


async def record(give: Callable[[bytes], None]) -> None:
    """Hear nothing."""


async def play(take: Callable[[int], bytes]) -> None:
    """Say nothing."""


def make_plugin(name: str, *devices: AudioDevice) -> Plugin:
    return Plugin(name, name, name, "1", "ready", devices=devices)


def ask(returned: object) -> Plugin:
    """What a plugin becomes whose hook returns this."""

    class Module:
        @hookimpl
        def convaid_devices(self, settings: Any) -> Any:
            assert settings is None
            return returned

    return loading._ask(make_plugin("phone"), loading._register(Module()), {})


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"name": "Front Door", "record": record}, 'a letter first, 32 characters at most, not "Front Door"'),
        ({"name": "wav", "record": record}, 'a device cannot be named "wav": audio = "wav" has a meaning of its own'),
        ({"name": "phone"}, 'the device "phone" neither records nor plays'),
        ({"name": "phone", "play": play, "rate": 44}, "between 8000 and 192000, samples per second, not 44"),
        ({"name": "phone", "play": play, "rate": 16000.5}, "a whole number between 8000 and 192000"),
        ({"name": 5, "play": play}, "a device is named by"),
        ({"name": "phone", "record": print}, "record of a device is an async function, not <built-in"),
    ],
)
def test_what_cannot_be_a_device(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        AudioDevice(**options)


def test_a_plugin_offers_devices() -> None:
    device = AudioDevice("phone", record, play, 8000)
    assert ask([device]).devices == (device,)
    assert ask(None).devices == ()


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ([play], "which is not a convaid.AudioDevice"),
        ([AudioDevice("phone", record), AudioDevice("phone", play=play)], 'it has two devices of the name "phone"'),
    ],
)
def test_a_hook_that_returns_something_else(returned: object, reason: str) -> None:
    with pytest.raises(loading._Unusable, match=reason):
        ask(returned)


def test_a_device_has_one_owner() -> None:
    first, second = make_plugin("a", AudioDevice("phone", record)), make_plugin("b", AudioDevice("phone", play=play))
    refused = loading._refuse_taken_names(second, [first])
    assert refused.status == "refused"
    assert refused.reason == 'its device "phone" is already offered by the plugin "a" (a 1)'
    broken = attrs.evolve(first, status="broken")
    assert loading._refuse_taken_names(second, [broken]).status == "ready"


def test_a_conversation_names_a_device_that_is_there() -> None:
    text = "".join(
        f'[conversations.{name}]\nagent_id = "agent_demo"\naudio = "{audio}"\n'
        for name, audio in {"a": "none", "b": "phone", "c": "phoen", "d": "waw", "e": "device", "f": "xyz"}.items()
    )
    conversations = parse_configuration(text, "test").conversations
    plugins = Plugins((make_plugin("phone", AudioDevice("phone", record)),))
    told = "is none of convaid's (none, wav, command, device), and no plugin in use offers such a device; "
    assert [str(problem) for problem in find_unknown_devices(plugins, conversations)] == [
        f'conversations.c.audio: "phoen" {told}did you mean "phone"?',
        f'conversations.d.audio: "waw" {told}did you mean "wav"?',
        f'conversations.f.audio: "xyz" {told}plugins offer: phone',
    ]
