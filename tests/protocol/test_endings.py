"""Every ending has its verdict: whose doing it is, whether to connect again, and one sentence with the remedy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import pytest

from convaid.config.model import Configuration
from convaid.protocol.endings import (
    Cause,
    Retry,
    SessionEnd,
    agent_silent,
    classify_close,
    classify_refusal,
    limit_reached,
    link_lost,
    stopped_by_user,
)
from convaid.protocol.from_agent import Error
from convaid.protocol.verdicts import (
    AGENT_SILENT,
    CLOSE_CODES,
    ERROR_TYPES,
    LIMITS,
    LINK_LOST,
    NO_SOUND,
    NORMAL,
    NOT_BEGUN,
    ODD_FORMAT,
    OWN_FAULT,
    REASONS,
    STATUSES,
    STOPPED,
    Verdict,
    write_verdicts,
)

README = Path(__file__).parents[2] / "README.md"
VERDICTS: set[Verdict] = {
    AGENT_SILENT,
    LINK_LOST,
    NO_SOUND,
    NOT_BEGUN,
    ODD_FORMAT,
    OWN_FAULT,
    STOPPED,
    *(verdict for table in (CLOSE_CODES, ERROR_TYPES, LIMITS, REASONS, STATUSES) for verdict in table.values()),
}


@pytest.mark.parametrize(
    ("code", "reason", "error", "cause", "retry"),
    [
        (1000, "", None, Cause.ENDED_BY_AGENT, Retry.NO),
        (1005, "", None, Cause.ENDED_BY_AGENT, Retry.NO),
        (1000, "", Error(1000, "too long", "max_duration_exceeded"), Cause.LIMIT_REACHED, Retry.NO),
        (1001, "", None, Cause.OPERATIONAL, Retry.SOON),
        (1002, "", None, Cause.OPERATIONAL, Retry.SOON),
        (1002, "", Error(1002, "", "llm_timeout"), Cause.OPERATIONAL, Retry.SOON),
        (1002, "", Error(1002, "", "transport_receive_timeout"), Cause.LIMIT_REACHED, Retry.REPAIR),
        (1002, "This request exceeds your quota limit.", None, Cause.BUSY, Retry.LATER),
        (1002, "", Error(1002, "This request exceeds your quota limit.", "http_exception"), Cause.BUSY, Retry.LATER),
        (1006, "", None, Cause.LINK_LOST, Retry.SOON),
        (1006, "", Error(1008, "", "override_error"), Cause.CONTRACT_FAULT, Retry.REPAIR),
        (1006, "", Error(1002), Cause.OPERATIONAL, Retry.SOON),
        (1008, "Invalid message received", None, Cause.CONTRACT_FAULT, Retry.REPAIR),
        (1008, "", Error(1008, "m", "unknown"), Cause.CONTRACT_FAULT, Retry.REPAIR),
        (1008, "", Error(1008, "m", "a_type_of_next_year"), Cause.CONTRACT_FAULT, Retry.REPAIR),
        (1011, "", None, Cause.CRASH, Retry.SOON),
        (1011, "", Error(1011, "", "unknown_websocket_crash"), Cause.CRASH, Retry.SOON),
        (3000, "Could not authorize the conversation.", None, Cause.REFUSED, Retry.REPAIR),
        (3008, "too many concurrent connections", None, Cause.BUSY, Retry.LATER),
        (4300, "", None, Cause.BUSY, Retry.LATER),
        (4999, "", None, Cause.OPERATIONAL, Retry.SOON),
    ],
)
def test_a_close_in_the_conversation(code: int, reason: str, error: Error | None, cause: Cause, retry: Retry) -> None:
    end = classify_close(code, reason, error, had_metadata=True)
    assert (end.cause, end.retry) == (cause, retry)


@pytest.mark.parametrize(
    ("code", "cause", "retry"),
    [
        (1000, Cause.REFUSED, Retry.LATER),
        (1005, Cause.REFUSED, Retry.LATER),
        (4999, Cause.REFUSED, Retry.LATER),
        (3000, Cause.REFUSED, Retry.REPAIR),
        (3008, Cause.BUSY, Retry.LATER),
        (1006, Cause.LINK_LOST, Retry.SOON),
        (1008, Cause.CONTRACT_FAULT, Retry.REPAIR),
        (1011, Cause.CRASH, Retry.SOON),
    ],
)
def test_a_close_before_the_conversation(code: int, cause: Cause, retry: Retry) -> None:
    end = classify_close(code, "", None, had_metadata=False)
    assert (end.cause, end.code, end.retry) == (cause, code, retry)


def test_an_error_of_another_code_than_the_close_frames_does_not_count() -> None:
    end = classify_close(1000, "bye", Error(1002, "slow", "llm_timeout"), had_metadata=True)
    assert end == SessionEnd(Cause.ENDED_BY_AGENT, 1000, "bye", Retry.NO, "")


def test_the_error_gives_the_detail_and_its_type() -> None:
    error = Error(1008, "Override for field 'prompt' is not allowed by config.", "override_error")
    end = classify_close(1008, "policy", error, had_metadata=True)
    assert end.detail == error.message
    assert end.error_type == "override_error"
    assert "[conversations.NAME.overrides]" in end.remedy


@pytest.mark.parametrize(
    ("code", "reason", "error", "detail"),
    [
        (1002, "", Error(1002, None, "vad_error", reason="sanitised"), "sanitised"),
        (1002, "said", Error(1002, None, "vad_error"), "said"),
        (1002, "", Error(1002, None, "vad_error"), "vad_error"),
        (1002, "", None, "no reason was given"),
        (1002, "two\nlines\t of log", None, "two lines of log"),
        (1002, "x" * 5000, None, "x" * 300),
    ],
)
def test_the_detail_is_one_bounded_line(code: int, reason: str, error: Error | None, detail: str) -> None:
    assert classify_close(code, reason, error, had_metadata=True).detail == detail


@pytest.mark.parametrize("reason", REASONS)
def test_known_reasons_are_found_whatever_the_code_and_case(reason: str) -> None:
    end = classify_close(1008, f"Oh: {reason.upper()}!", None, had_metadata=False)
    verdict = REASONS[reason]
    assert (end.cause, end.retry, end.remedy) == (verdict.cause, verdict.retry, verdict.remedy)


@pytest.mark.parametrize(
    ("status", "detail", "cause", "retry"),
    [
        (302, "", Cause.REFUSED, Retry.REPAIR),
        (400, "", Cause.REFUSED, Retry.REPAIR),
        (401, "Invalid API key", Cause.REFUSED, Retry.REPAIR),
        (401, "This request exceeds your quota of 10000.", Cause.BUSY, Retry.LATER),
        (403, "", Cause.REFUSED, Retry.REPAIR),
        (404, "", Cause.REFUSED, Retry.REPAIR),
        (418, "", Cause.REFUSED, Retry.REPAIR),
        (429, "", Cause.BUSY, Retry.LATER),
        (500, "", Cause.OPERATIONAL, Retry.SOON),
        (503, "", Cause.OPERATIONAL, Retry.SOON),
    ],
)
def test_a_refusal(status: int, detail: str, cause: Cause, retry: Retry) -> None:
    end = classify_refusal(status, detail)
    assert (end.cause, end.code, end.retry) == (cause, status, retry)
    assert end.detail == (detail or "no reason was given")


def test_endings_of_our_own() -> None:
    assert stopped_by_user() == SessionEnd(Cause.ENDED_BY_USER, None, "asked to stop", Retry.NO, "")
    assert limit_reached("idle", 90).detail == "nobody said anything for 90 s"
    assert limit_reached("life", 0.5).detail == "the conversation had lasted for 0.5 s"
    assert limit_reached("life", 1).cause is Cause.LIMIT_REACHED
    assert agent_silent(60).detail == "the agent owed an answer for 60 s"
    assert link_lost("no route to host").retry is Retry.SOON


def test_only_what_is_no_trouble_has_no_remedy() -> None:
    assert {verdict for verdict in VERDICTS if not verdict.remedy} == {NORMAL, STOPPED}


@pytest.mark.parametrize("remedy", sorted({verdict.remedy for verdict in VERDICTS} - {""}))
def test_a_remedy_is_one_sentence_that_names_settings_that_exist(remedy: str) -> None:
    assert re.fullmatch(r"[A-Z].*[^.]\.", remedy)
    assert ". " not in remedy
    for table in re.findall(r"\[([\w.]+)\]", remedy):
        find_table(table)
    for keys, table in re.findall(r"((?:\w+, )*\w+(?: and \w+)?) in \[([\w.]+)\]", remedy):
        shape = find_table(table)
        known = {a.name for a in attrs.fields(shape)} if attrs.has(shape) else set()
        named = set(re.split(r", | and ", keys))
        assert not known or named & known, f"{keys} in [{table}]"
        assert all(key in known for key in named if "_" in key), f"{keys} in [{table}]"


def find_table(path: str) -> Any:
    """The class of a table of the configuration, or ``dict`` for a free one."""
    shape: Any = Configuration
    for name in path.split("."):
        shape = get_args(shape)[1] if get_origin(shape) is dict else get_type_hints(shape)[name]
    return shape


def test_refusals_and_contract_faults_are_not_retried_in_a_loop() -> None:
    for verdict in VERDICTS - {NOT_BEGUN, CLOSE_CODES[1009]}:
        # Beside them two of our own: a device that is missing, and a conversation in which nobody speaks.
        needs_somebody = verdict in (NO_SOUND, ERROR_TYPES["transport_receive_timeout"])
        assert (verdict.retry is Retry.REPAIR) == (
            verdict.cause in (Cause.REFUSED, Cause.CONTRACT_FAULT) or needs_somebody
        )


def test_the_readme_has_the_table_of_endings() -> None:
    readme = README.read_text()
    if "| What happens |" not in readme:
        reason = "no table of endings in the README; print(convaid.protocol.verdicts.write_verdicts()) writes it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    assert write_verdicts() in readme
