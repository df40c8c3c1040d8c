"""Strict structuring: plain values (from TOML or JSON) into the shape that a type annotation asks for (floor 1).

One function for the configuration, plugins' settings, scenario files and tool arguments, so that all are strict in the
same way and report in the same words. Nothing is coerced, except that a whole number is accepted for a float, and text
becomes a date, time, UUID, path or decimal where that is asked for. `convaid.constraints` are checked where they stand.
cattrs does the work; its own hooks would turn ``"false"`` into True and 2.9 into 2, so every leaf and collection has a
hook of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import EnumType
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, is_typeddict, overload
from uuid import UUID

import attrs
import orjson
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.cols import list_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn, override
from cattrs.gen.typeddicts import make_dict_structure_fn as make_typeddict_structure_fn

from convaid.constraints import find_constraints
from convaid.errors import Problem, StructureError
from convaid.shapes import (
    SEQUENCES,
    describe_shape,
    find_choices,
    find_json_types,
    find_members,
    has_choices,
    is_union,
)
from convaid.wording import describe_value, join_path, nearest, shorten

__all__ = ["describe_value", "join_path", "nearest", "structure"]

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

TABLES = (dict, Mapping, MutableMapping)


class _Unexpected(ValueError):
    """A value of the wrong shape; ``str()`` is the message of its Problem."""

    def __init__(self, shape: Any, value: object, hint: str = "") -> None:
        super().__init__(f"expected {describe_shape(shape)}, got {describe_value(value)}{hint}")


class _Unfit(ValueError):
    """A value of the right type that a constraint does not allow; ``str()`` is the message of its Problem."""


@overload
def structure(value: object, shape: type[T], path: str = "", *, reads_text: bool = False) -> T: ...
@overload
def structure(value: object, shape: Any, path: str = "", *, reads_text: bool = False) -> Any: ...
def structure(value: object, shape: Any, path: str = "", *, reads_text: bool = False) -> Any:
    """Return ``value`` in the given shape: a leaf type, Literal, Enum, union, collection, TypedDict or attrs class.

    ``path`` is where the value stands, and the beginning of every problem's path: ``conversations.main.auth``,
    ``items[2].name``. Raises StructureError with all problems at once. A ValueError or TypeError of an attrs validator
    is a problem of its field. A check that compares fields belongs in ``__attrs_post_init__``: its ValueError is a
    problem of the whole table, its StructureError (paths from that table on) names the fields itself.
    ``reads_text``: where a shape has members of several JSON types, such as ``int | Literal["auto"]``, text that none
    of them takes is read as JSON: whoever must name one type for each value can only say that it is text.
    A shape that is not supported is a bug, not a problem: TypeError or cattrs' StructureHandlerNotFoundError.
    """
    try:
        return _make_converter(reads_text).structure(value, shape)
    except (BaseValidationError, _Unexpected, _Unfit) as error:
        problems = list(_problems_in(error, path))
    except RecursionError:
        problems = [Problem(path, "is nested too deeply")]
    raise StructureError(problems)


def _problems_in(error: Exception, path: str) -> Iterator[Problem]:
    """Yield the problems that cattrs' nested groups hold; what is not a problem of the value is a bug, and raised."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            step = next(
                (
                    note.name if isinstance(note, AttributeValidationNote) else note.index
                    for note in getattr(inner, "__notes__", ())
                    if isinstance(note, AttributeValidationNote | IterableValidationNote)
                ),
                None,
            )
            yield from _problems_in(inner, path if step is None else join_path(path, step))
    elif isinstance(error, ForbiddenExtraKeysError):
        known = _keys_of(error.cl)
        for key in sorted(error.extra_fields, key=str):
            yield Problem(join_path(path, key), f"is not known; {_suggest(key, known)}")
    elif isinstance(error, StructureError):
        for problem in error.problems:
            yield Problem(".".join(filter(None, (path, problem.path))), problem.message)
    elif isinstance(error, KeyError):
        yield Problem(path, "is required and missing")
    elif isinstance(error, RecursionError):
        yield Problem(shorten(path), "is nested too deeply")
    elif isinstance(error, ValueError | TypeError):
        yield Problem(path, str(error.args[0]) if error.args else type(error).__name__)
    else:
        raise error


