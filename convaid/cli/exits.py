"""The exit codes of the command line, as `sysexits.h` and the shells have them."""

from __future__ import annotations

EXIT_FAILURE = 1
"""It failed; one line says why."""
EXIT_USAGE = 2
"""A wrong command line (click's own code)."""
EXIT_SOFTWARE = 70
"""A bug, with its traceback."""
EXIT_CONFIGURATION = 78
"""A configuration that cannot be used; systemd does not restart after it."""
EXIT_INTERRUPTED = 130
"""Ctrl+C before there was anything to end."""
