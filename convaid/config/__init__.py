"""The configuration: its shape, how it is read and checked, where the API key comes from, and what is never shown."""

from convaid.config.api_key import find_api_key, require_api_key
from convaid.config.checks import REGIONS
from convaid.config.describing import describe_configuration
from convaid.config.loading import load_configuration, parse_configuration
from convaid.config.model import (
    BudgetConfig,
    Configuration,
    ControlConfig,
    ConversationConfig,
    DaemonConfig,
    EventCommandConfig,
    HistoryConfig,
    LimitsConfig,
    LogConfig,
    OverridesConfig,
    PlatformConfig,
    RecapConfig,
)
from convaid.config.policy import PermissionRule, Rate, ToolPolicy, ToolsConfig
from convaid.config.secrets import Secret, mask_text, mask_url
from convaid.config.signed_urls import SignedUrlsConfig
from convaid.config.sound import AudioConfig, ChimesConfig, CommandConfig, DeviceConfig, SpeechConfig, WavConfig

__all__ = [
    "REGIONS",
    "AudioConfig",
    "BudgetConfig",
    "ChimesConfig",
    "CommandConfig",
    "Configuration",
    "ControlConfig",
    "ConversationConfig",
    "DaemonConfig",
    "DeviceConfig",
    "EventCommandConfig",
    "HistoryConfig",
    "LimitsConfig",
    "LogConfig",
    "OverridesConfig",
    "PermissionRule",
    "PlatformConfig",
    "Rate",
    "RecapConfig",
    "Secret",
    "SignedUrlsConfig",
    "SpeechConfig",
    "ToolPolicy",
    "ToolsConfig",
    "WavConfig",
    "describe_configuration",
    "find_api_key",
    "load_configuration",
    "mask_text",
    "mask_url",
    "parse_configuration",
    "require_api_key",
]
