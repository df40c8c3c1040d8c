"""The smallest convaid plugin: one sync tool, no settings."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from convaid import Tool, ToolError, hookimpl, tool


@tool
def current_time(
    zone: Annotated[str, "an IANA time zone such as Europe/Berlin; leave it out for the user's own"] = "",
) -> str:
    """Tell the weekday, the date and the time of day."""
    try:
        now = datetime.now(ZoneInfo(zone)) if zone else datetime.now().astimezone()
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the latter two: paths, names of folders
        raise ToolError(f'There is no time zone "{zone}". Use an IANA name such as Europe/Berlin.') from None
    return f"{now:%A, %Y-%m-%d, %H:%M:%S %Z (UTC%z)}"


@hookimpl
def convaid_tools() -> list[Tool]:
    return [current_time]
