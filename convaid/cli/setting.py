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
    from convaid.config import load_configuration, parse_configuration
    from convaid.errors import ConfigurationError, Problem
    from convaid.logs import set_up_logging
    from convaid.plugins import load_plugins
    from convaid.plugins.loading import find_misplaced_tools, find_stray_tables

    path = find_configuration(path)
    source = str(path or "the built-in configuration")
    if path is not None:
        configuration = load_configuration(path, needs_conversations=needs_conversations)
    elif or_built_in:
        configuration = parse_configuration(BUILT_IN, source)
    else:
        places = " or ".join(map(str, PLACES))
        remedy = "no such file; name one with --config (`convaid demo` needs none)"
        raise ConfigurationError(places, [Problem("", remedy)])
    secrets, problems = find_needs(configuration) if talks else ([], [])
    level = "warning" if is_quiet else configuration.log.level
    set_up_logging(level, [*configuration.secrets(), *secrets])
    plugins = load_plugins(configuration.plugins)
    for plugin in plugins:
        if plugin.status in ("broken", "refused"):
            log.error("plugin %s is %s: %s", plugin.name, plugin.status, plugin.reason)
        elif plugin.status == "ready" and plugin.reason:
            log.warning("plugin %s: %s", plugin.name, plugin.reason)
    problems += plugins.problems
    slips, absent = find_stray_tables(plugins, configuration.tools.named)
    problems += slips + find_misplaced_tools(plugins, configuration.tools)
    if is_strict:
        problems += absent
    for problem in absent:
        log.warning("%s", problem)
    if problems:
        raise ConfigurationError(source, problems)
    return configuration, plugins


def find_configuration(path: Path | None) -> Path | None:
    """Return the configuration's file: ``path``, or the first that is there of the places where one may be."""
    return path or next((place for place in PLACES if place.exists()), None)


def find_needs(configuration: Configuration) -> tuple[list[Secret], list[Problem]]:
    """What conversations need beside the configuration: the API key, and what is missing."""
    from importlib.util import find_spec

    from convaid.config import require_api_key
    from convaid.errors import ConfigurationError, Problem

    secrets, problems = [], []
    try:
        api_key = require_api_key(configuration)
        secrets = [api_key] if api_key else []
    except ConfigurationError as error:
        problems = list(error.problems)
    if not (find_spec("numpy") and find_spec("samplerate")):
        problems += [
            Problem(f"conversations.{name}.audio", "speech needs more packages: pip install 'convaid[audio]'")
            for name, settings in configuration.conversations.items()
            if settings.sound is not None
        ]
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
