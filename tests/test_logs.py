"""The log: to stderr, one line each, without secrets, whatever way they got into a record."""

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convaid import logs
from convaid.config import Secret
from convaid.logs import LogFormat, RecentWarnings, set_up_logging
from convaid.service import journald

KEY = "sk_" + "0123456789abcdef" * 3
SIGNED = "wss://h.example/v1/convai/conversation?agent_id=agent_x&conversation_signature=cvtkn_01abcdef"


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines_go_to_stderr_from_the_given_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("warning")
    set_up_logging("info")  # the second call replaces the first
    log = logging.getLogger("convaid.test")
    log.debug("too much")
    log.info("connected to %s", "h.example")
    logging.getLogger("httpx").info("HTTP Request: GET https://h.example")
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.endswith("INFO    convaid.test: connected to h.example")


def test_secrets_are_masked_wherever_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = ["pa55word", "pa55word-and-more", "odd.(chars", "a"]
    set_up_logging("info", map(Secret, secrets))
    log = logging.getLogger("convaid.test")
    log.info("key %s in %r", KEY, {"xi-api-key": KEY[3:]})
    log.info("at %s and https://b.example/?token=abcdef", SIGNED)
    log.info("known pa55word-and-more, pa55word and odd.(chars; a banana")
    try:
        raise ConnectionError(f"cannot reach {SIGNED} with pa55word")
    except ConnectionError:
        log.exception("no link")
    _, err = capsys.readouterr()
    for secret in (*secrets[:3], KEY, KEY[3:], "cvtkn", "abcdef"):
        assert secret not in err
    assert "key sk_*** in {'xi-api-key': '***'}" in err
    assert "conversation_signature=*** and https://b.example/?token=***" in err
    assert "known ***, *** and ***; a banana" in err
    assert "ConnectionError: cannot reach wss://h.example/" in err


def test_a_message_cannot_forge_a_line_or_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info")
    logging.getLogger("convaid.test").info("agent: %s", "hi\n2026-01-01 ERROR forged \x1b[2J\x9b ü")
    _, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.endswith(r"agent: hi\n2026-01-01 ERROR forged \x1b[2J\x9b ü")


def test_an_exception_cannot_forge_a_line_or_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info")
    said = "hi\n2026-01-01 ERROR   convaid: forged \x1b[2J\u2028\rü"
    logging.getLogger("convaid.test").error("failed", exc_info=ValueError(said))
    _, err = capsys.readouterr()
    first, *others = err.rstrip("\n").split("\n")
    assert first.endswith("ERROR   convaid.test: failed")
    assert all(line.startswith("    ") for line in others)
    assert others[-2:] == ["    ValueError: hi", r"    2026-01-01 ERROR   convaid: forged \x1b[2J\u2028\rü"]


def test_what_an_exception_says_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info")
    logging.getLogger("convaid.test").error("failed", exc_info=ValueError("x" * 10_000_000))
    _, err = capsys.readouterr()
    assert "ValueError: xxx" in err
    assert len(err) < 25_000


SHAPES = {
    "an API key": (f"the key {KEY}", KEY),
    "a header": (f"{{'xi-api-key': '{KEY[3:]}'}}", KEY[3:]),
    "a signed URL": (f"at {SIGNED}", "cvtkn_01abcdef"),
    "a conversation's token": ("with cvtkn_0123abcdefgh", "0123abcdefgh"),
    "a user in a URL": ("at https://ada:pa55@h.example/", "ada:pa55"),
    "a token in a URL": ("at https://h.example/?a=b&access_token=abcdef", "abcdef"),
    "an authorization": ("Authorization: Bearer abcdefgh", "abcdefgh"),
    "a bearer": ("sent bearer abcdefgh.ijk", "abcdefgh"),
    "a signed token": ("got eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "eyJzdWIiOiIx"),
    "a key of OpenAI's": ("with sk-proj-abcdefgh12345678", "abcdefgh12345678"),
    "a key of GitHub's": ("with ghp_abcdefgh12345678", "abcdefgh12345678"),
    "a key of Slack's": ("with xoxb-1234567890-abc", "1234567890"),
    "a key of Amazon's": ("with AKIAIOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
}


@pytest.mark.parametrize("form", ["console", "json", "journal"])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_of_a_secret_leaves_in_any_format(
    shape: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words, secret = SHAPES[shape]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(5)
        if form == "journal":
            status = os.fstat(sys.stderr.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
            monkeypatch.setattr(journald, "ADDRESS", str(tmp_path / "journal"))
        format: LogFormat = "json" if form == "json" else "auto"
        set_up_logging("info", [Secret("the-known-one")], format)
        try:
            raise ConnectionError(f"{words}, the-known-one")
        except ConnectionError:
            extra = {"fields": {"conversation": "main", "detail": f"{words}, the-known-one"}}
            logging.getLogger("convaid.test").exception("failed: %s, the-known-one", words, extra=extra)
        logging.getLogger().handlers[0].close()
        logging.getLogger().handlers.clear()
        written = journal.recv(100_000).decode(errors="replace") if form == "journal" else capfd.readouterr().err
    assert "failed: " in written
    assert "***" in written
    assert secret not in written
    assert "the-known-one" not in written
    if form == "json":
        entry = json.loads(written)
        assert entry["level"] == "error"
        assert entry["conversation"] == "main"
        assert "Traceback" in entry["traceback"]


def test_json_has_an_object_a_line_with_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", format="json")
    log = logging.getLogger("convaid.test")
    log.info("agent: %s", "hi\nü", extra={"fields": {"conversation": "main", "close_code": 1000, "tool": None}})
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "info",
        "logger": "convaid.test",
        "message": r"agent: hi\nü",
        "conversation": "main",
        "close_code": 1000,
    }


@pytest.fixture
def recent(monkeypatch: pytest.MonkeyPatch) -> RecentWarnings:
    """Those of this test alone."""
    monkeypatch.setattr(logs, "RECENT_WARNINGS", RecentWarnings())
    return logs.RECENT_WARNINGS


def test_warnings_are_remembered_each_kind_once_without_secrets(recent: RecentWarnings) -> None:
    set_up_logging("info", [Secret("pa55word")])
    log = logging.getLogger("convaid.test")
    log.info("all is well")
    log.warning("late by %d s", 1)
    log.error("with pa55word at %s", SIGNED)
    log.warning("late by %d s", 2)
    log.error("nothing is so wrong as this: %d", "a log call")
    for name in ("kitchen", "hall", "kitchen"):
        log.warning("%s: lost", name, extra={"fields": {"conversation": name, "error_type": "link lost"}})
    found = recent.get_latest()
    assert [(warned.text, warned.count) for warned in found] == [
        ("with *** at wss://h.example/v1/convai/conversation?agent_id=agent_x&conversation_signature=***", 1),
        ("late by 2 s", 2),
        ("hall: lost", 1),
        ("kitchen: lost", 2),
    ]
    assert [warned.at for warned in found] == sorted(warned.at for warned in found)
    set_up_logging("info")  # as a reload does
    assert recent.get_latest() == found


def test_of_very_many_kinds_of_warnings_the_latest_are_kept(recent: RecentWarnings) -> None:
    set_up_logging("info")
    for number in range(100):
        logging.getLogger(f"convaid.test{number}").warning("%s", "x" * 10_000)
    found = recent.get_latest()
    assert (len(found), {len(warned.text) for warned in found}) == (logs.WARNINGS_KEPT, {logs.WARNING_LENGTH})
