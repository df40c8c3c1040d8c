"""Where the platform's API key comes from; never from the configuration file itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from convaid.config.model import Configuration, PlatformConfig
from convaid.config.secrets import Secret
from convaid.errors import ConfigurationError, Problem

__all__ = [
    "CREDENTIAL",
    "KeptSecret",
    "describe_places",
    "find_api_key",
    "find_kept_secret",
    "locate_api_key",
    "require_api_key",
]

CREDENTIAL = "elevenlabs_api_key"  # the name for systemd's LoadCredential=


@frozen
class KeptSecret:
    """A secret, and where it was found: in words, and as the file that a setting names."""

    secret: Secret
    place: str
    file: Path | None = None


def find_api_key(platform: PlatformConfig, environ: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the key from the first place that has one, or None.

    The places, in order: ``api_key_file``, systemd's ``$CREDENTIALS_DIRECTORY/elevenlabs_api_key``, the environment
    variable ``api_key_env``. ConfigurationError names the place if a file cannot be read or what is there is no key.
    """
    found = locate_api_key(platform, environ)
    return found.secret if found else None


def locate_api_key(platform: PlatformConfig, environ: Mapping[str, str] = os.environ) -> KeptSecret | None:
    """Return the key with its place, as `find_api_key`."""
    file, variable = platform.api_key_file, platform.api_key_env
    return find_kept_secret(file, "platform.api_key_file", CREDENTIAL, variable, what="API key", environ=environ)


def find_kept_secret(
    file: Path | None,
    setting: str,
    credential: str,
    variable: str,
    *,
    what: str,
    environ: Mapping[str, str] = os.environ,
) -> KeptSecret | None:
    """Return a secret from the first place that has one: the file that a setting names, a systemd credential, an
    environment variable. ConfigurationError names the place if a file cannot be read or what is there is no ``what``.
    """
    if file is not None:
        return KeptSecret(_read_secret(file, setting, what), str(file), file)
    handed = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / credential
    if "CREDENTIALS_DIRECTORY" in environ and handed.exists():
        place = f"$CREDENTIALS_DIRECTORY/{credential}"
        return KeptSecret(_read_secret(handed, place, what), place)
    if text := environ.get(variable, "").strip():
        return KeptSecret(_check_secret(text, f"${variable}", what), f"${variable}")
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


def _read_secret(file: Path, place: str, what: str) -> Secret:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(place, [Problem("", f"{file} cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        text = "not text"
    if not text:
        raise ConfigurationError(place, [Problem("", f"{file} is empty; it holds the {what} and nothing else")])
    return _check_secret(text, place, what)


def _check_secret(text: str, place: str, what: str) -> Secret:
    # An HTTP header takes printable ASCII; the text is not repeated, as half of it may be a secret.
    if not all("!" <= character <= "~" for character in text):
        raise ConfigurationError(place, [Problem("", f"holds something else than one {what} on one line")])
    return Secret(text)
