"""``convaid tools check``, ``push``, ``export`` and ``snapshot``: the tools here and the platform's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_json, print_line, print_table
from convaid.cli.setting import find_configuration, json_option, load_setting, open_platform

if TYPE_CHECKING:
    from convaid.config import Configuration, Secret
    from convaid.matching.findings import Finding
    from convaid.matching.plan import Plan
    from convaid.matching.record import PushRecord
    from convaid.matching.view import OfferedTool, PlatformView
    from convaid.plugins import Plugins

__all__ = ["check", "export", "push", "snapshot"]

COLOURS = {"+": "green", "-": "red", "@": "cyan"}  # of a diff's lines, by their first character


@click.command()
@click.option("--conversation", "name", metavar="NAME", help="This conversation's agent alone.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="What `elevenlabs tools pull` wrote.")
@click.option("--snapshot", "file", type=click.Path(dir_okay=False, path_type=Path), help="What `snapshot` wrote.")
@json_option
@click.pass_obj
def check(path: Path | None, name: str | None, folder: Path | None, file: Path | None, as_json: bool) -> int:
    """Hold the tools here against the platform, and say what does not fit, each with its remedy.

    The platform is asked, unless a folder or a snapshot stands in for it. Exit code 1 says that something does not fit;
    notes, on what differs and does no harm, do not count. 69 says that the platform could not be asked.
    """
    import attrs
    import trio

    from convaid.matching.folder import load_folder
    from convaid.matching.matching import find_findings
    from convaid.matching.snapshot import load_snapshot
    from convaid.matching.view import list_tools

    if folder is not None and file is not None:
        raise click.UsageError("--folder and --snapshot exclude each other")
    configuration, loaded = load_setting(path, is_quiet=True, talks=False)
    if name is not None:
        if name not in configuration.conversations:
            known = ", ".join(configuration.conversations)
            raise click.BadParameter(f"no conversation {name!r}; there is {known}", param_hint="--conversation")
        configuration = attrs.evolve(configuration, conversations={name: configuration.conversations[name]})
    if folder is not None:
        view = load_folder(folder)
    elif file is not None:
        view = load_snapshot(file)
    else:
        view = trio.run(look, configuration)
    offered = list_tools(loaded, configuration.tools)
    findings = find_findings(offered, configuration.conversations, view, load_own_record(path, configuration).ids)
    if as_json:
        print_json([finding.describe() for finding in findings])
    elif findings:
        print_findings(findings)
    else:
        click.echo(f"everything fits: {count(offered, 'tool')}, {count(view.agents, 'agent')}")
    return EXIT_FAILURE if any(not finding.is_note for finding in findings) else 0


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings as a table, one a line with its remedy."""
    print_table(
        [
            {
                "of": finding.tool or ", ".join(finding.conversations),
                "place": finding.place or "-",
                "finding": f"{'(note) ' if finding.is_note else ''}{finding.message}; {finding.remedy}",
            }
            for finding in findings
        ]
    )


