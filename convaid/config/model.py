"""The shape of the configuration: one frozen class per TOML table, which holds whatever has been loaded (pure).

A value that contradicts another one is refused by the class itself: no configuration with a contradiction exists.
Durations are seconds. The shipped ``config.toml`` explains each setting to its user; here stands what code needs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs
from attrs import field, frozen

from convaid.config.checks import (
    REGIONS,
    SIMULATOR,
    Field,
    check_amount,
    check_base_url,
    check_count,
    check_duration,
    check_event_names,
    check_json,
    check_own_url,
    check_program,
    check_schedule,
    check_variable,
    is_loopback,
)
from convaid.config.policy import ToolsConfig
from convaid.config.secrets import Secret, mask_table, mask_url, secrets_of_table, secrets_of_url
from convaid.config.signed_urls import SignedUrlsConfig
from convaid.config.sound import AudioConfig, ChimesConfig, CommandConfig, DeviceConfig, SpeechConfig, WavConfig
from convaid.errors import Problem, StructureError

__all__ = [
    "BudgetConfig",
    "Configuration",
    "ControlConfig",
    "ConversationConfig",
    "DaemonConfig",
    "EventCommandConfig",
    "HistoryConfig",
    "LimitsConfig",
    "LogConfig",
    "OverridesConfig",
    "PlatformConfig",
    "RecapConfig",
]

SHORTEST_CHUNK = 0.01  # seconds: less is nothing but overhead
SHORTEST_PING_INTERVAL = 0.1  # seconds, likewise
LONGEST_CHUNK = 0.25  # seconds: the longest that an official SDK sends at once


@frozen
class PlatformConfig:
    """``[platform]``: where the agents are, and where the API key is looked for."""

    base_url: str = field(default=SIMULATOR, validator=check_base_url)
    api_key_env: str = field(default="ELEVENLABS_API_KEY", validator=check_variable)
    api_key_file: Path | None = None
    simulator_file: Path | None = None  # of no effect with another platform: leaving the simulator is three lines

    @property
    def is_simulator(self) -> bool:
        """Whether the bundled simulator is meant. Whoever starts it puts its address into ``base_url``."""
        return self.base_url == SIMULATOR

    @property
    def is_forgetful(self) -> bool:
        """Whether what is pushed to it is lost: the bundled simulator, without a file to keep tools and agents in."""
        return self.is_simulator and self.simulator_file is None

    @property
    def rest_url(self) -> str:
        """``https://…``, or ``http://…`` on loopback, without a slash at the end; meaningless for the simulator."""
        return REGIONS.get(self.base_url, self.base_url.rstrip("/"))


@frozen
class OverridesConfig:
    """``[conversations.NAME.overrides]``: None is not sent. Each needs the agent owner's permission."""

    prompt: str | None = None
    first_message: str | None = None
    language: str | None = None
    voice_id: str | None = None
    text_only: bool | None = None


@frozen
class LimitsConfig:
    """``[conversations.NAME.limits]``: how long what is waited for, in seconds."""

    connect: float = field(default=10.0, validator=check_duration)  # name look-up, TCP and TLS
    handshake: float = field(default=10.0, validator=check_duration)  # of the WebSocket
    disconnect: float = field(default=3.0, validator=check_duration)  # the other side's close
    link_silence: float = field(default=9.0, validator=check_duration)  # no frame at all: the link is dead
    ping_interval: float = field(default=3.0, validator=check_duration)  # of our WebSocket pings
    answer: float = field(default=60.0, validator=check_duration)  # the agent owes one
    idle: float = field(default=math.inf, validator=check_duration)  # nobody says anything
    life: float = field(default=math.inf, validator=check_duration)  # of one conversation
    stable_after: float = field(default=30.0, validator=check_duration)  # a session that lived so long was a success
    chunk: float = field(default=0.04, validator=check_duration)  # microphone audio in one frame

    def __attrs_post_init__(self) -> None:
        problems = []
        if self.link_silence <= self.ping_interval:
            problems.append(
                Problem(
                    "link_silence",
                    f"must be longer than ping_interval ({self.ping_interval:g} s): pings are what breaks the silence",
                )
            )
        if not SHORTEST_CHUNK <= self.chunk <= LONGEST_CHUNK:
            words = f"must be between {SHORTEST_CHUNK} and {LONGEST_CHUNK} seconds, not {self.chunk:g}"
            problems.append(Problem("chunk", words))
        if self.ping_interval < SHORTEST_PING_INTERVAL:
            words = f"must be at least {SHORTEST_PING_INTERVAL} seconds, not {self.ping_interval:g}"
            problems.append(Problem("ping_interval", words))
        if problems:
            raise StructureError(problems)


