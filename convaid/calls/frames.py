"""What a daemon and its worker processes say to each other: JSON, each with its length in front (floor 5, pure).

To a worker: the plugin's opening, once, and then one call after the other. From it: that it is ready, or why not; then,
for each call, that it puts the agent off, and how it ended. What a worker says is checked by whoever reads it: it is a
plugin's code that may have written it.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import orjson

__all__ = ["HEADER", "write_frame"]

HEADER = struct.Struct(">I")


def write_frame(content: dict[str, Any]) -> bytes:
    """Return the bytes of a frame; ``content`` is JSON's, with text of any kind and whole numbers of any size.

    NaN and infinities may become null. Raises RecursionError.
    """
    try:
        body = orjson.dumps(content)  # arguments of 16 MiB are written on the conversations' loop
    except orjson.JSONEncodeError:  # lone surrogates, numbers of more than 64 bits, many levels
        body = json.dumps(content).encode()
    return HEADER.pack(len(body)) + body