@click.command()
@click.option("--dry-run", "is_dry", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--prune", "prunes", is_flag=True, help="Delete what push created for tools that are no longer here.")
@click.option("--adopt", multiple=True, metavar="NAME", help="Take over a tool that somebody else has made.")
@click.pass_obj
def push(path: Path | None, is_dry: bool, prunes: bool, adopt: tuple[str, ...]) -> int:
    """Bring the platform's tools up to date with those here, and give them to the agents of the configuration.

    Shows the difference first. Changes those tools alone that it has created, or was told to adopt; it remembers them
    in a file beside the configuration. What is set on the dashboard alone survives. Exit code 1 says that something
    was left undone.
    """
    import trio

    from convaid.matching.record import open_record
    from convaid.matching.view import list_tools

    configuration, loaded = load_setting(path, is_quiet=True, talks=False)
    offered = list_tools(loaded, configuration.tools)
    refuse_senseless(configuration, loaded, offered, is_dry=is_dry, prunes=prunes, adopt=adopt)
    found = find_configuration(path)
    assert found is not None  # it was read
    with open_record(found, configuration.platform.rest_url) as record:
        return trio.run(partial(push_tools, configuration, offered, record, is_dry=is_dry, prunes=prunes, adopt=adopt))


def refuse_senseless(
    configuration: Configuration,
    loaded: Plugins,
    offered: Collection[str],
    *,
    is_dry: bool,
    prunes: bool,
    adopt: Sequence[str],
) -> None:
    """Raise where a push could not do what is meant."""
    from convaid.errors import ConfigurationError, Problem
    from convaid.wording import nearest

    for name in adopt:
        if name not in offered:
            found = nearest(name, offered)
            hint = f'did you mean "{found[0]}"?' if found else f"there are: {', '.join(offered) or 'none'}"
            raise click.BadParameter(f'there is no tool "{name}" here; {hint}', param_hint="--adopt")
    platform = configuration.platform
    if platform.is_forgetful and not is_dry:
        message = (
            "the bundled simulator forgets what is pushed when this command ends; set simulator_file to a file that "
            "it may keep it in, or run `convaid simulate` and set base_url to the address that it prints"
        )
        raise ConfigurationError("the configuration", [Problem("platform.base_url", message)])
    if prunes and (broken := [plugin.name for plugin in loaded if plugin.status in ("broken", "refused")]):
        message = "is broken, and --prune would delete its tools: mend or uninstall it first"
        raise ConfigurationError("--prune", [Problem(f"plugin {name}", message) for name in broken])


async def push_tools(
    configuration: Configuration,
    offered: dict[str, OfferedTool],
    record: PushRecord,
    *,
    is_dry: bool,
    prunes: bool,
    adopt: Sequence[str],
) -> int:
    """Plan, show, and unless it is dry, do; returns the exit code."""
    from convaid.matching.observing import fetch_view
    from convaid.matching.plan import plan_push
    from convaid.matching.push import push_plan
    from convaid.rest import open_workspace

    key = find_key(configuration)
    odd: list[str] = []
    async with open_platform(configuration) as pointed, open_workspace(pointed.platform.rest_url, key) as workspace:
        view = await fetch_view(workspace, configuration.conversations.values())
        plan = plan_push(offered, configuration.conversations, view, record, adopt=adopt, prunes=prunes)
        print_plan(plan)
        if plan.steps and not is_dry:
            odd = await push_plan(plan, workspace, record, print_line)
    for line in odd:
        print_line(f"the platform did not keep everything: {line}", err=True, fg="red")
    for line in plan.refusals:
        print_line(line, err=True, fg="red")
    if is_dry and plan.steps:
        click.echo("nothing was changed (--dry-run)")
    elif not plan.steps:
        click.echo(f"nothing to do for {count(offered, 'tool')} and {count(view.agents, 'agent')}")
    return EXIT_FAILURE if odd or plan.refusals else 0


def print_plan(plan: Plan) -> None:
    """Print what would change, as diffs."""
    for step in plan.steps:
        for line in step.write_diff().splitlines() or [f"{step} is as it should be, and is adopted"]:
            print_line(line, fg=COLOURS.get(line[:1]))
    for name in plan.leftovers:
        print_line(f"{name}: was created by push and is no longer offered here; --prune deletes it")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def export(path: Path | None, folder: Path) -> None:
    """Write the tools into FOLDER, as the official command line pushes them (`elevenlabs tools push`).

    What else is in the folder stays as it is, and so does what is set there alone.
    """
    from convaid.matching.folder import export_tools
    from convaid.matching.view import list_tools

    configuration, loaded = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    ids = load_own_record(path, configuration).ids
    for line in export_tools(folder, list_tools(loaded, configuration.tools), ids):
        print_line(line)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def snapshot(path: Path | None, file: Path) -> None:
    """Write into FILE what `check` needs to know of the platform, so that it can do without it.

    Also what the daemon uses where there is no key: `snapshot` in [tools].
    """
    import trio

    from convaid.matching.snapshot import write_snapshot

    configuration, _ = load_setting(path, is_quiet=True, talks=False)
    view = trio.run(look, configuration)
    write_snapshot(file, view)
    click.echo(f"{file}: {count(view.tools, 'tool')}, {count(view.agents, 'agent')}")
    for name, settings in configuration.conversations.items():
        if settings.agent_id and view.find_agent(settings.agent_id, settings.branch_id) is None:
            print_line(f"conversation {name}: there is no agent {settings.agent_id}", err=True)


async def look(configuration: Configuration) -> PlatformView:
    """Read what the platform has, the bundled simulator included."""
    from convaid.matching.observing import fetch_view
    from convaid.rest import open_workspace

    key = find_key(configuration)
    async with open_platform(configuration) as pointed, open_workspace(pointed.platform.rest_url, key) as workspace:
        return await fetch_view(workspace, pointed.conversations.values())


def find_key(configuration: Configuration) -> Secret | None:
    """Return the API key; `ConfigurationError` if there is none. A simulator on this machine may do without."""
    from convaid.config import find_api_key
    from convaid.config.api_key import describe_places
    from convaid.config.checks import is_loopback
    from convaid.errors import ConfigurationError, Problem

    platform = configuration.platform
    key = find_api_key(platform)
    if key is None and not platform.is_simulator and not is_loopback(urlsplit(platform.rest_url).hostname or ""):
        message = f"is needed to read the tools of {platform.rest_url}, and there is none; {describe_places(platform)}"
        raise ConfigurationError("API key", [Problem("", message)])
    return key


def load_own_record(path: Path | None, configuration: Configuration) -> PushRecord:
    """Read which tools of the platform are ours; none without a configuration."""
    from convaid.matching.record import find_record_path, load_record

    return load_record(
        find_record_path(find_configuration(path) or Path("config.toml")), configuration.platform.rest_url
    )


def count(things: Collection[object], name: str) -> str:
    """Return how many there are: ``3 tools``, ``1 tool``."""
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
