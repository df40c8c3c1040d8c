"""``convaid test``: scenarios run against the installed plugins, as a test runner does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convaid.cli.exits import EXIT_FAILURE, EXIT_SIGNAL
from convaid.cli.printing import print_json, print_line, print_table
from convaid.cli.setting import config_option, json_option, load_setting
from convaid.cli.signals import catch_signal

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.plugins import Plugins, Tool
    from convaid.simulator import Scenario
    from convaid.testing.outcomes import DrivenTool
    from convaid.testing.running import ScenarioReport
    from convaid.testing.tool_tests import NotTested

__all__ = ["test"]

FOLDER = "scenarios"


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@config_option
@click.option("-k", "word", default="", help="Only the scenarios whose path contains this, whatever the case.")
@click.option("-x", "stops_early", is_flag=True, help="Stop after the first that fails.")
@click.option(
    "--time-limit", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds for each."
)
@click.option(
    "--floor",
    type=click.FloatRange(0, 100),
    default=0.0,
    help="Fail if fewer than so many per cent of the tools came to a result (ok) at least once: those of the plugins "
    "in whose projects the scenarios are, or of all.",
)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit's XML to this file.")
@json_option
def test(
    *,
    paths: tuple[str, ...],
    path: Path | None,
    word: str,
    stops_early: bool,
    time_limit: float,
    floor: float,
    junit: Path | None,
    as_json: bool,
) -> int:
    """Run scenarios against the installed plugins, and tell what their tools came to.

    PATH is a scenario, a recording, a folder of them or the name of a bundled scenario; without any, the folder
    scenarios. The simulator plays the agent, and says for the user what the scenario has as `example`, on each way
    through its branches. In a folder of the official command line, its tool tests are run, too (tests.json,
    test_configs): the tool is called with what the test expects. Recordings are replayed, as by `convaid replay`. Tools
    run as in the daemon, with the configuration's [tools] and [plugins]. The journal, and what plugins keep in
    $STATE_DIRECTORY or $XDG_STATE_HOME, is temporary.

    Exit codes: 0 all passed, 1 not all, 2 there was nothing to run. A signal ends it with what there is to tell, a
    second one at once.
    """
    import logging

    import trio

    from convaid.testing.outcomes import count_outcomes, find_share

    chosen = [name for name in find_scenarios(paths or (FOLDER,)) if word.lower() in name.lower()]
    if not chosen:
        looked = ", ".join(paths or (FOLDER,))
        lacks = f" with {word!r} in its path" if word else ": no *.toml, no *.jsonl, and no tests.json"
        raise click.UsageError(f"there is no scenario to run in {looked}{lacks}")
    if junit is not None:
        check_writable(junit)
    configuration, plugins = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    tested = find_tested_plugins(chosen, plugins)
    logging.getLogger("convaid.simulator").setLevel(logging.ERROR)  # what it would warn of is what we tell
    began = datetime.now(UTC)
    reports, signal_number = trio.run(run_scenarios, chosen, configuration, time_limit, stops_early, not as_json)
    seconds = (datetime.now(UTC) - began).total_seconds()
    calls = (call for report in reports for call in report.calls)
    driven = count_outcomes(calls, plugins, configuration.tools, tested)
    share = find_share(driven)
    if as_json:
        print_json(describe_run(reports, driven, share))
    else:
        print_outcomes(driven, share)
        print_summary(reports, len(chosen), seconds)
    if junit is not None:
        write_junit(reports, began, junit)
    if signal_number:
        return EXIT_SIGNAL + signal_number
    if share < floor:
        print_line(f"{share:.0f} % of the tools is less than the floor of {floor:g} %", fg="red", err=True)
        return EXIT_FAILURE
    return 0 if all(report.passed for report in reports) else EXIT_FAILURE


def find_scenarios(paths: Iterable[str]) -> list[str]:
    """Return the paths of all scenarios that are meant, and the names of bundled ones."""
    from convaid.simulator.scenario_file import list_bundled
    from convaid.testing.tool_tests import find_tool_tests

    found: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            found += sorted(map(str, [*Path(path).rglob("*.toml"), *Path(path).rglob("*.jsonl")]))
            found += map(str, find_tool_tests(Path(path)))
        elif Path(path).exists() or path in list_bundled():
            found.append(path)
        else:
            raise click.BadParameter(f'there is no scenario, and no folder, "{path}"; name one', param_hint="PATH")
    return found


def find_tested_plugins(names: Iterable[str], plugins: Plugins) -> set[str] | None:
    """Return the plugins that scenarios are there for: those of the projects around them, as in the test kit.

    None: all that are installed, since one of the scenarios is in no plugin's project. ConvaidError where one of those
    plugins is of no use: what is tested then would be another, or nothing.
    """
    from convaid.errors import ConvaidError
    from convaid.testing.project import find_project

    projects = {find_project(Path(name)) if Path(name).exists() else None for name in names}
    tested: set[str] = set()
    for project in projects:
        if project is None or not project.plugins:
            return None
        tested |= set(project.plugins)
        for name in project.plugins:
            plugin = next((plugin for plugin in plugins if plugin.name == name), None)
            if plugin is None:
                raise ConvaidError(f'the plugin "{name}" is not installed: pip install -e {project.folder}')
            if plugin.status in ("broken", "refused"):
                raise ConvaidError(f'the plugin "{name}" is {plugin.status}: {plugin.reason}')
    return tested


async def run_scenarios(
    names: Sequence[str], configuration: Configuration, time_limit: float, stops_early: bool, is_told: bool
) -> tuple[list[ScenarioReport], int]:
    """Run one scenario after the other, telling of each; returns what came of them, and the signal that ended it."""
    import trio

    reports: list[ScenarioReport] = []
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope, catch_signal(lambda: token.run_sync_soon(scope.cancel)) as signals:
        for name in names:
            report = await run_one(name, configuration, time_limit)
            reports.append(report)
            if is_told:
                print_report(report)
            if stops_early and not report.passed:
                break
    return reports, signals[0] if signals else 0


async def run_one(name: str, configuration: Configuration, time_limit: float) -> ScenarioReport:
    """Run one scenario, with state of its own."""
    import attrs

    from convaid.calls import list_offered
    from convaid.errors import ConfigurationError
    from convaid.plugins import load_plugins
    from convaid.simulator import Failure
    from convaid.testing.recorded import load_recording
    from convaid.testing.replaying import make_redactor, replay_recording
    from convaid.testing.running import ScenarioReport, open_temporary_state, run_scenario
    from convaid.testing.tool_tests import NotTested

    hidden = [configuration.platform.api_key_env]
    with open_temporary_state():
        plugins = load_plugins(configuration.plugins)  # again: where they keep their state is another place
        try:
            if Path(name).suffix == ".jsonl":
                recording, redactor = load_recording(Path(name)), make_redactor(configuration)
                replayed = await replay_recording(
                    recording, plugins, configuration.tools, time_limit=time_limit, hidden=hidden, redactor=redactor
                )
                return replayed.summarize(name)
            scenario = load_one(name, {tool.name: tool for tool, _ in list_offered(plugins, configuration.tools)})
        except ConfigurationError as error:
            return ScenarioReport(name, Failure("", str(error)))
        if isinstance(scenario, NotTested):
            return ScenarioReport(name, None, skipped=scenario.reason)
        if not scenario.steps and not scenario.rules and not scenario.brain:
            return ScenarioReport(name, Failure("", f"{name}: nothing is tested: it has no [[steps]] and no [[rules]]"))
        scenario = attrs.evolve(scenario, name=name)
        return await run_scenario(scenario, plugins, configuration.tools, time_limit=time_limit, hidden=hidden)


def load_one(name: str, offered: Mapping[str, Tool]) -> Scenario | NotTested:
    """Read a scenario, or a tool test of the official command line's, which becomes one."""
    from convaid.simulator import load_scenario
    from convaid.testing.tool_tests import load_tool_test

    return load_tool_test(Path(name), offered) if Path(name).suffix == ".json" else load_scenario(name)


