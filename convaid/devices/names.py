"""What devices are called, and which of them a list of patterns means (pure)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cache

import attrs
from attrs import frozen

from convaid.devices.interfaces import Role
from convaid.patterns import PatternTimeout, search_text

__all__ = ["ALSA", "DEFAULT", "Device", "choose_devices", "name_for_alsa"]

log = logging.getLogger(__name__)

ALSA = "ALSA"
DEFAULT = ""  # the address of whatever the sound server has chosen, now and later


@frozen
class Device:
    """One device, in one role. ``rate`` and ``channels`` are its own, 0 where ALSA converts what it is given."""

    role: Role
    name: str
    description: str
    server: str
    """Whose it is: ``PulseAudio 16.1``, ``PipeWire 0.3.65`` or ``ALSA``."""
    address: str
    """For whoever opens it: what its server calls it, or ALSA."""
    rate: int = 0
    channels: int = 0
    is_default: bool = False
    is_monitor: bool = False
    """A microphone that hears what a speaker plays."""

    def fits(self, pattern: str) -> bool:
        """Whether a regular expression is found in one of its names, whatever their case.

        One that takes too long fits nothing, which is logged.
        """
        try:
            return any(search_text(pattern, name) for name in (self.name, self.description))
        except PatternTimeout as error:
            warn_once(str(error))
            return False


def choose_devices(
    role: Role, patterns: Iterable[str], devices: Iterable[Device], *, expects_server: bool
) -> Iterator[Device]:
    """The devices to be tried, in this order, each once: for each pattern those that fit, the default one first.

    ``"default"`` is the sound server's choice, unless that is what a speaker plays, for want of a microphone: the agent
    would hear itself; nor does a pattern find that which does not say "monitor". Without a server the default is
    ALSA's, but not with ``expects_server``: that is on its way back, and would not get a card that we have taken.
    """
    mine = [device for device in devices if device.role == role]
    seen = set()
    for pattern in patterns:
        if pattern == "default":
            defaults = (device for device in mine if device.is_default and not device.is_monitor)
            fitting = [attrs.evolve(device, address=DEFAULT) for device in defaults]
            if not fitting and not expects_server:
                fitting = [Device(role, "default", "what ALSA is configured for", ALSA, name_for_alsa("default"))]
        else:
            may_be_monitor = "monitor" in pattern.lower()
            fitting = sorted(
                (device for device in mine if device.fits(pattern) and (may_be_monitor or not device.is_monitor)),
                key=lambda device: (device.is_monitor, not device.is_default),
            )
        for device in fitting:
            if device.address not in seen:
                seen.add(device.address)
                yield device


def name_for_alsa(name: str) -> str:
    """An ALSA device as one that takes any rate and any number of channels, which ALSA converts.

    Those that somebody has defined do that themselves; and some, a sound server's, stand still behind another ``plug``.
    """
    return f"plug{name}" if name.startswith("hw:") else name


@cache
def warn_once(words: str) -> None:
    log.warning("a device cannot be looked for: %s", words)
