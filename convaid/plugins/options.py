"""The options of `@tool`, and among them the platform's own settings of a client tool, named as on the wire (floor 4).

Source: the platform's OpenAPI description, ``ClientToolConfig``. Two defaults differ from the platform's, because its
own lose what a tool says: see `PlatformSettings`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, cast

from convaid.errors import StructureError
from convaid.plugins.schema import ShapeError
from convaid.structuring import structure

__all__ = [
    "LONGEST_RESPONSE_TIMEOUT",
    "Assignment",
    "NamedToolOptions",
    "PlatformSettings",
    "ToolOptions",
    "find_place",
    "find_response_timeout",
    "read_options",
]

MARGIN = 5.0  # seconds that the platform waits longer than we do: for our own answer at the limit to arrive
LONGEST_RESPONSE_TIMEOUT = 120
"""Seconds: the platform waits no longer, whatever it is told."""


class _AssignmentKeys(TypedDict):
    dynamic_variable: str
    value_path: str


class Assignment(_AssignmentKeys, total=False):
    """Copies a value of the tool's result, as JSON, to a dynamic variable of the conversation.

    ``value_path`` is written with dots and no brackets: ``user.name``, ``days.0.high``. ``sanitize`` keeps the value
    from the agent. ``preserve_native_type`` keeps a list or an object one, where it would become text.
    """

    source: Literal["response"]
    sanitize: bool
    preserve_native_type: bool


class PlatformSettings(TypedDict, total=False):
    """What the platform can be told of a client tool, beside its name, description, parameters and time limit."""

    expects_response: bool
    """Whether the agent waits for the answer and hears it. True by default, for a tool that returns nothing, too: the
    answer also says that arguments were wrong, or that it failed. False is refused for a function that returns
    something."""
    execution_mode: Literal["immediate", "post_tool_speech", "async"]
    """Run at once (the default), once the agent has finished speaking, or while the conversation goes on."""
    interruption_mode: Literal["allow", "disable_during_tool", "disable_during_tool_and_turn"]
    """Whether the user may interrupt the agent meanwhile; by default, yes."""
    pre_tool_speech: Literal["auto", "force", "off"]
    """Whether the agent says something before it calls the tool; auto: if the tool has been slow lately."""
    tool_error_handling_mode: Literal["auto", "summarized", "passthrough", "hide"]
    """What the agent hears of an error. The default is passthrough, our own words: auto would hide them."""
    tool_call_sound: Literal["typing", "elevator1", "elevator2", "elevator3", "elevator4"] | None
    """What the user hears while the tool runs; by default, nothing."""
    tool_call_sound_behavior: Literal["auto", "always"]
    """auto, the default: that sound only if the agent has said something before."""
    assignments: list[Assignment]


class ToolOptions(PlatformSettings, total=False):
    """The keyword arguments that `@tool` and `declare_tool` have in common."""

    time_limit: float | None
    """Seconds until a call counts as failed; else as configured for all tools."""
    parallel: int | None
    """How many calls may run at once; else as configured for all tools."""
    runs: Literal["room", "thread", "process"] | None
    """Where: an ``async def`` in its plugin's room, a ``def`` in a thread, either in a process of its own."""


class NamedToolOptions(ToolOptions, total=False):
    """The keyword arguments of `@tool`."""

    name: str | None
    """What the agent knows the tool by; else the function's name."""
    description: str | None
    """What the agent knows of the tool; else the function's docstring up to its first section."""


def read_options(options: Mapping[str, Any], returns_something: bool) -> tuple[NamedToolOptions, PlatformSettings]:
    """Return the options of a tool, checked and complete, and the platform's among them. Raises ShapeError."""
    try:
        # Most tools have none, and the first use of a shape takes milliseconds.
        given: NamedToolOptions = structure(dict(options), NamedToolOptions) if options else {}
    except StructureError as error:
        raise ShapeError(f"has an option that cannot be: {error}") from None
    read: NamedToolOptions = {
        "name": None,
        "description": None,
        "time_limit": None,
        "parallel": None,
        "runs": None,
        "expects_response": True,
        "execution_mode": "immediate",
        "interruption_mode": "allow",
        "pre_tool_speech": "auto",
        "tool_error_handling_mode": "passthrough",
        "tool_call_sound": None,
        "tool_call_sound_behavior": "auto",
        **given,
        "assignments": [_read_assignment(assignment) for assignment in given.get("assignments", ())],
    }
    time_limit, parallel = read["time_limit"], read["parallel"]
    if time_limit is not None and not time_limit > 0:
        raise ShapeError(f"has a time_limit of {time_limit}: it must be more than 0 s")
    if parallel is not None and parallel < 1:
        raise ShapeError(f"has parallel={parallel}: at least one call must be able to run")
    if not read["expects_response"]:
        if returns_something:
            raise ShapeError(
                "returns something that nobody would hear: remove expects_response=False, or annotate it -> None"
            )
        if read["assignments"]:
            raise ShapeError("has assignments from a response that is not expected: remove expects_response=False")
    if read["tool_call_sound_behavior"] != "auto" and read["tool_call_sound"] is None:
        raise ShapeError('has a tool_call_sound_behavior, but no sound: add tool_call_sound="typing", say')
    settings = {key: value for key, value in read.items() if key in PlatformSettings.__annotations__}
    return read, cast(PlatformSettings, settings)


def find_place(
    runs: Literal["room", "thread", "process"] | None, *, is_async: bool
) -> Literal["room", "thread", "process"]:
    """Return where a tool runs that asks for ``runs``. Raises ShapeError where its kind of function cannot."""
    if runs == "room" and not is_async:
        raise ShapeError('is a def, which cannot have runs="room": leave it out, or write async def')
    if runs == "thread" and is_async:
        raise ShapeError('is an async def, which cannot have runs="thread": leave it out, or write def')
    return runs or ("room" if is_async else "thread")


def find_response_timeout(time_limit: float) -> int:
    """Return ``response_timeout_secs``: a tool's own limit and a margin, in whole seconds, 120 at most."""
    return math.ceil(min(time_limit + MARGIN, LONGEST_RESPONSE_TIMEOUT))


def _read_assignment(assignment: Assignment) -> Assignment:
    path = assignment["value_path"]
    if not all(path.split(".")) or "[" in path:
        raise ShapeError(
            f'has an assignment from "{path}": write the steps of value_path with dots, as in "days.0.high"'
        )
    if not assignment["dynamic_variable"]:
        raise ShapeError(f'has an assignment from "{path}" to nothing: name its dynamic_variable')
    return {"source": "response", "sanitize": False, "preserve_native_type": False, **assignment}
