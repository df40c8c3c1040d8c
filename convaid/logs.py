"""Logging to stderr, with secrets masked in the last step before a line leaves the program."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from traceback import TracebackException
from typing import Any

from convaid.config.secrets import MASK, Secret, mask_text
from convaid.wording import escape_controls

__all__ = ["MaskingFormatter", "set_up_logging"]

SHORTEST_SECRET = 6  # characters: masking a shorter one everywhere would hide ordinary words, and it protects nothing
LONGEST_LINE = 4000  # characters: what others say can be long
LONGEST_TRACEBACK = 20_000  # characters: so can what an exception of a plugin's says
MARGIN = "    "  # before each line of a traceback: an exception's text may look like a line of the log
QUIET = ("httpx", "httpcore", "trio-websocket")  # they log each request or frame, some with its URL


def set_up_logging(level: str, secrets: Iterable[Secret] = ()) -> None:
    """Send all logging of at least ``level`` (``"info"``) to stderr; whatever was set up before is replaced.

    ``secrets`` are masked by value, and by its shape whatever looks like a credential: a signed URL is minted later.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class MaskingFormatter(logging.Formatter):
    """Formats records as single lines (a traceback follows, its lines set in) with secrets masked in all of it."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        values = {secret.reveal() for secret in secrets}
        # The longest first: one secret may be the beginning of another.
        known = sorted((value for value in values if len(value) >= SHORTEST_SECRET), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return mask_text(self._known.sub(MASK, text) if self._known else text)

    def formatException(self, ei: Any) -> str:
        # Each copy of a text of 100 MB, and masking it all the more, would keep the interpreter's lock from everybody.
        parts = (part[:LONGEST_TRACEBACK] for part in TracebackException(*ei).format())
        text = "".join(parts)[:LONGEST_TRACEBACK].rstrip("\n")
        return "\n".join(f"{MARGIN}{escape_controls(line)}" for line in text.split("\n"))

    def formatMessage(self, record: logging.LogRecord) -> str:
        return escape_controls(
            super().formatMessage(record)[:LONGEST_LINE]
        )  # what an agent says can stand in a message
