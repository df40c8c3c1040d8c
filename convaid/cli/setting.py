"""What the commands share: the configuration, the plugins, and the simulator where the configuration names it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convaid.cli.printing import divert_prints

if TYPE_CHECKING:
    from convaid.config import Configuration, Secret
    from convaid.errors import Problem
    from convaid.matching.view import OfferedTool
    from convaid.plugins import Plugins

__all__ = [
    "BUILT_IN",
    "config_option",
    "dry_run_option",
    "find_configuration",
    "json_option",
    "load_setting",
    "open_platform",
    "read_configuration",
    "reread_configuration",
]

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

PLACES = (Path("config.toml"), Path("/etc/convaid/config.toml"))
BUILT_IN = """
[conversations.main]
agent_id = "agent_demo"
start = "once"
overrides.text_only = true
"""


def config_option(command: F) -> F:
    """``--config``, for commands that read the configuration."""
    return click.option(
        "-c",
        "--config",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="CONVAID_CONFIG",
        help="The configuration; else $CONVAID_CONFIG, ./config.toml, /etc/convaid/config.toml.",
    )(command)


def json_option(command: F) -> F:
    """``--json``, where a script would want it."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.", callback=_divert)(command)


def _divert(context: click.Context, _: click.Parameter, as_json: bool) -> bool:
    if as_json:
        context.with_resource(divert_prints())
    return as_json


def dry_run_option(command: F) -> F:
    """``--dry-run-tools``, for commands that hold conversations."""
    return click.option(
        "--dry-run-tools",
        "is_dry",
        is_flag=True,
        help="Run no tool: log what would have run, and answer with the tool's `mock` in the configuration.",
    )(command)


def load_setting(
    path: Path | None,
    *,
    or_built_in: bool = False,
    is_quiet: bool = False,
    talks: bool = True,
    needs_conversations: bool = True,
    is_strict: bool = False,
) -> tuple[Configuration, Plugins]:
    """Read the configuration, start the log, load the plugins.

    Raises `ConfigurationError` with every problem, those of the plugins' own settings included. ``or_built_in``: where
    there is no file, a text conversation with the simulator. ``is_quiet``: log nothing below a warning, for commands
    whose output says what happens. ``talks``: conversations will be held, so what they need must be there.
    ``needs_conversations``: it is about them, so that one must be in the file. ``is_strict``: tables for tools that
    nobody offers are problems, too.
    """
    from convaid.errors import ConfigurationError
    from convaid.logs import set_up_logging
    from convaid.plugins import load_plugins

    configuration, source = read_configuration(path, or_built_in=or_built_in, needs_conversations=needs_conversations)
    secrets, problems = find_needs(configuration) if talks else ([], [])
    level = "warning" if is_quiet else configuration.log.level
    set_up_logging(level, [*configuration.secrets(), *secrets], configuration.log.format)
    plugins = load_plugins(configuration.plugins)
    for plugin in plugins:
        if plugin.status in ("broken", "refused"):
            log.error("plugin %s is %s: %s", plugin.name, plugin.status, plugin.reason)
        elif plugin.status == "ready" and plugin.reason:
            log.warning("plugin %s: %s", plugin.name, plugin.reason)
    problems += [*plugins.problems, *find_slips(configuration, plugins, is_strict=is_strict)]
    if problems:
        raise ConfigurationError(source, problems)
    return configuration, plugins


def read_configuration(
    path: Path | None, *, or_built_in: bool = False, needs_conversations: bool = True
) -> tuple[Configuration, str]:
    """Read the configuration's file, and return what it is to be called in messages. Raises as `load_setting`."""
    from convaid.config import load_configuration, parse_configuration
    from convaid.errors import ConfigurationError, Problem

    path = find_configuration(path)
    if path is not None:
        return load_configuration(path, needs_conversations=needs_conversations), str(path)
    if or_built_in:
        return parse_configuration(BUILT_IN, "the built-in configuration"), "the built-in configuration"
    places = " or ".join(map(str, PLACES))
    remedy = "no such file; name one with --config (`convaid demo` needs none)"
    raise ConfigurationError(places, [Problem("", remedy)])


