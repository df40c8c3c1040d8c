"""Whose project a file belongs to (floor 6). Imports next to nothing, as `convaid.testing.plugin` does."""

from __future__ import annotations

import tomllib
from pathlib import Path

from attrs import frozen

__all__ = ["Project", "find_project"]


@frozen
class Project:
    """A folder with a ``pyproject.toml``, and the plugins of convaid's that it declares, if any."""

    folder: Path
    plugins: tuple[str, ...]


def find_project(file: Path) -> Project | None:
    """Return the closest project around a file."""
    folder = next((folder for folder in file.absolute().parents if (folder / "pyproject.toml").is_file()), None)
    if folder is None:
        return None
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("project", {})
        return Project(folder, tuple(project.get("entry-points", {}).get("convaid", {})))
    except (ValueError, RecursionError, AttributeError, TypeError):
        return Project(folder, ())  # whoever builds it will complain
