"""Where a tool as the platform has it differs from what it is to be told of it (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from convaid.matching.findings import Finding, Kind
from convaid.matching.parameters import Difference, compare_parameters
from convaid.matching.view import OfferedTool, find_response_timeout
from convaid.plugins.options import LONGEST_RESPONSE_TIMEOUT
from convaid.wording import shorten

__all__ = ["PLATFORM_DEFAULTS", "compare_tool"]

PLATFORM_DEFAULTS: dict[str, Any] = {
    "expects_response": False,
    "response_timeout_secs": 20,
    "execution_mode": "immediate",
    "interruption_mode": "allow",
    "pre_tool_speech": "auto",
    "tool_error_handling_mode": "auto",
    "tool_call_sound": None,
    "tool_call_sound_behavior": "auto",
    "assignments": [],
}
"""What the platform takes for a setting that it is not told. Source: its OpenAPI description, ``ClientToolConfig``."""

HIDING_MODES = (
    "auto",
    "hide",
)  # auto hides the errors of every tool that is not one of the platform's own integrations
SETTINGS = ("execution_mode", "interruption_mode", "pre_tool_speech", "tool_call_sound", "tool_call_sound_behavior")

SECTIONS: dict[Kind, str] = {
    "description": "Description",
    "expects_response": "Wait for response",
    "response_timeout": "Response timeout",
    "error_mode": "Error handling",
    "setting": "Configuration",
}
"""Where the dashboard has what a finding is about; all others are about parameters."""


def compare_tool(offered: OfferedTool, theirs: Mapping[str, Any], update: str) -> Iterator[Finding]:
    """Yield the findings on one tool; ``update`` is the command that brings the platform up to date."""
    differences = [*compare_parameters(offered.config["parameters"], theirs.get("parameters"))]
    differences += _compare_settings(offered, {**PLATFORM_DEFAULTS, **theirs})
    for difference in differences:
        yield Finding(
            difference.kind,
            difference.message,
            _find_remedy(difference, offered, update),
            offered.name,
            difference.place,
            is_note=difference.is_note,
        )


def _compare_settings(offered: OfferedTool, theirs: Mapping[str, Any]) -> Iterator[Difference]:
    ours = offered.config
    if ours["description"] != theirs.get("description"):
        yield Difference("description", "", "is described in other words on the platform", is_note=True)
    if ours["expects_response"] and not theirs["expects_response"]:
        yield Difference(
            "expects_response", "", "the platform does not expect a response, so what the tool returns is thrown away"
        )
    elif theirs["expects_response"] and not ours["expects_response"]:
        yield Difference("setting", "expects_response", "is false here, and true on the platform", is_note=True)
    yield from _compare_timeouts(offered, theirs)
    here, there = ours["tool_error_handling_mode"], theirs["tool_error_handling_mode"]
    if here not in HIDING_MODES and there in HIDING_MODES:
        yield Difference("error_mode", "", f'the platform hides its errors from the agent ("{there}")')
    elif here != there:
        yield _note_setting("tool_error_handling_mode", here, there)
    for name in SETTINGS:
        if ours[name] != theirs[name]:
            yield _note_setting(name, ours[name], theirs[name])
    there = theirs["assignments"]
    if missing := [each for each in ours["assignments"] if not isinstance(there, list) or each not in there]:
        names = ", ".join(each["dynamic_variable"] for each in missing)
        yield Difference("setting", "assignments", f"the platform does not assign {names} as it is here", is_note=True)


def _compare_timeouts(offered: OfferedTool, theirs: Mapping[str, Any]) -> Iterator[Difference]:
    seconds, told = find_response_timeout(theirs), offered.config["response_timeout_secs"]
    if seconds is not None and seconds < offered.time_limit:
        words = f"has {offered.time_limit:g} s here, and the platform waits {seconds:g} s for it"
        is_longest = seconds >= LONGEST_RESPONSE_TIMEOUT
        yield Difference("response_timeout", "", f"{words}{' at most' if is_longest else ''}", is_note=is_longest)
    elif theirs["response_timeout_secs"] != told:
        yield _note_setting("response_timeout_secs", told, theirs["response_timeout_secs"])


def _note_setting(name: str, here: object, there: object) -> Difference:
    return Difference("setting", name, f"is {here} here, and {shorten(str(there))} on the platform", is_note=True)


def _find_remedy(difference: Difference, offered: OfferedTool, update: str) -> str:
    place = f"dashboard, Tools, {offered.name}, {SECTIONS.get(difference.kind, 'Parameters')}"
    match difference.kind:
        case "parameter_filled":  # what was filled in there was meant: nothing but a person takes it away
            return f"if that is not meant, let the language model provide it: {place}"
        case "response_timeout" if difference.is_note:
            return 'answer sooner, and what takes longer later: context.defer("…"), or execution_mode="async"'
        case "parameter_extra":
            return f"give the function this parameter; or {update} removes it; or {place}"
    return f"{update}; or {place}"
