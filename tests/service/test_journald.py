"""The journal's protocol, heard at a socket of the test's."""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

import pytest

from convaid.config import Secret
from convaid.logs import MaskingFormatter
from convaid.service.journald import JournalHandler, encode_entry, is_journal

KEY = "sk_" + "0123456789abcdef" * 3


def parse_entry(entry: bytes) -> dict[str, str]:
    """Read a datagram as the journal does."""
    fields = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if not is_short:
            size = int.from_bytes(entry[:8], "little")
            value, entry = entry[8 : 8 + size], entry[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journal(tmp_path: Path) -> socket.socket:
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(tmp_path / "journal"))
    journal.settimeout(5)
    return journal


def test_fields_come_back_as_they_were() -> None:
    fields = {"MESSAGE": "two\nlines = ü", "TOOL": "x=y"}
    assert parse_entry(encode_entry(fields.items())) == fields


def test_a_record_has_its_fields_and_no_secrets(journal: socket.socket, tmp_path: Path) -> None:
    handler = JournalHandler(MaskingFormatter([Secret("pa55word")], "%(message)s"), str(tmp_path / "journal"))
    log = logging.Logger("convaid.test")
    log.addHandler(handler)
    extra = {"fields": {"conversation": "main", "close_code": 1008, "host": f"h?token={KEY}", "tool": None}}
    try:
        raise ConnectionError("with pa55word\nin two lines")
    except ConnectionError:
        log.exception("no link with %s", KEY, extra=extra)
    log.info("x" * 100_000, extra={"fields": {"detail": "y" * 100_000}})
    entry = parse_entry(journal.recv(100_000))
    assert entry["MESSAGE"].startswith("no link with sk_***\n    Traceback")
    assert "pa55word" not in str(entry)
    assert KEY not in str(entry)
    wanted = {"PRIORITY": "3", "CONVERSATION": "main", "CLOSE_CODE": "1008", "ERROR_TYPE": "ConnectionError"}
    assert wanted.items() <= entry.items()
    assert entry["CODE_FILE"] == __file__
    assert "TOOL" not in entry
    assert len(parse_entry(journal.recv(100_000))["DETAIL"]) < 5000  # so that every entry is one datagram
    handler.close()
    journal.close()


def test_lines_that_the_journal_does_not_take_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    handler = JournalHandler(MaskingFormatter([], "%(message)s"), str(path))
    log = logging.Logger("convaid.test")
    log.addHandler(handler)
    log.info("lost")
    log.info("lost, too")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        log.info("there")
        assert parse_entry(journal.recv(10_000))["LOST_LINES"] == "2"
    handler.close()


def test_the_journal_is_known_by_its_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        status = os.fstat(stream.fileno())
        assert is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal({"JOURNAL_STREAM": "1:2"})
        assert not is_journal({})
    assert not is_journal({"JOURNAL_STREAM": "1:2"})  # it is closed
