"""The shipped config.toml: it works as it stands, and what its comments show is true and complete."""

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from convaid.config import (
    BudgetConfig,
    ChimesConfig,
    CommandConfig,
    Configuration,
    ControlConfig,
    ConversationConfig,
    DaemonConfig,
    DeviceConfig,
    EventCommandConfig,
    HistoryConfig,
    LimitsConfig,
    LogConfig,
    OverridesConfig,
    PlatformConfig,
    RecapConfig,
    SignedUrlsConfig,
    SpeechConfig,
    ToolPolicy,
    ToolsConfig,
    WavConfig,
    load_configuration,
    parse_configuration,
)

SHIPPED = Path(__file__).parents[2] / "config.toml"
AS_SHIPPED = Configuration(
    platform=PlatformConfig(simulator_file=SHIPPED.parent / "simulator.json"),
    conversations={"main": ConversationConfig(agent_id="agent_demo")},
)


def read_with_everything_in_use() -> str:
    return re.sub(r"^#(?=[\[\w])", "", SHIPPED.read_text(), flags=re.MULTILINE)


def test_is_a_text_conversation_with_the_simulator() -> None:
    configuration = load_configuration(SHIPPED)
    assert configuration == AS_SHIPPED
    assert configuration.platform.is_simulator
    assert configuration.conversations["main"].sound is None


def test_three_changed_lines_lead_to_a_real_agent() -> None:
    text = SHIPPED.read_text()
    for old, new in (
        ('\nbase_url = "simulator"\n', '\nbase_url = "eu"\n'),
        ('\nagent_id = "agent_demo"\n', '\nagent_id = "agent_mine"\n'),
        ('\nauth = "public"\n', '\nauth = "signed_url"\n'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    configuration = parse_configuration(text, "config.toml")
    assert configuration.platform.rest_url == "https://api.eu.residency.elevenlabs.io"
    assert configuration.conversations["main"].needs_api_key


@pytest.mark.parametrize(
    ("place", "shape"),
    [
        ("", Configuration),
        ("platform", PlatformConfig),
        ("conversations.main", ConversationConfig),
        ("conversations.main.overrides", OverridesConfig),
        ("conversations.main.wav", WavConfig),
        ("conversations.main.command", CommandConfig),
        ("conversations.main.device", DeviceConfig),
        ("conversations.main.speech", SpeechConfig),
        ("conversations.main.chimes", ChimesConfig),
        ("conversations.main.limits", LimitsConfig),
        ("conversations.main.budget", BudgetConfig),
        ("conversations.main.recap", RecapConfig),
        ("conversations.main.history", HistoryConfig),
        ("budget", BudgetConfig),
        ("tools", ToolsConfig),
        ("tools.add_note", ToolPolicy),
        ("event_commands", EventCommandConfig),
        ("log", LogConfig),
        ("daemon", DaemonConfig),
        ("control", ControlConfig),
        ("signed_urls", SignedUrlsConfig),
    ],
)
def test_shows_every_setting(place: str, shape: type) -> None:
    table = tomllib.loads(read_with_everything_in_use())
    for name in filter(None, place.split(".")):
        table = table[name]
    table = table[0] if isinstance(table, list) else table
    assert {field.name for field in attrs.fields(shape)} - {"named"} == set(table) - {"add_note"}


def test_shows_the_defaults() -> None:
    shown = parse_configuration(read_with_everything_in_use(), "config.toml").masked()
    defaults = AS_SHIPPED.masked()
    for files in ("api_key_file", "simulator_file"):
        shown["platform"].pop(files)
        defaults["platform"].pop(files, None)
    for examples in ("overrides", "dynamic_variables", "wav", "command"):
        del shown["conversations"]["main"][examples]
        defaults["conversations"]["main"].pop(examples, None)
    for example in ("add_note", "snapshot", "journal"):
        del shown["tools"][example]
    del shown["control"]["path"]
    del shown["signed_urls"]["secret_file"]
    assert shown | {"plugins": {}, "event_commands": []} == defaults
