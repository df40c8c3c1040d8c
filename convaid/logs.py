"""Logging to stderr or the journal, with secrets masked in the last step before a line leaves the program.

A record may have fields: ``extra={"fields": {"conversation": "main"}}``. They are in the journal, where ``journalctl
CONVERSATION=main`` finds them, and in JSON; on a console the message says it all.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from traceback import TracebackException
from typing import Any, Literal

from attrs import frozen

from convaid.config.secrets import MASK, Secret, mask_text
from convaid.wording import escape_controls

__all__ = [
    "JOURNAL_LINE",
    "RECENT_WARNINGS",
    "JsonFormatter",
    "LogFormat",
    "MaskingFormatter",
    "RecentWarnings",
    "Warned",
    "set_up_logging",
]

LogFormat = Literal["auto", "console", "json"]

SHORTEST_SECRET = 6  # characters: masking a shorter one everywhere would hide ordinary words, and it protects nothing
LONGEST_LINE = 4000  # characters: what others say can be long
LONGEST_TRACEBACK = 20_000  # characters: so can what an exception of a plugin's says
CONSOLE_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
JOURNAL_LINE = "%(message)s"  # the journal knows the time; the rest are fields
MARGIN = "    "  # before each line of a traceback: an exception's text may look like a line of the log
WARNINGS_KEPT = 20  # kinds of them
WARNING_LENGTH = 500  # characters
QUIET = ("httpx", "httpcore", "trio-websocket")  # they log each request or frame, some with its URL


def set_up_logging(level: str, secrets: Iterable[Secret] = (), format: LogFormat = "auto") -> None:
    """Send all logging of at least ``level`` (``"info"``) to stderr; whatever was set up before is replaced.

    ``secrets`` are masked by value, and by its shape whatever looks like a credential: a signed URL is minted later.
    ``format``: "auto" sends records with their fields to the journal where stderr leads there; elsewhere it is
    "console", lines for people. "json" is an object a line.
    """
    from convaid.service.journald import JournalHandler, is_journal

    handler: logging.Handler
    if format == "auto" and is_journal():
        handler = JournalHandler(MaskingFormatter(secrets, JOURNAL_LINE))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter(secrets) if format == "json" else MaskingFormatter(secrets))
    RECENT_WARNINGS.setFormatter(MaskingFormatter(secrets, JOURNAL_LINE))
    logging.basicConfig(level=level.upper(), handlers=[handler, RECENT_WARNINGS], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class MaskingFormatter(logging.Formatter):
    """Formats records as single lines (a traceback follows, its lines set in) with secrets masked in all of it."""

    def __init__(self, secrets: Iterable[Secret], line: str = CONSOLE_LINE) -> None:
        super().__init__(line)
        values = {secret.reveal() for secret in secrets}
        # The longest first: one secret may be the beginning of another.
        known = sorted((value for value in values if len(value) >= SHORTEST_SECRET), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def format(self, record: logging.LogRecord) -> str:
        return self.mask(super().format(record))

    def mask(self, text: str) -> str:
        """Return the text without secrets; everything that is logged comes by here."""
        return mask_text(self._known.sub(MASK, text) if self._known else text)

    def find_fields(self, record: logging.LogRecord) -> dict[str, str | int]:
        """Return the fields of a record, masked, each a line; those without a value are left out."""
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0]:
            fields.setdefault("error_type", record.exc_info[0].__name__)
        return {
            name: value if isinstance(value, int) else self.mask(escape_controls(str(value)[:LONGEST_LINE]))
            for name, value in fields.items()
            if value is not None
        }

    def formatException(self, ei: Any) -> str:
        # Each copy of a text of 100 MB, and masking it all the more, would keep the interpreter's lock from everybody.
        parts = (part[:LONGEST_TRACEBACK] for part in TracebackException(*ei).format())
        text = "".join(parts)[:LONGEST_TRACEBACK].rstrip("\n")
        return "\n".join(f"{MARGIN}{escape_controls(line)}" for line in text.split("\n"))

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escape_controls(
            super().formatMessage(record)[:LONGEST_LINE]
        )  # what an agent says can stand in a message


class JsonFormatter(MaskingFormatter):
    """Formats records as one JSON object a line: time, level, logger, message, the record's fields, a traceback."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__(secrets, JOURNAL_LINE)

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.mask(self.formatMessage(record)),
            **self.find_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.mask(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


@frozen
class Warned:
    """What the log has warned of, once or again and again. ``at`` is when it did so last, in Unix seconds."""

    at: float
    count: int
    text: str


class RecentWarnings(logging.Handler):
    """Remembers warnings and errors, each kind once: whoever looks after months is to see what there was.

    Of one kind are those of the same words, conversation and type of error, whatever else differs.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kinds: dict[tuple[object, ...], Warned] = {}

    def emit(self, record: logging.LogRecord) -> None:
        formatter = self.formatter
        assert isinstance(formatter, MaskingFormatter)
        try:
            record.message = record.getMessage()
            text = formatter.mask(formatter.formatMessage(record))[:WARNING_LENGTH]
            fields = formatter.find_fields(record)
        except Exception:  # noqa: BLE001 - a wrong log call raises nowhere, and the other handler tells of it
            return
        kind = (record.name, str(record.msg), fields.get("conversation"), fields.get("error_type"))
        earlier = self._kinds.pop(kind, None)
        self._kinds[kind] = Warned(record.created, 1 + (earlier.count if earlier else 0), text)
        if len(self._kinds) > WARNINGS_KEPT:
            del self._kinds[next(iter(self._kinds))]

    def get_latest(self) -> list[Warned]:
        """The latest kinds, each as it was last, the latest last."""
        self.acquire()
        try:
            return list(self._kinds.values())
        finally:
            self.release()


RECENT_WARNINGS = RecentWarnings()
"""Those of this process, from the first `set_up_logging` on."""