def print_report(report: ScenarioReport) -> None:
    """Print what came of one scenario: a line, and all that helps to understand why it failed."""
    from convaid.testing.running import describe_call

    ways = f", {report.ways} ways" if report.ways > 1 else ""
    word, colour = ("passed", "green") if report.passed else ("FAILED", "red")
    if report.skipped:
        print_line(f"skipped {report.name}: {report.skipped}", fg="yellow")
        return
    print_line(f"{word}  {report.name}  ({report.seconds:.2f} s{ways})", fg=colour)
    if report.passed and Path(report.name).suffix == ".json":  # a call was made up for it: which, and what came
        for call in report.calls:
            print_line(f"    {describe_call(call)}")
    if failure := report.failure:
        for line in str(failure).splitlines():
            print_line(f"    {line}")
        if failure.expected:
            print_line(f"    expected: {failure.expected}")
            print_line(f"    got:      {failure.got}")
        for line in report.transcript:
            print_line(f"        {line}", dim=True)


def print_outcomes(driven: Sequence[DrivenTool], share: float) -> None:
    """Print which tools came to which outcomes."""
    rows = [
        {
            "tool": tool.tool,
            "plugin": tool.plugin or "-",
            "outcomes": ", ".join(f"{outcome} {count}" for outcome, count in sort_outcomes(tool)) or "never called",
        }
        for tool in driven
        if tool.is_tested or tool.outcomes
    ]
    if not rows:
        return
    click.echo()
    print_table(rows)
    owners = {tool.plugin for tool in driven if tool.is_tested}
    whose = f" of {', '.join(sorted(owners))}" if owners != {tool.plugin for tool in driven if tool.plugin} else ""
    click.echo()
    print_line(f"{share:.0f} % of the tools{whose} came to a result")


