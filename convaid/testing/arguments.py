"""What to call a tool with, where a test of the official command line says what its arguments are to be like. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson
from attrs import frozen

from convaid.errors import Problem, StructureError
from convaid.patterns import PatternTimeout, find_pattern_problem, matches_whole, search_text
from convaid.protocol.bodies import read_json
from convaid.wording import join_path, nearest, shorten

__all__ = ["Chooser", "UnknownArgument"]

MOST_CANDIDATES = 1000  # texts that are tried for a pattern
LONGEST_PHRASE = 4  # words of what the user has said
LITERAL = re.compile(r"(?:[^\\.*+?\[\]{}()]|\\\W)+")  # what stands for itself in a pattern
ABSENT = object()

Node = Mapping[str, Any]


class UnknownArgument(Exception):
    """A parameter needs a value, and nothing says which."""


@frozen
class Chooser:
    """Chooses the arguments of one call. ``schema`` is what the tool takes, ``filled`` what the platform fills in.

    ``earlier`` are the arguments of the tool's calls in the test's history, the newest first; ``said`` what the user
    says there.
    """

    schema: Node
    filled: Mapping[str, Any]
    earlier: Sequence[Mapping[str, Any]] = ()
    said: Sequence[str] = ()

    def choose(self, expectations: Sequence[Any], path: str) -> dict[str, Any]:
        """Return the arguments. Raises StructureError for expectations that the tool cannot meet, UnknownArgument."""
        problems: list[Problem] = []
        arguments: dict[str, Any] = {}
        for number, expectation in enumerate(expectations):
            try:
                self._choose_one(expectation, arguments)
            except ValueError as error:
                problems.append(Problem(join_path(path, number), str(error)))
        if problems:
            raise StructureError(problems)
        arguments = _merge(arguments, self.filled)
        self._complete(self.schema, arguments, ())
        return arguments

    def _choose_one(self, expectation: Any, arguments: dict[str, Any]) -> None:
        match expectation:
            case {"path": str(path), "eval": {"type": str(kind)} as rule}:
                steps = path.removeprefix("$.").split(".")
            case _:
                raise ValueError('is not {"path": …, "eval": {"type": …}}')
        node = self._find_node(steps, path)
        match kind, rule:
            case "exact", {"expected_value": str(text)}:
                value = read_value(text, node)
                if value is ABSENT:
                    raise ValueError(
                        f"{path} is to be {shorten(text)!r}, which the tool does not take: {describe(node)}"
                    )
            case "regex", {"pattern": str(pattern)}:
                value = self._find_match(pattern, node, steps)
            case (("anything" | "llm"), _):
                return  # whatever there is to be known of it
            case _:
                raise ValueError(f'{path}: a rule "{kind}" is not known here, or lacks what belongs to it')
        for step in steps[:-1]:
            arguments = arguments.setdefault(step, {})
        arguments[steps[-1]] = value

    def _find_node(self, steps: Sequence[str], path: str) -> Node:
        node = self.schema
        for step in steps:
            properties = node.get("properties") or {}
            if step not in properties:
                hints = nearest(step, properties)
                hint = f'did you mean "{hints[0]}"?' if hints else f"it has {', '.join(properties) or 'none'}"
                raise ValueError(f"the tool has no parameter {path}; {hint}")
            node = properties[step]
        return node

    def _find_match(self, pattern: str, node: Node, steps: Sequence[str]) -> Any:
        """Return a value that a pattern fits, best a whole one."""
        if problem := find_pattern_problem(pattern):
            raise ValueError(f"{pattern!r} {problem}")
        texts = list(islice(self._list_candidates(pattern, node, steps), MOST_CANDIDATES))
        try:
            fitting = [text for text in texts if matches_whole(pattern, text)]
            fitting += [text for text in texts if search_text(pattern, text)]
        except PatternTimeout as error:
            raise ValueError(str(error)) from None
        for text in fitting:
            if (value := read_value(text, node)) is not ABSENT:
                return value
        name = ".".join(steps)
        raise UnknownArgument(f"no value of {name} is known that matches {pattern!r}; an exact one would do")

    def _list_candidates(self, pattern: str, node: Node, steps: Sequence[str]) -> Iterator[str]:
        yield from (text for text in node.get("enum") or () if isinstance(text, str))
        if (value := self._find_earlier(steps)) is not ABSENT:
            yield value if isinstance(value, str) else orjson.dumps(value).decode()
        bare = re.sub(r"\(\?[a-zA-Z]+\)|[\^$]|\\b", "", pattern)
        if group := re.fullmatch(r"\((?:\?:)?(.*)\)", bare):
            bare = group[1]
        yield from (re.sub(r"\\(\W)", r"\1", text) for text in bare.split("|") if LITERAL.fullmatch(text))
        for message in reversed(self.said):
            words = re.findall(r"[\w.:@/+-]*\w", message)
            for length in range(1, LONGEST_PHRASE + 1):
                yield from (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
            yield message
        yield from ("true", "false", "1", "0")

    def _complete(self, node: Node, arguments: dict[str, Any], steps: tuple[str, ...]) -> None:
        """Fill in what else is required, if it is known."""
        properties = node.get("properties") or {}
        for name in node.get("required") or ():
            here = (*steps, name)
            inner = properties.get(name) or {}
            if name not in arguments and (value := self._find_earlier(here)) is not ABSENT:
                arguments[name] = value
            elif name not in arguments and inner.get("enum"):
                arguments[name] = inner["enum"][0]
            elif inner.get("type") == "object" and isinstance(arguments.setdefault(name, {}), dict):
                self._complete(inner, arguments[name], here)
            elif name not in arguments:
                raise UnknownArgument(f"nothing says what {'.'.join(here)} is, which the tool needs")

    def _find_earlier(self, steps: Sequence[str]) -> Any:
        for call in self.earlier:
            value: Any = call
            for step in steps:
                value = value.get(step, ABSENT) if isinstance(value, Mapping) else ABSENT
            if value is not ABSENT:
                return value
        return ABSENT


def read_value(text: str, node: Node) -> Any:
    """Return what a text stands for where a parameter takes something else than text; ABSENT where it is none of it."""
    kind = node.get("type")
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    if "string" in kinds:
        return text if not node.get("enum") or text in node["enum"] else ABSENT
    value = read_json(text.encode())
    types: dict[str, tuple[type, ...]] = {
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "array": (list,),
        "object": (dict,),
    }
    fits = any(
        isinstance(value, types.get(kind, ())) and isinstance(value, bool) <= (kind == "boolean") for kind in kinds
    )
    return value if fits else ABSENT


def describe(node: Node) -> str:
    """Return what a parameter takes."""
    if node.get("enum"):
        return f"it is one of {', '.join(map(repr, node['enum']))}"
    kind = node.get("type")
    return f"it is of the type {kind if isinstance(kind, str) else ' or '.join(kind or ())}"


def _merge(arguments: dict[str, Any], filled: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with what the platform fills in, which wins."""
    merged = dict(arguments)
    for name, value in filled.items():
        inner = merged.get(name)
        merged[name] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged
