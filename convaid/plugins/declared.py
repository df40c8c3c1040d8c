"""`declare_tool`: a tool whose name and parameters are known at run time only, from a file or a server (floor 4).

Its parameters are written in the platform's own dialect, and the arguments of a call are held against them as strictly
as those of a typed function. Source of the dialect: the platform's OpenAPI description, ``ObjectJsonSchemaProperty``
and its parts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Unpack

import attrs

from convaid.errors import Problem, StructureError, ToolDefinitionError
from convaid.plugins.options import ToolOptions, read_options
from convaid.plugins.schema import ShapeError
from convaid.plugins.tool import Tool, assemble_tool, make_arguments_shape
from convaid.wording import describe_value, join_path, nearest

__all__ = ["declare_tool", "read_parameters"]

CONTEXT = ""  # under which key a function's wrapper gets its `ToolContext`: no parameter has this name

LEAVES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}
SOURCES = ("description", "dynamic_variable", "constant_value", "is_omitted")
KEYS = {
    "literal": ("type", *SOURCES, "is_system_provided", "enum", "allowed_values"),
    "array": ("type", *SOURCES, "items"),
    "object": ("type", *SOURCES, "properties", "required", "required_constraints"),
}


def declare_tool(
    function: Callable[..., Any],
    *,
    name: str,
    description: str,
    parameters: Mapping[str, Any] | None = None,
    **options: Unpack[ToolOptions],
) -> Tool:
    """Make a tool of a function that takes all its arguments at once: ``function(arguments, context)``.

    For tools that are not written in Python: from a file, or from a server that is asked what it has. ``parameters`` is
    an object node of the platform's schema dialect; None stands for no parameters. ``arguments`` is a dict of what the
    agent gave, checked against it, and ``context`` the `ToolContext`. ``function`` is a ``def`` or an ``async def``, or
    a method or `functools.partial` of one; ``options`` are those of `tool`. Where another plugin has a tool of that
    name, this one is left out, and its plugin's status says so.

    Raises ToolDefinitionError with everything that the platform would refuse.
    """
    try:
        node, shape = read_parameters({} if parameters is None else parameters)
        read, settings = read_options({**options, "name": name, "description": description}, returns_something=False)
        tool = assemble_tool(
            _spread(function),
            read,
            settings,
            parameters=node,
            context_parameter=CONTEXT,
            arguments_shape=shape,
        )
        return attrs.evolve(tool, is_declared=True)
    except ShapeError as error:
        raise ToolDefinitionError(f'the tool "{name}" {error}') from None
    except StructureError as error:
        raise ToolDefinitionError(f'the tool "{name}" has parameters that cannot be: {error}') from None


def read_parameters(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return an object node of the platform's dialect, complete, and the shape of the arguments that fit it.

    Raises StructureError with every problem; paths begin inside the node: ``properties.room.description``.
    """
    problems: list[Problem] = []
    node, shape = _read_object({"type": "object", **parameters}, "", problems)
    if node["type"] != "object":
        problems.append(Problem("type", f'expected "object", got {describe_value(node["type"])}'))
    if problems:
        raise StructureError(problems)
    return node, shape


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as tools are called: with a keyword for each argument, and the context among them."""
    if inspect.iscoroutinefunction(function):

        async def call_async(**arguments: Any) -> Any:
            return await function(arguments, arguments.pop(CONTEXT))

        return call_async

    def call(**arguments: Any) -> Any:
        return function(arguments, arguments.pop(CONTEXT))

    return call


def _read_node(node: Any, place: str, problems: list[Problem]) -> tuple[dict[str, Any], Any]:
    """Return a node and the shape of its values; what is wrong with it goes to ``problems``."""
    if not isinstance(node, Mapping):
        problems.append(Problem(place, f"expected a table (object), got {describe_value(node)}"))
        return {}, Any
    match node.get("type"):
        case "object":
            return _read_object(node, place, problems)
        case "array":
            problems.extend(_check_keys(node, "array", place))
            items, shape = _read_node(node.get("items"), join_path(place, "items"), problems)
            return {**node, "items": items}, list[shape]  # type: ignore[valid-type]
        case _:
            problems.extend(_check_keys(node, "literal", place))
            return dict(node), _read_literal(node, place, problems)


def _read_object(node: Mapping[str, Any], place: str, problems: list[Problem]) -> tuple[dict[str, Any], Any]:
    problems.extend(_check_keys(node, "object", place))
    where, given = join_path(place, "properties"), node.get("properties", {})
    if not isinstance(given, Mapping):
        problems.append(Problem(where, f"expected a table (object), got {describe_value(given)}"))
        given = {}
    properties, hints = {}, {}
    for name, inner in given.items():
        if not name or not name.isprintable() or {*"\"'\\"} & {*name}:
            # The code that reads the arguments has the names in it.
            problems.append(Problem(where, f"has the name {name!r}: use letters, digits, - and _"))
        else:
            properties[name], hints[name] = _read_node(inner, join_path(where, name), problems)
    required, where = node.get("required", []), join_path(place, "required")
    if not isinstance(required, list):
        problems.append(Problem(where, f"expected a list, got {describe_value(required)}"))
        required = []
    for name in required:
        if not isinstance(name, str) or name not in given:
            found = nearest(str(name), given)
            hint = f'; did you mean "{found[0]}"?' if found else ""
            problems.append(Problem(where, f"names {describe_value(name)}, which is not among the properties{hint}"))
        elif properties.get(name, {}).get("is_omitted"):
            problems.append(Problem(where, f'names "{name}", which is_omitted: it never comes'))
    node = {**node, "properties": properties, "required": list(required)}
    return node, make_arguments_shape(hints, [name for name in hints if name not in required])


def _read_literal(node: Mapping[str, Any], place: str, problems: list[Problem]) -> Any:
    where, kind = join_path(place, "type"), node.get("type")
    members = list(kind) if isinstance(kind, list) else [kind]
    is_nullable = isinstance(kind, list) and len(kind) == 2 and "null" in members
    if is_nullable:
        members.remove("null")
    if len(members) != 1 or not isinstance(members[0], str) or members[0] not in LEAVES:
        known = ", ".join([*LEAVES, "array", "object"])
        problems.append(Problem(where, f'is one of {known}, or a list such as ["string", "null"]'))
        return Any
    shape = LEAVES[members[0]]
    if (choices := node.get("enum")) is not None:
        where = join_path(place, "enum")
        if shape is not str:
            problems.append(Problem(where, "is for texts: name the choices in the description instead"))
        elif not isinstance(choices, list) or not choices or any(type(choice) is not str for choice in choices):
            problems.append(Problem(where, "is a list of one text or more"))
        else:
            shape = Literal[tuple(choices)]
    return shape | None if is_nullable else shape


def _check_keys(node: Mapping[str, Any], kind: Literal["literal", "array", "object"], place: str) -> Iterator[Problem]:
    """Yield a problem for each key outside the dialect, and one for a value that comes from nowhere or from two."""
    for key in node:
        if key not in KEYS[kind]:
            known = nearest(key, KEYS[kind])
            hint = f'did you mean "{known[0]}"?' if known else f"the platform knows {', '.join(KEYS[kind])}"
            yield Problem(join_path(place, key), f"is not known; {hint}")
    description = node.get("description", "")
    if not isinstance(description, str):
        yield Problem(join_path(place, "description"), f"expected text, got {describe_value(description)}")
        return
    sources = [key for key in (*SOURCES, "is_system_provided") if _is_source(node, key)]
    if len(sources) > 1:
        yield Problem(place, f"has {' and '.join(sources)}: its value comes from one of them, so remove the others")
    elif kind == "literal" and not sources:
        yield Problem(place, "has no description: say what the agent should fill in")
    if "allowed_values" in node and "description" not in sources:
        yield Problem(join_path(place, "allowed_values"), "is for values that the agent fills in: add a description")


def _is_source(node: Mapping[str, Any], key: str) -> bool:
    value = node.get(key)
    if key == "constant_value":
        return value is not None and value != ""  # 0 and false are constants
    return bool(value.strip() if isinstance(value, str) else value)
