"""libpulse, which talks to PulseAudio, and to PipeWire behind its PulseAudio socket: what is used of it, by ctypes.

Names, numbers and structures are those of its headers (pulse/def.h, context.h, stream.h, introspect.h).
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from convaid.devices.quiet import silence_libraries

__all__ = [
    "ADJUST_LATENCY",
    "DONT_MOVE",
    "FAILED",
    "INTERPOLATE_TIMING",
    "NOTIFY_CALL",
    "NO_AUTOSPAWN",
    "NO_INDEX",
    "POLL_CALL",
    "PORT_CALL",
    "READY",
    "S16LE",
    "SERVER_CALL",
    "STREAM_FAILED",
    "STREAM_READY",
    "SUCCESS_CALL",
    "TRANSFER_CALL",
    "UNSET",
    "BufferAttributes",
    "SampleSpec",
    "load_libpulse",
]

NO_INDEX = UNSET = 0xFFFFFFFF
NO_AUTOSPAWN = 1  # pa_context_flags
READY, FAILED = 4, 5  # pa_context_state; what is above has failed, too
STREAM_READY, STREAM_FAILED = 2, 3  # pa_stream_state; likewise
INTERPOLATE_TIMING, DONT_MOVE, ADJUST_LATENCY = 0x2, 0x200, 0x2000  # pa_stream_flags
S16LE = 3


class SampleSpec(ctypes.Structure):
    """``pa_sample_spec``"""

    _fields_ = (("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8))


class BufferAttributes(ctypes.Structure):
    """``pa_buffer_attr``, in bytes."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize"))


class PerChannel(ctypes.Structure):
    """``pa_channel_map`` and ``pa_cvolume`` alike."""

    _fields_ = (("channels", ctypes.c_uint8), ("values", ctypes.c_uint32 * 32))


class Port(ctypes.Structure):
    """How ``pa_source_info`` and ``pa_sink_info`` begin; in a sink, the last says which source is its monitor."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("index", ctypes.c_uint32),
        ("description", ctypes.c_char_p),
        ("spec", SampleSpec),
        ("channel_map", PerChannel),
        ("module", ctypes.c_uint32),
        ("volume", PerChannel),
        ("is_muted", ctypes.c_int),
        ("monitored", ctypes.c_uint32),
    )


class Server(ctypes.Structure):
    """How ``pa_server_info`` begins."""

    _fields_ = (
        ("user", ctypes.c_char_p),
        ("host", ctypes.c_char_p),
        ("version", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("spec", SampleSpec),
        ("default_sink", ctypes.c_char_p),
        ("default_source", ctypes.c_char_p),
    )


_pointer = ctypes.c_void_p
POLL_CALL = ctypes.CFUNCTYPE(ctypes.c_int, _pointer, ctypes.c_ulong, ctypes.c_int, _pointer)
PORT_CALL = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(Port), ctypes.c_int, _pointer)
SERVER_CALL = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(Server), _pointer)
NOTIFY_CALL = ctypes.CFUNCTYPE(None, _pointer, _pointer)
TRANSFER_CALL = ctypes.CFUNCTYPE(None, _pointer, ctypes.c_size_t, _pointer)
SUCCESS_CALL = ctypes.CFUNCTYPE(None, _pointer, ctypes.c_int, _pointer)


@cache
def load_libpulse() -> Any:
    """libpulse with its functions' types; None where it is not installed."""
    silence_libraries()
    try:
        library = ctypes.CDLL("libpulse.so.0")
    except OSError:
        return None
    text, number, size = ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    attributes = ctypes.POINTER(BufferAttributes)
    for name, result, *arguments in (
        ("pa_strerror", text, number),
        ("pa_mainloop_new", _pointer),
        ("pa_mainloop_set_poll_func", None, _pointer, POLL_CALL, _pointer),
        ("pa_mainloop_get_api", _pointer, _pointer),
        ("pa_mainloop_iterate", number, _pointer, number, _pointer),
        ("pa_mainloop_free", None, _pointer),
        ("pa_operation_unref", None, _pointer),
        ("pa_context_new", _pointer, _pointer, text),
        ("pa_context_set_state_callback", None, _pointer, NOTIFY_CALL, _pointer),
        ("pa_context_connect", number, _pointer, text, number, _pointer),
        ("pa_context_get_state", number, _pointer),
        ("pa_context_errno", number, _pointer),
        ("pa_context_disconnect", None, _pointer),
        ("pa_context_unref", None, _pointer),
        ("pa_context_get_server_info", _pointer, _pointer, SERVER_CALL, _pointer),
        ("pa_context_get_source_info_list", _pointer, _pointer, PORT_CALL, _pointer),
        ("pa_context_get_sink_info_list", _pointer, _pointer, PORT_CALL, _pointer),
        ("pa_stream_new", _pointer, _pointer, text, ctypes.POINTER(SampleSpec), _pointer),
        ("pa_stream_set_state_callback", None, _pointer, NOTIFY_CALL, _pointer),
        ("pa_stream_set_moved_callback", None, _pointer, NOTIFY_CALL, _pointer),
        ("pa_stream_set_write_callback", None, _pointer, TRANSFER_CALL, _pointer),
        ("pa_stream_set_underflow_callback", None, _pointer, NOTIFY_CALL, _pointer),
        ("pa_stream_connect_record", number, _pointer, text, attributes, number),
        ("pa_stream_connect_playback", number, _pointer, text, attributes, number, _pointer, _pointer),
        ("pa_stream_get_state", number, _pointer),
        ("pa_stream_peek", number, _pointer, ctypes.POINTER(_pointer), ctypes.POINTER(size)),
        ("pa_stream_drop", number, _pointer),
        ("pa_stream_writable_size", size, _pointer),
        ("pa_stream_write", number, _pointer, text, size, _pointer, ctypes.c_int64, number),
        ("pa_stream_update_timing_info", _pointer, _pointer, SUCCESS_CALL, _pointer),
        ("pa_stream_get_latency", number, _pointer, ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(number)),
        ("pa_stream_disconnect", number, _pointer),
        ("pa_stream_unref", None, _pointer),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
