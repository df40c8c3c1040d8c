"""The exit codes of the command line, as `sysexits.h` and the shells have them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

EXIT_FAILURE = 1
"""It failed; one line says why."""
EXIT_USAGE = 2
"""A wrong command line (click's own code)."""
EXIT_ABSENT = 3
"""No daemon runs; as `systemctl status` has it."""
EXIT_UNAVAILABLE = 69
"""The platform could not be reached, or refused; nothing is known of what was asked."""
EXIT_SOFTWARE = 70
"""A bug, with its traceback."""
EXIT_CONFIGURATION = 78
"""A configuration that cannot be used; systemd does not restart after it."""
EXIT_SIGNAL = 128
"""More than this by a signal's number: it ended the command before that was done."""
EXIT_INTERRUPTED = 130
"""Ctrl+C before there was anything to end."""


def leave(code: int) -> NoReturn:
    """End the process at once: the interpreter would wait for every thread that a plugin has left behind."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
