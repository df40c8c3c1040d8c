"""Which plugins a test is about, and with which configuration (floor 6)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path, PurePath
from typing import Any

from attrs import frozen

from convaid.config import Configuration, load_configuration
from convaid.config.loading import read_tables
from convaid.errors import ConfigurationError, Problem
from convaid.plugins import Plugins, load_plugins
from convaid.plugins.hookspecs import PROJECT
from convaid.plugins.loading import find_misplaced_tools, find_stray_tables
from convaid.testing.pending import KitError
from convaid.testing.project import find_project
from convaid.wording import nearest

__all__ = ["Choice", "Subjects", "load_subjects"]

Choice = Mapping[str, object] | Iterable[str] | None
"""Names of installed plugins; or objects that have a plugin's hooks, such as modules, by the name they are to have;
None: those of the project that the test belongs to, or all that are installed where it is not a plugin's."""


@frozen
class Subjects:
    """The plugins under test, all of them ready, and the configuration."""

    plugins: Plugins
    configuration: Configuration


def load_subjects(choice: Choice, setting: Mapping[str, Any] | Path | None, test: Path) -> Subjects:
    """Load what is to be tested in the file ``test``.

    ``setting``: the tables ``plugins`` and ``tools`` of a configuration, or the path of a whole one. Raises `KitError`
    where a plugin is not installed or not ready, `ConfigurationError` where the setting cannot be.
    """
    configuration, source = _read_setting(setting)
    found = list(_choose(choice, test))
    tables = {point.name: configuration.plugins.get(point.name, {}) for point in found}
    if not isinstance(setting, Path):  # a whole configuration may be about other plugins, too
        tables |= configuration.plugins
    plugins = load_plugins(tables, entry_points=found)
    if problems := [*plugins.problems, *find_stray_tables(plugins, configuration.tools.named)[0]]:
        raise ConfigurationError(source, problems)
    if unfit := [plugin for plugin in plugins if plugin.status != "ready"]:
        raise KitError("; ".join(f"{plugin} is {plugin.status}: {plugin.reason}" for plugin in unfit))
    if misplaced := find_misplaced_tools(plugins, configuration.tools):
        raise ConfigurationError(source, misplaced)
    return Subjects(plugins, configuration)


def _choose(choice: Choice, test: Path) -> Iterable[EntryPoint]:
    if isinstance(choice, Mapping):
        return [_Given(name, target) for name, target in choice.items()]
    installed = {point.name: point for point in entry_points(group=PROJECT)}
    project = find_project(test) if choice is None else None
    names = project.plugins if project is not None else tuple(choice or ())
    if choice is None and not names:
        return installed.values()
    for name in names:
        if name not in installed:
            remedy = f"pip install -e {project.folder}" if project else _suggest(name, installed)
            raise KitError(f'the plugin "{name}" is not installed: {remedy}')
    return [installed[name] for name in names]


def _suggest(name: str, installed: Iterable[str]) -> str:
    found = nearest(name, installed)
    return f'did you mean "{found[0]}"?' if found else f"installed are {', '.join(installed) or 'none'}"


def _read_setting(setting: Mapping[str, Any] | Path | None) -> tuple[Configuration, str]:
    if isinstance(setting, Path):
        return load_configuration(setting, needs_conversations=False), str(setting)
    source = 'the fixture "convaid_config"'
    try:
        tables = json.loads(json.dumps(setting or {}, default=_write_path))  # as TOML would have it
    except TypeError as error:
        raise ConfigurationError(source, [Problem("", str(error))]) from None
    return read_tables(tables, source, needs_conversations=False), source


def _write_path(value: object) -> str:
    if not isinstance(value, PurePath):
        raise TypeError(f"{value!r} is nothing that TOML has")
    return str(value)


class _Given(EntryPoint):
    """An object that a test hands over, in the place of what is installed."""

    def __init__(self, name: str, target: object) -> None:
        super().__init__(name, getattr(target, "__name__", type(target).__qualname__), PROJECT)
        vars(self)["target"] = target

    def load(self) -> Any:
        return vars(self)["target"]
