"""Every fault of the catalogue comes to what it says, and the page of faults says what was observed."""

from __future__ import annotations

import os
from importlib.metadata import version

import pytest

from convaid.protocol.verdicts import CLOSE_CODES, ERROR_TYPES, REASONS, STATUSES
from convaid.simulator.faults import FAULTS, GROUPS
from convaid.simulator.scenario import Close, Fail, Refuse

from ..strangers.programs import find_python_sdk
from .faults_page import PAGE, SDK_VERSION, read_rows
from .playing import play_faults
from .playing_sdk import play_sdk_faults

ROWS = read_rows(PAGE.read_text()) if PAGE.exists() else {}
AGAIN = "write it anew by `make faults`"


@pytest.mark.parametrize("group", GROUPS)
async def test_what_convaid_does_is_what_the_catalogue_and_the_page_say(group: str) -> None:
    observed = await play_faults(GROUPS[group])
    slips = {seen.fault.name: slips for seen in observed if (slips := seen.find_slips())}
    assert slips == {}
    happened = {seen.fault.name: (seen.describe(), seen.describe_calls()) for seen in observed}
    told = {name: row[:2] for name, row in ROWS.items() if name in happened}
    assert told == happened, f"{PAGE} is out of date: {AGAIN}"


@pytest.mark.timeout(180)
async def test_what_the_sdk_does_is_what_the_page_says() -> None:
    find_python_sdk("")
    if os.environ.get("CI") != "true":
        pytest.skip("takes half a minute; `make faults` plays them, and so does CI")
    told_of = SDK_VERSION.search(PAGE.read_text())
    assert told_of is not None
    if told_of[1] != version("elevenlabs"):
        pytest.skip(f"the page tells of {told_of[1]}, and {version('elevenlabs')} is installed; {AGAIN}")
    observed = await play_sdk_faults(list(FAULTS.values()))
    happened = {name: seen.describe() for name, seen in observed.items()}
    assert {name: row[2] for name, row in ROWS.items()} == happened, f"{PAGE} is out of date: {AGAIN}"


def test_every_ending_that_is_known_is_among_the_faults() -> None:
    steps = [step for fault in FAULTS.values() for step in fault.steps]
    assert {step.error_type for step in steps if isinstance(step, Fail)} >= ERROR_TYPES.keys()
    codes = {step.code for step in steps if isinstance(step, Close | Fail | Refuse)} | {1005, 1006}
    assert codes >= CLOSE_CODES.keys()
    assert {step.status for step in steps if isinstance(step, Refuse)} >= STATUSES.keys()
    said = " ".join(fault.words.lower() for fault in FAULTS.values())
    by_type_or_size = {"override for field", "missing required dynamic variable", "exceeded maximum duration"}
    assert {reason for reason in REASONS if reason not in said} == by_type_or_size | {"exceeded maximum message size"}


def test_the_names_and_words_of_faults_are_their_own() -> None:
    assert len({fault.words for fault in FAULTS.values()}) == len(FAULTS) == sum(map(len, GROUPS.values()))
