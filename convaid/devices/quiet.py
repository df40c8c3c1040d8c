"""Native libraries write to stderr as they like: PortAudio, ALSA, JACK and libpulse, thousands of lines for one loss.

None of it belongs into a service's log, which is told of the loss once, in our words.
"""

from __future__ import annotations

import ctypes
from functools import cache

__all__ = ["silence_libraries"]


@cache
def silence_libraries() -> None:
    """Has C's ``stderr`` lead nowhere, for the whole process and for good.

    Python's own, and what it writes in an emergency, go to the descriptor 2 and not through it. The libraries have
    switches as well, but Debian's PortAudio exports none.
    """
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    library.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    ctypes.c_void_p.in_dll(library, "stderr").value = library.fopen(b"/dev/null", b"we")
