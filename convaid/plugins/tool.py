"""`@tool`: a typed Python function as a tool that an agent can call (floor 4).

Everything that the agent must know is read from the function when it is decorated: its name, its docstring, the types
and descriptions of its parameters. A mistake in a definition is a `ToolDefinitionError` there, with the remedy, not a
surprise in a conversation.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Collection, Mapping
from logging import Logger
from types import NoneType
from typing import Any, Literal, NoReturn, NotRequired, TypedDict, Unpack, get_type_hints, overload

from attrs import define, frozen

from convaid.errors import ToolDefinitionError
from convaid.plugins.activation import Activation
from convaid.plugins.options import (
    NamedToolOptions,
    PlatformSettings,
    find_place,
    find_response_timeout,
    read_options,
)
from convaid.plugins.schema import ShapeError, describe_parameters, read_docstring, split_annotated
from convaid.structuring import structure

__all__ = ["Tool", "ToolContext", "tool"]

NAME_PATTERN = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what the platform accepts


@define
class ToolContext:
    """What a tool may want to know about the call it serves: a parameter with this annotation is filled in by us."""

    conversation: str
    """The conversation's name in the configuration."""
    conversation_id: str
    """The platform's id of the conversation."""
    tool_call_id: str
    settings: Any
    """The instance of the plugin's settings class; None without one."""
    state: Any
    """What the plugin's lifespan yielded; None without one, and in a process."""
    deadline: float
    """When the agent is told that the tool took too long, on the clock of ``time.monotonic()``."""
    log: Logger
    """Writes to the daemon's log under the plugin's name."""
    defer: Callable[[str], None]
    """Answer the agent now, in these words, and go on: ``context.defer("I am looking; this takes a minute.")``. What
    the tool returns later reaches the agent as a contextual update. Once per call; later ones, and any after the agent
    has its answer, have no effect."""
    activation: Activation | None = None
    """Opens and closes conversations, others and this one; None in a process, and where no daemon runs."""

    def count_seconds_left(self) -> float:
        """Return the seconds until the deadline; negative when it has passed."""
        return self.deadline - time.monotonic()


@frozen
class Tool:
    """A function that agents can call, and what they are told of it. Made by `tool`; calling it calls the function."""

    name: str
    description: str
    parameters: dict[str, Any]
    """The parameters in the platform's schema dialect: an object node."""
    function: Callable[..., Any]
    is_async: bool
    time_limit: float | None
    """Seconds until a call counts as failed; None: as configured for all tools."""
    parallel: int | None
    """How many calls may run at once; None: as configured for all tools."""
    runs: Literal["room", "thread", "process"]
    """Where its author would have it run; the configuration may say otherwise."""
    platform_settings: PlatformSettings
    """All of them, defaults included."""
    context_parameter: str | None
    """The name of the parameter that is a `ToolContext`."""
    arguments_shape: Any
    """A TypedDict of the other parameters."""
    is_declared: bool = False
    """Made by `declare_tool`: its name is not its plugin's doing, so it gives way to the tools of other plugins."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def read_arguments(self, parameters: object) -> dict[str, Any]:
        """Return the agent's parameters as the function's keyword arguments; None stands for no parameters.

        Raises StructureError with everything that does not fit.
        """
        given = {} if parameters is None else parameters
        arguments: dict[str, Any] = structure(given, self.arguments_shape, reads_text=True)
        return arguments

    def describe(self, time_limit: float | None = None) -> dict[str, Any]:
        """Return what the platform is to be told: its ``ClientToolConfig``, complete.

        ``time_limit``: the seconds that a call has by the configuration; else the tool's own, or the default.
        ``response_timeout_secs`` is 5 s more, so that our answer comes first; but the platform waits 120 s at most. It
        stops waiting for a tool that takes longer, and what that returns is lost.
        """
        from convaid.config.policy import ToolsConfig

        time_limit = time_limit or self.time_limit or ToolsConfig().time_limit
        return {
            "type": "client",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "response_timeout_secs": find_response_timeout(time_limit),
            **self.platform_settings,
        }


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(**options: Unpack[NamedToolOptions]) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, **options: Unpack[NamedToolOptions]
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function: ``@tool`` or ``@tool(time_limit=60)``.

    The agent sees the function's name and its docstring up to the first section, unless ``name`` and ``description``
    say otherwise. Each parameter is described by ``Annotated[int, "how loud"]`` or in the docstring's ``Args:``
    section; one with a default is optional. `convaid.Range`, `convaid.Length` and `convaid.Pattern` stand in
    ``Annotated``, too. A parameter annotated `ToolContext` is filled in and hidden from the agent. ``time_limit``
    (seconds) and ``parallel`` (calls at once) may be overruled by the configuration. The other options are the
    platform's own; `PlatformSettings` explains them. An ``async def`` runs in the plugin's own thread, under trio or
    what `convaid_loop` says, a ``def`` in a worker thread, and with ``runs="process"`` either in a process.

    Raises ToolDefinitionError.
    """

    def make_tool(function: Callable[..., Any]) -> Tool:
        return _make_tool(function, options)

    return make_tool if function is None else make_tool(function)


