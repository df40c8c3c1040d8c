"""Trees of templates, as ``json``, ``form`` and ``query`` are, and what they are once the arguments are in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from convaid.plugins.templates import Template, TemplateReader, write_text
from convaid.wording import describe_value, join_path

__all__ = ["LEFT_OUT", "Tree", "fill_tree", "find_templates", "read_tree", "write_pairs"]

Tree = Any
"""A Template, a plain value, or a list or dict of trees."""

LEFT_OUT = object()
"""What a text is that an argument is missing for: it and its key are left out."""


def read_tree(value: Any, path: str, reader: TemplateReader) -> Tree:
    """Return the value with each text in it as a template."""
    match value:
        case str():
            return reader.read(value, path, allows_secrets=True)
        case dict():
            return {name: read_tree(inner, join_path(path, name), reader) for name, inner in value.items()}
        case list():
            return [read_tree(inner, join_path(path, index), reader) for index, inner in enumerate(value)]
        case float() if not isfinite(value):
            reader.complain(path, "is a number that JSON does not have")
            return None
        case None | bool() | int() | float():
            return value
    reader.complain(path, f"cannot be sent as it is: write {describe_value(value)} as text")
    return None


def find_templates(tree: Tree) -> Iterator[Template]:
    """Yield every template in a tree."""
    match tree:
        case Template():
            yield tree
        case dict():
            yield from find_templates(tuple(tree.values()))
        case list() | tuple():
            for inner in tree:
                yield from find_templates(inner)


def fill_tree(tree: Tree, arguments: Mapping[str, Any]) -> Any:
    """Return the plain values. A text that is one blank becomes the argument itself, a number say, or null."""
    match tree:
        case Template() if tree.is_blank:
            return arguments.get(tree.names[0], LEFT_OUT)
        case Template():
            text = tree.fill(arguments)
            return LEFT_OUT if text is None else text
        case dict():
            filled = {name: fill_tree(inner, arguments) for name, inner in tree.items()}
            return {name: value for name, value in filled.items() if value is not LEFT_OUT}
        case list():
            return [value for inner in tree if (value := fill_tree(inner, arguments)) is not LEFT_OUT]
    return tree


def write_pairs(tree: Mapping[str, Tree], arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a form or query; one that is a list comes several times, one that is null not at all."""
    for name, value in fill_tree(tree, arguments).items():
        for inner in value if isinstance(value, list) else [value]:
            if inner is not None:
                yield name, write_text(inner)
