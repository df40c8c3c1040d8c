"""The log: to stderr, one line each, without secrets, whatever way they got into a record."""

import logging
from collections.abc import Iterator

import pytest

from convaid.config import Secret
from convaid.logs import set_up_logging

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
