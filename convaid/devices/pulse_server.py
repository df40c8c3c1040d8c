"""The devices of PulseAudio, or of PipeWire behind its PulseAudio socket, asked by libpulse. What is here blocks.

libpulse is there wherever ALSA reaches such a server, since ALSA's plugin takes it (libasound2-plugins).
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from convaid.devices.interfaces import Role
from convaid.devices.names import Device
from convaid.devices.quiet import silence_libraries

__all__ = ["list_server_devices"]

ANSWER_LIMIT = 2.0  # seconds that a server has for its answers; it takes some 5 ms
NO_INDEX = 0xFFFFFFFF
NO_AUTOSPAWN = 1  # pa_context_flags
READY, FAILED = 4, 5  # pa_context_state; what is above has failed, too


class _SampleSpec(ctypes.Structure):
    _fields_ = (("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8))


class _PerChannel(ctypes.Structure):
    """``pa_channel_map`` and ``pa_cvolume`` alike."""

    _fields_ = (("channels", ctypes.c_uint8), ("values", ctypes.c_uint32 * 32))


class _Port(ctypes.Structure):
    """How ``pa_source_info`` and ``pa_sink_info`` begin; in a sink, the last says which source is its monitor."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("index", ctypes.c_uint32),
        ("description", ctypes.c_char_p),
        ("spec", _SampleSpec),
        ("channel_map", _PerChannel),
        ("module", ctypes.c_uint32),
        ("volume", _PerChannel),
        ("is_muted", ctypes.c_int),
        ("monitored", ctypes.c_uint32),
    )


class _Server(ctypes.Structure):
    """How ``pa_server_info`` begins."""

    _fields_ = (
        ("user", ctypes.c_char_p),
        ("host", ctypes.c_char_p),
        ("version", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("spec", _SampleSpec),
        ("default_sink", ctypes.c_char_p),
        ("default_source", ctypes.c_char_p),
    )


_PORT_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_Port), ctypes.c_int, ctypes.c_void_p)
_SERVER_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_Server), ctypes.c_void_p)


@cache
def _load() -> Any:
    """libpulse with its functions' types; None where it is not installed."""
    silence_libraries()
    try:
        library = ctypes.CDLL("libpulse.so.0")
    except OSError:
        return None
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, *arguments in (
        ("pa_mainloop_new", pointer),
        ("pa_mainloop_get_api", pointer, pointer),
        ("pa_mainloop_prepare", number, pointer, number),
        ("pa_mainloop_poll", number, pointer),
        ("pa_mainloop_dispatch", number, pointer),
        ("pa_mainloop_free", None, pointer),
        ("pa_context_new", pointer, pointer, text),
        ("pa_context_connect", number, pointer, text, number, pointer),
        ("pa_context_get_state", number, pointer),
        ("pa_context_disconnect", None, pointer),
        ("pa_context_unref", None, pointer),
        ("pa_context_get_server_info", pointer, pointer, _SERVER_CALL, pointer),
        ("pa_context_get_source_info_list", pointer, pointer, _PORT_CALL, pointer),
        ("pa_context_get_sink_info_list", pointer, pointer, _PORT_CALL, pointer),
        ("pa_operation_unref", None, pointer),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def list_server_devices() -> list[Device]:
    """Return the server's devices; none where there is no server, or where it does not answer in time."""
    library = _load()
    if library is None:
        return []
    with _connect(library) as connection:
        return _ask(library, *connection) if connection else []


@contextmanager
def _connect(library: Any) -> Iterator[tuple[int, Callable[[Callable[[], bool]], bool]] | None]:
    """A connection to the server, and what turns its loop until something is so; None where there is no server."""
    deadline = time.monotonic() + ANSWER_LIMIT
    loop = library.pa_mainloop_new()
    context = library.pa_context_new(library.pa_mainloop_get_api(loop), b"convaid")

    def turn_until(is_so: Callable[[], bool]) -> bool:
        while not is_so():
            left = deadline - time.monotonic()
            if left <= 0 or library.pa_mainloop_prepare(loop, round(left * 1e6)) < 0:
                return False
            if library.pa_mainloop_poll(loop) < 0 or library.pa_mainloop_dispatch(loop) < 0:
                return False
        return True

    try:
        is_there = (
            library.pa_context_connect(context, None, NO_AUTOSPAWN, None) == 0
            and turn_until(lambda: library.pa_context_get_state(context) >= READY)
            and library.pa_context_get_state(context) == READY
        )
        yield (context, turn_until) if is_there else None
    finally:
        library.pa_context_disconnect(context)
        library.pa_context_unref(context)
        library.pa_mainloop_free(loop)


def _ask(library: Any, context: int, turn_until: Callable[[Callable[[], bool]], bool]) -> list[Device]:
    found: list[tuple[Role, str, str, int, int, bool]] = []
    server: list[tuple[str, str, str]] = []
    ends: list[int] = []

    def note_server(_: int, about: Any, __: object) -> None:
        texts = (about[0].name, about[0].version, about[0].default_source, about[0].default_sink)
        name, version, source, sink = [(text or b"").decode(errors="replace") for text in texts]
        server.append((_name_server(name, version), source, sink))

    def make_noting(role: Role) -> Any:
        def note_port(_: int, port: Any, end: int, __: object) -> None:
            if end:
                ends.append(end)
                return
            each = port[0]
            name, words = each.name.decode(errors="replace"), (each.description or b"").decode(errors="replace")
            is_monitor = role == "microphone" and each.monitored != NO_INDEX
            found.append((role, name, words, each.spec.rate, each.spec.channels, is_monitor))

        return _PORT_CALL(note_port)

    calls = (_SERVER_CALL(note_server), make_noting("microphone"), make_noting("speaker"))
    for operation in (
        library.pa_context_get_server_info(context, calls[0], None),
        library.pa_context_get_source_info_list(context, calls[1], None),
        library.pa_context_get_sink_info_list(context, calls[2], None),
    ):
        library.pa_operation_unref(operation)
    if not turn_until(lambda: (bool(server) and len(ends) == 2) or library.pa_context_get_state(context) >= FAILED):
        return []
    if not server:
        return []
    words, source, sink = server[0]
    return [
        Device(
            role,
            name,
            description,
            words,
            f'pulse:DEVICE="{name}"',
            rate,
            channels,
            name == (source if role == "microphone" else sink),
            is_monitor,
        )
        for role, name, description, rate, channels, is_monitor in found
        if '"' not in name
    ]


def _name_server(name: str, version: str) -> str:
    inside = re.search(r"PipeWire ([\w.]+)", name)
    return f"PipeWire {inside[1]}" if inside else f"PulseAudio {version}"