def _keys_of(shape: Any) -> list[str]:
    return (
        [field.name for field in attrs.fields(shape) if field.init] if attrs.has(shape) else list(get_type_hints(shape))
    )


def _suggest(name: str, known: Sequence[str]) -> str:
    if found := nearest(name, known):
        return f'did you mean "{found[0]}"?'
    return f"known here: {shorten(', '.join(known))}" if known else "nothing is expected here"


# Hooks: each takes (value, shape), as cattrs calls them; each factory takes (shape, converter) and makes a hook.


def _exactly(kind: type) -> Hook:
    def structure_exactly(value: Any, shape: Any) -> Any:
        if isinstance(shape, EnumType):  # cattrs takes a str Enum for a str
            return _choice_hook(shape)(value, shape)
        if type(value) is kind:
            return value
        raise _Unexpected(kind, value)

    return structure_exactly


def _structure_float(value: Any, shape: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    raise _Unexpected(float, value)


def _from_text(kind: type, read: Callable[[str], Any]) -> Hook:
    def structure_from_text(value: Any, shape: Any) -> Any:
        if type(value) is kind:  # TOML has dates and times of its own
            return value
        if type(value) is str:
            try:
                return read(value)
            except (ValueError, InvalidOperation):
                pass
        raise _Unexpected(kind, value)

    return structure_from_text


@cache
def _choice_hook(shape: Any) -> Hook:
    choices = find_choices(shape)
    members = list(zip(choices, find_members(shape), strict=True))
    by_value = {(int, choice): member for choice, member in members if type(choice) is float and choice.is_integer()}
    by_value |= {(type(choice), choice): member for choice, member in members}
    texts = [choice for choice in choices if isinstance(choice, str)]

    def structure_choice(value: Any, _: Any) -> Any:
        try:
            return by_value[type(value), value]
        except (KeyError, TypeError):  # TypeError: a list or a table, which cannot be looked up
            found = nearest(value, texts) if isinstance(value, str) else []
            raise _Unexpected(shape, value, f'; did you mean "{found[0]}"?' if found else "") from None

    return structure_choice


def _make_choice_hook(shape: Any, _: Converter) -> Hook:
    return _choice_hook(shape)


def _make_union_hook(shape: Any, converter: Converter) -> Hook:
    hooks = {member: converter.get_structure_hook(member) for member in get_args(shape)}

    def structure_union(value: Any, _: Any) -> Any:
        if (kind := type(value)) in hooks:  # 3 stays a whole number for float | int
            return hooks[kind](value, kind)
        deep_failures: list[Exception] = []
        for member, hook in hooks.items():
            try:
                return hook(value, member)
            except _Unexpected:
                continue
            except (BaseValidationError, _Unfit) as failure:
                deep_failures.append(failure)
        if len(deep_failures) == 1:  # only one member is of this kind: its problems are more help than ours
            raise deep_failures[0]
        raise _Unexpected(shape, value)

    return structure_union


def _or_read_text(make_hook: Callable[[Any, Converter], Hook]) -> Callable[[Any, Converter], Hook]:
    """Make hooks that read text as JSON where nothing else takes it, for shapes of several JSON types."""

    def make_reading_hook(shape: Any, converter: Converter) -> Hook:
        structure_member = make_hook(shape, converter)
        if len(find_json_types(shape) - {"null"}) == 1:
            return structure_member

        def structure_member_or_read_text(value: Any, _: Any) -> Any:
            if type(value) is str:
                with suppress(_Unexpected):
                    return structure_member(value, shape)
                with suppress(orjson.JSONDecodeError, _Unexpected):
                    return structure_member(orjson.loads(value), shape)
            return structure_member(value, shape)  # its complaint is about the value as it came

        return structure_member_or_read_text

    return make_reading_hook


def _make_constrained_hook(shape: Any, converter: Converter) -> Hook:
    kind, constraints = get_args(shape)[0], find_constraints(shape)
    structure_kind = converter.get_structure_hook(kind)

    def structure_constrained(value: Any, _: Any) -> Any:
        structured = structure_kind(value, kind)
        try:
            for constraint in constraints:
                constraint.check(structured)
        except (ValueError, TypeError) as error:  # TypeError: a time with a zone and one without, say
            raise _Unfit(str(error)) from None
        return structured

    return structure_constrained


def _make_sequence_hook(shape: Any, converter: Converter) -> Hook:
    build = SEQUENCES[get_origin(shape) or shape]
    item, *others = get_args(shape) or (Any,)
    if others not in ([], [...]):
        raise TypeError(f"{shape} is not supported: of the tuples only tuple[T, ...] is")
    structure_items: Hook = list_structure_factory(list[item], converter)  # type: ignore[valid-type]

    def structure_sequence(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise _Unexpected(list, value)
        return build(structure_items(value, shape))

    return structure_sequence


def _require_table(structure_table: Hook) -> Hook:
    def structure_required_table(value: Any, shape: Any) -> Any:
        if type(value) is not dict:
            raise _Unexpected(dict, value)
        return structure_table(value, shape)

    return structure_required_table


def _make_mapping_hook(shape: Any, converter: Converter) -> Hook:
    return _require_table(mapping_structure_factory(shape, converter))


def _make_typeddict_hook(shape: Any, converter: Converter) -> Hook:
    return _require_table(make_typeddict_structure_fn(shape, converter))


def _make_class_hook(shape: Any, converter: Converter) -> Hook:
    attrs.resolve_types(shape)
    checked = {
        field.name: override(struct_hook=_check_with(field, converter))
        for field in attrs.fields(shape)
        if field.validator is not None and field.init
    }
    return _require_table(make_dict_structure_fn(shape, converter, **checked))  # type: ignore[arg-type]


def _check_with(field: attrs.Attribute[Any], converter: Converter) -> Hook:
    """Call a field's validator as part of structuring that field: the class itself would stop at the first failure."""
    structure_field = converter.get_structure_hook(field.type)
    validate = field.validator
    assert validate is not None

    def structure_checked(value: Any, shape: Any) -> Any:
        structured = structure_field(value, shape)
        with suppress(AttributeError):  # it wants the object: the class calls it again when there is one
            validate(None, field, structured)
        return structured

    return structure_checked


@cache
def _make_converter(reads_text: bool) -> Converter:
    converter = Converter(detailed_validation=True, forbid_extra_keys=True)
    factories: list[tuple[Callable[[Any], bool], Callable[[Any, Converter], Hook]]] = [
        (lambda shape: (get_origin(shape) or shape) in SEQUENCES, _make_sequence_hook),
        (lambda shape: (get_origin(shape) or shape) in TABLES, _make_mapping_hook),
        (is_typeddict, _make_typeddict_hook),
        (attrs.has, _make_class_hook),
        (is_union, _or_read_text(_make_union_hook) if reads_text else _make_union_hook),
        (has_choices, _or_read_text(_make_choice_hook) if reads_text else _make_choice_hook),
        (lambda shape: bool(find_constraints(shape)), _make_constrained_hook),
        (lambda shape: shape is Any or shape is object, lambda shape, _: lambda value, _: value),
    ]
    for applies, make_hook in factories:
        converter.register_structure_hook_factory(applies, make_hook)
    for kind in (str, int, bool, NoneType):
        converter.register_structure_hook(kind, _exactly(kind))
    converter.register_structure_hook(float, _structure_float)
    readers: dict[type, Callable[[str], Any]] = {
        date: date.fromisoformat,
        time: time.fromisoformat,
        datetime: datetime.fromisoformat,
        UUID: UUID,
        Path: Path,
        Decimal: Decimal,
    }
    for kind, read in readers.items():
        converter.register_structure_hook(kind, _from_text(kind, read))
    return converter