@frozen
class RecapConfig:
    """``[conversations.NAME.recap]``: what the agent is told of a conversation that goes on after a lost connection."""

    way: Literal["context", "variable", "off"] = "off"
    turns: int = field(default=10, validator=check_count)  # the last ones
    size: int = field(default=2000, validator=check_count)  # characters
    greet_again: bool = True


@frozen
class HistoryConfig:
    """``[conversations.NAME.history]``: whether transcripts are kept, and for how long."""

    keep: Literal["off", "redacted", "full"] = "redacted"
    days: float = field(default=30.0, validator=check_amount)


@frozen
class BudgetConfig:
    """``[budget]`` and ``[conversations.NAME.budget]``: how long, and how often, conversations may be open."""

    minutes_per_conversation: float = field(default=math.inf, validator=check_amount)
    minutes_per_day: float = field(default=math.inf, validator=check_amount)  # from midnight, local time, as the month
    minutes_per_month: float = field(default=math.inf, validator=check_amount)
    starts_per_hour: float = field(default=math.inf, validator=check_amount)


@frozen
class ConversationConfig:
    """``[conversations.NAME]``: one agent to talk to, and how. NAME is the key in `Configuration.conversations`."""

    agent_id: str = ""
    auth: Literal["public", "signed_url", "signed_url_from", "api_key_header"] = "public"
    signed_url_from: str = field(default="", validator=check_own_url, repr=lambda url: repr(mask_url(url)))
    signed_url_secret_env: str = field(default="", validator=check_variable)
    environment: str = ""
    branch_id: str = ""
    user_id: str = ""
    start: Literal["always", "once", "on_demand", "schedule"] = "always"
    schedule: list[str] = field(factory=list, validator=check_schedule)  # hours of the week, local time
    record: bool = False  # every session's frames, into a file of the state folder's
    audio: str = "none"  # "wav", "command", "device", or what a plugin calls its own
    echo: Literal["auto", "system", "aec", "gate", "duck", "none"] = "auto"
    overrides: OverridesConfig = field(factory=OverridesConfig)
    dynamic_variables: dict[str, str | float | int | bool | list[str | float | int | bool]] = field(
        factory=dict, validator=check_json, repr=lambda table: repr(mask_table(table))
    )
    custom_llm_extra_body: dict[str, Any] = field(factory=dict, validator=check_json, repr=False)
    initiation: dict[str, Any] = field(factory=dict, validator=check_json, repr=False)
    wav: WavConfig | None = None
    command: CommandConfig = field(factory=CommandConfig)
    device: DeviceConfig = field(factory=DeviceConfig)
    speech: SpeechConfig = field(factory=SpeechConfig)
    chimes: ChimesConfig = field(factory=ChimesConfig)
    limits: LimitsConfig = field(factory=LimitsConfig)
    budget: BudgetConfig = field(factory=BudgetConfig)
    recap: RecapConfig = field(factory=RecapConfig)
    history: HistoryConfig = field(factory=HistoryConfig)

    def __attrs_post_init__(self) -> None:
        problems = list(self._find_contradictions())
        if self.history.keep == "off" and self.recap.way != "off":  # here alone: what is private is kept nowhere
            words = f'cannot be "{self.recap.way}" with history.keep = "off", which keeps nothing of what is said'
            problems.append(Problem("recap.way", f"{words}; remove one of them"))
        if problems:
            raise StructureError(problems)

    def _find_contradictions(self) -> Iterator[Problem]:
        if self.auth == "signed_url_from":
            if not self.signed_url_from:
                yield Problem("signed_url_from", 'is required with auth = "signed_url_from"')
        else:
            if not self.agent_id:
                yield Problem("agent_id", f'is required with auth = "{self.auth}"; the dashboard shows it as agent_…')
            if self.signed_url_from:
                yield Problem(
                    "signed_url_from",
                    f'has no effect with auth = "{self.auth}"; set auth = "signed_url_from", or remove it',
                )
        if self.signed_url_secret_env and not self.signed_url_from:
            yield Problem("signed_url_secret_env", "has no effect without signed_url_from, whose server is told it")
        if self.audio != "none":
            if self.overrides.text_only:
                yield Problem("overrides.text_only", f'cannot be true with audio = "{self.audio}"; remove one of them')
            if self.audio in ("wav", "command", "device") and not self._names_devices:
                yield Problem(self.audio, f'needs a microphone, a speaker or both with audio = "{self.audio}"')
        if (self.start == "schedule") != bool(self.schedule):
            words = 'goes with start = "schedule", as in schedule = ["Mon-Fri 08:00-18:00"]'
            yield Problem("schedule", words if self.schedule else f"is missing: it {words}")
        for name in self.dynamic_variables:
            if name.startswith("system__"):
                yield Problem(f"dynamic_variables.{name}", "cannot be set: names with system__ belong to the platform")

    @property
    def _names_devices(self) -> bool:
        if self.sound is None:
            return False
        return any(
            device is None if isinstance(self.sound, CommandConfig) and not device else bool(device)  # None: is found
            for device in (self.sound.microphone, self.sound.speaker)
        )

    @property
    def needs_api_key(self) -> bool:
        return self.auth in ("signed_url", "api_key_header")

    @property
    def sound(self) -> AudioConfig | None:
        """The table that ``audio`` names; None for a conversation in text."""
        return {"wav": self.wav, "command": self.command, "device": self.device}.get(self.audio)


