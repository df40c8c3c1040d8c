"""The journal's own protocol: lines with fields, which ``journalctl CONVERSATION=main`` finds.

One datagram a line, as systemd's «Native Journal Protocol» has it. No line of ours is as long as a datagram may be
(`convaid.logs` sees to it), so that none has to go by a file.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convaid.logs import MaskingFormatter

__all__ = ["JournalHandler", "encode_entry", "is_journal"]

ADDRESS = "/run/systemd/journal/socket"
SEND_LIMIT = 0.5  # seconds: whoever logs waits for a journal that is busy, and not for one that hangs
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def is_journal(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether stderr goes to the journal: systemd names its device and inode."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or replaced by what is no file
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def encode_entry(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the datagram of one entry; ``fields`` have names as the journal wants them, such as ``MESSAGE``."""
    entry = bytearray()
    for name, text in fields:
        value = text.encode(errors="replace")
        if b"\n" in value:
            entry += name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
        else:
            entry += name.encode() + b"=" + value + b"\n"
    return bytes(entry)


class JournalHandler(logging.Handler):
    """Sends records to the journal. What it does not take in time is lost, and counted in the next that it takes."""

    def __init__(self, formatter: MaskingFormatter, address: str = "") -> None:
        super().__init__()
        self.formatter: MaskingFormatter = formatter
        self._address = address or ADDRESS
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(SEND_LIMIT)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._socket.sendto(encode_entry(self._write_fields(record)), self._address)
            self._lost = 0
        except OSError:
            self._lost += 1
        except Exception:  # noqa: BLE001 - as every handler of the standard library: a wrong log call raises nowhere
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _write_fields(self, record: logging.LogRecord) -> Iterable[tuple[str, str]]:
        yield "MESSAGE", self.formatter.format(record)
        yield "PRIORITY", str(PRIORITIES.get(record.levelno, PRIORITIES[logging.INFO]))
        yield "SYSLOG_IDENTIFIER", "convaid"
        yield "LOGGER", record.name
        yield "CODE_FILE", record.pathname
        yield "CODE_LINE", str(record.lineno)
        yield "CODE_FUNC", record.funcName or ""
        for name, value in self.formatter.find_fields(record).items():
            yield name.upper(), str(value)
        if self._lost:
            yield "LOST_LINES", str(self._lost)
