"""Imports only point down: the floors of the design, checked on the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "convaid"

FLOORS = {
    "errors": 0,
    "structuring": 1,
    "constraints": 1,
    "shapes": 1,
    "wording": 1,
    "patterns": 1,
    "protocol": 1,
    "audio": 1,
    "config": 1,
    "event_commands": 6,
    "event_json": 1,
    "events": 1,
    "announcer": 6,
    "backoff": 1,
    "asgi": 6,
    "budget": 2,
    "timetable": 1,
    "transport": 2,
    "rest": 2,
    "furnishing": 6,
    "journal": 2,
    "recording": 2,
    "files": 2,
    "folder": 2,
    "outbox": 2,
    "speech_buffers": 2,
    "pulse": 2,
    "devices": 2,
    "history": 6,
    "session": 3,
    "sound": 3,
    "plugins": 4,
    "calls": 5,
    "matching": 5,
    "supervisor": 5,
    "simulator": 5,
    "logs": 6,
    "narration": 6,
    "control": 6,
    "doctor": 6,
    "turn": 6,
    "wall_clock": 6,
    "wishes": 6,
    "daemon": 6,
    "keeper": 6,
    "recap": 3,
    "reloading": 6,
    "service": 6,
    "signed_urls": 6,
    "testing": 6,
    "cli": 7,
    "__main__": 7,
}
PURE = 1  # up to this floor: no event loop, no sockets, no clock
IMPURE_MODULES = {"trio", "socket", "ssl", "time", "httpx", "threading", "subprocess"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def find_part(module: Path) -> str:
    """The part of the package that a file belongs to: a module or a sub-package at its top."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def find_imports(module: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield node.module or ""
            if node.module == "convaid":
                yield from (f"convaid.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    part = find_part(module)
    if part == "__init__":
        return  # the public names for plugin authors come from where they are
    for name in find_imports(module):
        package, _, rest = name.partition(".")
        if package == "convaid" and rest:
            other = rest.partition(".")[0]
            if other in FLOORS and other != part:
                assert FLOORS[other] < FLOORS[part] or (
                    FLOORS[other] == FLOORS[part] and other not in ("simulator", "supervisor")
                ), f"{part} (floor {FLOORS[part]}) imports {name} (floor {FLOORS[other]})"
        elif FLOORS[part] <= PURE:
            assert package not in IMPURE_MODULES, f"{part} is pure, but imports {name}"


def test_every_part_has_its_floor() -> None:
    assert {find_part(module) for module in MODULES} - {"__init__"} == set(FLOORS)


def test_the_command_line_and_the_test_kit_alone_import_the_simulator() -> None:
    importers = {
        find_part(module)
        for module in MODULES
        if any(name.startswith("convaid.simulator") for name in find_imports(module))
    }
    assert importers <= {"cli", "simulator", "testing"}
