"""What is examined."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from attrs import Factory, field, frozen

from convaid.config import Configuration
from convaid.config.checks import is_loopback
from convaid.plugins import Plugins

__all__ = ["Subject"]


@frozen
class Subject:
    """The configuration and the plugins, and the circumstances."""

    configuration: Configuration
    """Its ``base_url`` leads somewhere: of the bundled simulator it is the address."""
    plugins: Plugins
    path: Path | None = None
    """The configuration's file."""
    is_bundled: bool = False
    """The platform is the bundled simulator."""
    has_configuration: bool = True
    """False where there is no configuration that could be used: then this one is made of defaults."""
    owned: Mapping[str, str] | None = None
    """The ids of the platform's tools that are ours to change, by name; None: that is not known."""
    asks_all_regions: bool = False
    """The API key may be shown to the platform's hosts in other regions."""
    environ: Mapping[str, str] = field(default=Factory(lambda: os.environ), repr=False)

    @property
    def url(self) -> str:
        """Where the platform is."""
        return self.configuration.platform.rest_url

    @property
    def host(self) -> str:
        """Its host."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_simulated(self) -> bool:
        """Whether the platform is some simulator, which asks for no key: the real one is never on this machine."""
        return is_loopback(self.host)