@frozen
class EventCommandConfig:
    """``[[event_commands]]``: a program to be run when something happens."""

    on: list[str] = field(validator=check_event_names)
    run: list[str] = field(validator=check_program)  # with its arguments
    conversation: str = ""  # of which it is told; of all
    time_limit: float = field(default=10.0, validator=check_duration)


@frozen
class LogConfig:
    """``[log]``"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"  # of what goes to stderr; "auto": the journal, or console


@frozen
class DaemonConfig:
    """``[daemon]``"""

    stop_grace: float = field(default=5.0, validator=check_duration)  # from the first signal to a forced end
    pool_size: int = field(default=1000, validator=check_count)  # conversations that are open at once
    queue_size: int = field(default=100, validator=check_count)  # that wait for a place in the pool


@frozen
class ControlConfig:
    """``[control]``: the daemon's own API, on a Unix socket."""

    enabled: bool = True
    path: Path | None = None  # None: `convaid.control.places` says where
    mode: str = field(default="0600")  # of the socket, as chmod has it
    group: str = ""  # of the socket; "": that of the process

    @mode.validator
    def _check_mode(self, field: Field, value: str) -> None:
        if not re.fullmatch(r"0?[0-7]{3}", value):
            raise ValueError(f'expected the permissions as chmod has them, such as "0660", not "{value}"')


@frozen
class Configuration:
    """The whole file. ``plugins`` holds each plugin's raw table (with ``enabled``): only the plugin knows its shape."""

    platform: PlatformConfig = field(factory=PlatformConfig)
    conversations: dict[str, ConversationConfig] = field(factory=dict)
    tools: ToolsConfig = field(factory=ToolsConfig)
    plugins: dict[str, dict[str, Any]] = field(factory=dict, repr=lambda tables: repr(mask_table(tables)))
    budget: BudgetConfig = field(factory=BudgetConfig)
    event_commands: list[EventCommandConfig] = field(factory=list)
    log: LogConfig = field(factory=LogConfig)
    daemon: DaemonConfig = field(factory=DaemonConfig)
    control: ControlConfig = field(factory=ControlConfig)
    signed_urls: SignedUrlsConfig = field(factory=SignedUrlsConfig)

    def find_unlimited(self) -> list[str]:
        """The conversations with a paid platform that are always open, and that neither silence nor a budget ends."""
        if self.platform.is_simulator or is_loopback(urlsplit(self.platform.rest_url).hostname or ""):
            return []
        return [
            name
            for name, settings in self.conversations.items()
            if settings.start == "always"
            and settings.limits.idle == math.inf
            and settings.budget == BudgetConfig() == self.budget
        ]

    def masked(self) -> dict[str, Any]:
        """Return plain tables as TOML lays them out, with secrets masked and without what is not set; for people."""
        tables: dict[str, Any] = attrs.asdict(self)
        for conversation in tables["conversations"].values():
            conversation["signed_url_from"] = mask_url(conversation["signed_url_from"])
        tables["tools"] |= tables["tools"].pop("named")
        return mask_table(_drop_unset(tables))

    def secrets(self) -> Iterator[Secret]:
        """Yield the secrets that stand in the file, for the log's filter. The API key is none of them."""
        for conversation in self.conversations.values():
            yield from secrets_of_url(conversation.signed_url_from)
            for table in (conversation.dynamic_variables, conversation.custom_llm_extra_body, conversation.initiation):
                yield from secrets_of_table(table)
        yield from secrets_of_table(self.plugins)


def _drop_unset(table: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _drop_unset(value) if isinstance(value, dict) else str(value) if isinstance(value, Path) else value
        for name, value in table.items()
        if value is not None
    }