def sort_outcomes(tool: DrivenTool) -> list[tuple[str, int]]:
    """Results first, then what went wrong by its name."""
    return sorted(tool.outcomes.items(), key=lambda item: (item[0] != "ok", item[0]))


def print_summary(reports: Sequence[ScenarioReport], chosen: int, seconds: float) -> None:
    """Print the last line."""
    skipped = sum(bool(report.skipped) for report in reports)
    failed = sum(not report.passed for report in reports)
    parts = [f"{len(reports) - failed - skipped} passed"]
    parts += [f"{failed} failed"] * bool(failed) + [f"{skipped} skipped"] * bool(skipped)
    if len(reports) < chosen:
        parts.append(f"{chosen - len(reports)} not run")
    colour = "red" if failed or len(reports) < chosen else "green"
    print_line(f"{', '.join(parts)} in {seconds:.1f} s", fg=colour, bold=True)


def describe_run(reports: Sequence[ScenarioReport], driven: Sequence[DrivenTool], share: float) -> dict[str, Any]:
    """The whole run for a script."""
    import attrs

    return {
        "scenarios": [{"passed": report.passed, **attrs.asdict(report)} for report in reports],
        "tools": [attrs.asdict(tool) for tool in driven],
        "percent_ok": share,
    }


def check_writable(path: Path) -> None:
    """See to it that a file can be written; what is there stays as it is. BadParameter where it cannot be."""
    was_there = path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
        if not was_there:
            path.unlink()
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="--junit") from None


def write_junit(reports: Sequence[ScenarioReport], began: datetime, path: Path) -> None:
    """Write the report for build servers. OSError where that cannot be."""
    import platform

    from convaid.testing.junit import make_junit

    make_junit(reports, began, platform.node()).write(path, encoding="utf-8", xml_declaration=True)
