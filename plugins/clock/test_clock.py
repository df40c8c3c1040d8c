"""The clock's tool, called as plain Python, and as convaid offers it to agents."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from convaid_clock import convaid_tools, current_time

from convaid import ToolError


def test_tells_the_time_of_a_zone() -> None:
    before = datetime.now(ZoneInfo("Asia/Kathmandu")).replace(microsecond=0)
    told = current_time(zone="Asia/Kathmandu")
    match = re.fullmatch(r"\w+day, (\S+), (\S+) \+0545 \(UTC\+0545\)", told)
    assert match, told
    told_time = datetime.fromisoformat(f"{match[1]}T{match[2]}+05:45")
    assert before <= told_time <= datetime.now(ZoneInfo("Asia/Kathmandu"))


def test_tells_the_local_time() -> None:
    assert datetime.now().astimezone().strftime("%Z") in current_time()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "\0"])
def test_says_what_a_zone_is(zone: str) -> None:
    with pytest.raises(ToolError, match="Use an IANA name"):
        current_time(zone=zone)


def test_offers_its_tool() -> None:
    assert convaid_tools() == [current_time]
    assert current_time.name == "current_time"
    assert current_time.parameters["required"] == []
    assert current_time.parameters["properties"]["zone"]["type"] == "string"