def _make_tool(function: Callable[..., Any], options: NamedToolOptions) -> Tool:
    if not inspect.isroutine(function):
        raise ToolDefinitionError(f"@tool: {function!r} is not a function")
    name = function.__name__
    try:
        hints, returned = _read_hints(function)
        read, settings = read_options(options, returns_something=returned not in (None, NoneType, NoReturn))
        name = function.__name__ if read["name"] is None else read["name"]
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise ShapeError("yields: a tool has one answer, so return a list instead")
        summary, descriptions = read_docstring(inspect.getdoc(function) or "")
        context_parameter = next((key for key, hint in hints.items() if split_annotated(hint)[0] is ToolContext), None)
        optional = _find_optional(function)
        hints = {key: hint for key, hint in hints.items() if key != context_parameter}
        return assemble_tool(
            function,
            {**read, "name": name, "description": summary if read["description"] is None else read["description"]},
            settings,
            parameters=describe_parameters(hints, descriptions, optional),
            context_parameter=context_parameter,
            arguments_shape=make_arguments_shape(hints, optional),
        )
    except ShapeError as error:
        code = inspect.unwrap(function).__code__
        place = f"{code.co_filename}:{code.co_firstlineno}"
        raise ToolDefinitionError(f'{place}: the tool "{name}" {error}') from None


def assemble_tool(
    function: Callable[..., Any],
    options: NamedToolOptions,
    settings: PlatformSettings,
    *,
    parameters: dict[str, Any],
    context_parameter: str | None,
    arguments_shape: Any,
) -> Tool:
    """Return the tool, once it is known what the agent is told of its parameters. Raises ShapeError.

    ``options`` and ``settings`` are what `read_options` returned, with a name and a description.
    """
    name, description = options["name"], options["description"]
    if name is None or not NAME_PATTERN.fullmatch(name):
        raise ShapeError('has a name that the platform refuses: give it name="..." of 1 to 64 of a-z A-Z 0-9 _ -')
    if description is None or not description.strip():
        raise ShapeError(
            'has no description: say in its docstring, or with description="...", what it does and when the agent '
            "should use it"
        )
    is_async = inspect.iscoroutinefunction(function)
    return Tool(
        name=name,
        description=description,
        parameters=parameters,
        function=function,
        is_async=is_async,
        time_limit=options["time_limit"],
        parallel=options["parallel"],
        runs=find_place(options["runs"], is_async=is_async),
        platform_settings=settings,
        context_parameter=context_parameter,
        arguments_shape=arguments_shape,
    )


def make_arguments_shape(hints: Mapping[str, Any], optional: Collection[str]) -> Any:
    """Return a TypedDict; its keys, known at run time only, may be any text."""
    fields = {key: NotRequired[hint] if key in optional else hint for key, hint in hints.items()}
    return TypedDict("arguments", fields)  # type: ignore[operator]


def _read_hints(function: Callable[..., Any]) -> tuple[dict[str, Any], Any]:
    """Return the annotation of each parameter, in order, and that of the result; None where there is none."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ShapeError(
            f'is annotated with "{error.name}", which its module does not know: import or define that at the top of '
            "the module, not in a function or under TYPE_CHECKING"
        ) from None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ShapeError(f'has the parameter "{parameter}": agents pass arguments by name, so name each one')
        if parameter.name not in hints:
            raise ShapeError(f'has the parameter "{parameter.name}" without a type: write {parameter.name}: str, say')
    return {key: hints[key] for key in inspect.signature(function).parameters}, hints.get("return")


def _find_optional(function: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(function).parameters.values()
    return frozenset(parameter.name for parameter in parameters if parameter.default is not parameter.empty)
