"""The devices that this machine has: those of its sound server, and ALSA's own."""

from __future__ import annotations

from convaid.devices.alsa import list_alsa_devices
from convaid.devices.names import Device
from convaid.devices.pulse_server import list_server_devices

__all__ = ["Device", "list_devices"]


def list_devices() -> list[Device]:
    """Return the microphones and speakers that are there now, those of a sound server before those of ALSA.

    Blocks, for some 10 ms, and for two seconds where a server does not answer. Opens no device, and raises nothing; a
    library that is missing has no devices.
    """
    return [*list_server_devices(), *list_alsa_devices()]
