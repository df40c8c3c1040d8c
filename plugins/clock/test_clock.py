"""The clock's tool, called as an agent calls it."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from convaid.testing import CallTool


def test_tells_the_time_of_a_zone(call_tool: CallTool) -> None:
    before = datetime.now(ZoneInfo("Asia/Kathmandu")).replace(microsecond=0)
    told = call_tool("current_time", {"zone": "Asia/Kathmandu"}).result
    match = re.fullmatch(r"\w+day, (\S+), (\S+) \+0545 \(UTC\+0545\)", told)
    assert match, told
    told_time = datetime.fromisoformat(f"{match[1]}T{match[2]}+05:45")
    assert before <= told_time <= datetime.now(ZoneInfo("Asia/Kathmandu"))


def test_tells_the_local_time(call_tool: CallTool) -> None:
    assert datetime.now().astimezone().strftime("%Z") in call_tool("current_time").result


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "\0"])
def test_says_what_a_zone_is(zone: str, call_tool: CallTool) -> None:
    answer = call_tool("current_time", {"zone": zone})
    assert answer.is_error
    assert "Use an IANA name" in answer.result