def reread_configuration(path: Path, plugins: Plugins) -> Configuration:
    """Read the configuration's file again for the daemon that runs with ``plugins``; its log is set up anew.

    Raises `ConfigurationError` with every problem, those of the plugins' own settings excepted: they need a restart.
    """
    from convaid.config import load_configuration
    from convaid.errors import ConfigurationError
    from convaid.logs import set_up_logging

    configuration = load_configuration(path)
    secrets, problems = find_needs(configuration)
    problems += find_slips(configuration, plugins)
    if problems:
        raise ConfigurationError(str(path), problems)
    set_up_logging(configuration.log.level, [*configuration.secrets(), *secrets], configuration.log.format)
    return configuration


def find_slips(configuration: Configuration, plugins: Plugins, *, is_strict: bool = False) -> list[Problem]:
    """What fits no plugin: tables, devices. A table for a tool that nobody offers is only logged, if not strict."""
    from convaid.plugins.loading import find_misplaced_tools, find_stray_tables, find_unknown_devices

    slips, absent = find_stray_tables(plugins, configuration.tools.named)
    for problem in absent:
        log.warning("%s", problem)
    slips += find_misplaced_tools(plugins, configuration.tools)
    slips += find_unknown_devices(plugins, configuration.conversations)
    return slips + (absent if is_strict else [])


def find_configuration(path: Path | None) -> Path | None:
    """Return the configuration's file: ``path``, or the first that is there of the places where one may be."""
    return path or next((place for place in PLACES if place.exists()), None)


def find_needs(configuration: Configuration) -> tuple[list[Secret], list[Problem]]:
    """What conversations need beside the configuration: the API key, and what is missing."""
    import os
    from importlib.util import find_spec

    from convaid.config import Secret, require_api_key
    from convaid.errors import ConfigurationError, Problem

    secrets, problems = [], []
    try:
        api_key = require_api_key(configuration)
        secrets = [api_key] if api_key else []
    except ConfigurationError as error:
        problems = list(error.problems)
    for name, settings in configuration.conversations.items():
        if variable := settings.signed_url_secret_env:
            if secret := os.environ.get(variable, "").strip():
                secrets.append(Secret(secret))
            else:
                words = f"there is no environment variable {variable}, or it is empty; set it, or remove this"
                problems.append(Problem(f"conversations.{name}.signed_url_secret_env", words))
    for name, settings in configuration.conversations.items():
        if settings.audio != "none" and not all(map(find_spec, ("numpy", "samplerate"))):
            words = "speech needs more packages: pip install 'convaid[audio]'"
            problems.append(Problem(f"conversations.{name}.audio", words))
    return secrets, problems


@asynccontextmanager
async def open_platform(
    configuration: Configuration, scenario: str = "default", tools: Iterable[OfferedTool] = ()
) -> AsyncIterator[Configuration]:
    """Open the bundled simulator where ``platform.base_url`` is "simulator", and point the configuration at it.

    Its tools and agents are in ``platform.simulator_file``; `ConfigurationError` where that is not a file of its own.
    ``tools`` are known to the scenario's agent, as if they had been pushed.
    """
    if not configuration.platform.is_simulator:
        yield configuration
        return
    import attrs

    from convaid.simulator import SimulatorSettings, load_scenario, open_simulator

    configs = [tool.config for tool in tools]
    settings = SimulatorSettings([load_scenario(scenario)], file=configuration.platform.simulator_file, tools=configs)
    async with open_simulator(settings) as simulator:
        platform = attrs.evolve(configuration.platform, base_url=simulator.base_url)
        yield attrs.evolve(configuration, platform=platform)
