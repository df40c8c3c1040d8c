"""The devices that this machine has: those of its sound server, and ALSA's own."""

from __future__ import annotations

from contextlib import suppress

import trio

from convaid.devices.alsa import list_alsa_devices
from convaid.devices.blocking import call_blocking
from convaid.devices.interfaces import StreamError
from convaid.devices.names import Device
from convaid.devices.pulse_server import Connection, open_connection

__all__ = ["Device", "list_devices", "list_devices_of"]

ALSA_LIMIT = 2.0  # seconds; it takes some 5 ms


async def list_devices() -> list[Device]:
    """Return the microphones and speakers that are there now, those of a sound server before those of ALSA.

    Takes some 10 ms, and two seconds where a server does not answer. Opens no device, and raises nothing; a library
    that is missing has no devices.
    """
    async with open_connection() as connection:
        return await list_devices_of(connection)


async def list_devices_of(connection: Connection | None) -> list[Device]:
    """The same, by a connection to the sound server, if there is one."""
    devices: list[Device] = []
    with suppress(StreamError):
        devices += await connection.list_devices() if connection is not None else []
    with suppress(StreamError), trio.move_on_after(ALSA_LIMIT):
        devices += await call_blocking(list_alsa_devices)
    return devices
