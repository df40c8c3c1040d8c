"""Where the platform's API key comes from; never from the configuration file itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from convaid.config.model import Configuration, PlatformConfig
from convaid.config.secrets import Secret
from convaid.errors import ConfigurationError, Problem

__all__ = ["CREDENTIAL", "describe_places", "find_api_key", "require_api_key"]

CREDENTIAL = "elevenlabs_api_key"  # the name for systemd's LoadCredential=


def find_api_key(platform: PlatformConfig, environ: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the key from the first place that has one, or None.

    The places, in order: ``api_key_file``, systemd's ``$CREDENTIALS_DIRECTORY/elevenlabs_api_key``, the environment
    variable ``api_key_env``. ConfigurationError names the place if a file cannot be read or what is there is no key.
    """
    if platform.api_key_file is not None:
        return _read_key(platform.api_key_file, "platform.api_key_file")
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL
    if "CREDENTIALS_DIRECTORY" in environ and credential.exists():
        return _read_key(credential, f"$CREDENTIALS_DIRECTORY/{CREDENTIAL}")
    if text := environ.get(platform.api_key_env, "").strip():
        return _check_key(text, f"${platform.api_key_env}")
    return None


def require_api_key(configuration: Configuration, environ: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the key, as `find_api_key`; ConfigurationError if there is none and a conversation needs one."""
    platform = configuration.platform
    key = find_api_key(platform, environ)
    needing = [name for name, conversation in configuration.conversations.items() if conversation.needs_api_key]
    if key is None and needing:
        message = f"needs the API key, and there is none; {describe_places(platform)}"
        raise ConfigurationError("API key", [Problem(f"conversations.{name}.auth", message) for name in needing])
    return key


def describe_places(platform: PlatformConfig) -> str:
    """Return where to put a key, as a remedy."""
    places = f"the environment variable {platform.api_key_env}, platform.api_key_file or a systemd credential"
    return f"set {places} {CREDENTIAL}"


def _read_key(file: Path, place: str) -> Secret:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(place, [Problem("", f"{file} cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        text = "not text"
    if not text:
        raise ConfigurationError(place, [Problem("", f"{file} is empty; it holds the API key and nothing else")])
    return _check_key(text, place)


def _check_key(text: str, place: str) -> Secret:
    # An HTTP header takes printable ASCII; the text is not repeated, as half of it may be a key.
    if not all("!" <= character <= "~" for character in text):
        raise ConfigurationError(place, [Problem("", "holds something else than one API key on one line")])
    return Secret(text)
