"""``convaid test``: scenarios run against the installed plugins, as a test runner does."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convaid.cli.exits import EXIT_FAILURE, EXIT_INTERRUPTED
from convaid.cli.printing import print_json, print_line, print_table
from convaid.cli.setting import config_option, json_option, load_setting

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.testing.outcomes import DrivenTool
    from convaid.testing.running import ScenarioReport

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
    help="Fail if fewer than so many per cent of all tools came to a result (ok) at least once.",
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

    PATH is a scenario, a folder of them or the name of a bundled one; without any, the folder scenarios. The simulator
    plays the agent, and says for the user what the scenario has as `example`, on each way through its branches. Tools
    run as in the daemon, with the configuration's [tools] and [plugins]. The journal, and what plugins keep in
    $STATE_DIRECTORY or $XDG_STATE_HOME, is temporary.

    Exit codes: 0 all passed, 1 not all, 2 there was nothing to run.
    """
    import logging

    import trio

    from convaid.testing.outcomes import count_outcomes, find_share

    chosen = [name for name in find_scenarios(paths or (FOLDER,)) if word.lower() in name.lower()]
    if not chosen:
        looked = ", ".join(paths or (FOLDER,))
        raise click.UsageError(
            f"there is no scenario to run in {looked}{f' with {word!r} in its path' if word else ': no *.toml'}"
        )
    configuration, plugins = load_setting(path, or_built_in=True, is_quiet=True, talks=False)
    logging.getLogger("convaid.simulator").setLevel(logging.ERROR)  # what it would warn of is what we tell
    began = datetime.now(UTC)
    reports, is_interrupted = trio.run(run_scenarios, chosen, configuration, time_limit, stops_early, not as_json)
    seconds = (datetime.now(UTC) - began).total_seconds()
    driven = count_outcomes((call for report in reports for call in report.calls), plugins, configuration.tools)
    share = find_share(driven)
    if junit is not None:
        write_junit(reports, began, junit)
    if as_json:
        print_json(describe_run(reports, driven, share))
    else:
        print_outcomes(driven, share)
        print_summary(reports, len(chosen), seconds)
    if is_interrupted:
        return EXIT_INTERRUPTED
    if share < floor:
        click.secho(f"{share:.0f} % of the tools is less than the floor of {floor:g} %", fg="red", err=True)
        return EXIT_FAILURE
    return 0 if all(report.passed for report in reports) else EXIT_FAILURE


def find_scenarios(paths: Iterable[str]) -> list[str]:
    """Return the paths of all scenarios that are meant, and the names of bundled ones."""
    from convaid.simulator.scenario_file import list_bundled

    found: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            found += sorted(map(str, Path(path).rglob("*.toml")))
        elif Path(path).exists() or path in list_bundled():
            found.append(path)
        else:
            raise click.BadParameter(f'there is no scenario, and no folder, "{path}"; name one', param_hint="PATH")
    return found


async def run_scenarios(
    names: Sequence[str], configuration: Configuration, time_limit: float, stops_early: bool, is_told: bool
) -> tuple[list[ScenarioReport], bool]:
    """Run one scenario after the other, telling of each; returns what came of them, and whether Ctrl+C ended it."""
    import trio

    reports: list[ScenarioReport] = []
    is_interrupted = False
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def wait_for_signal() -> None:
                nonlocal is_interrupted
                await anext(signals)
                is_interrupted = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_for_signal)
            for name in names:
                report = await run_one(name, configuration, time_limit)
                reports.append(report)
                if is_told:
                    print_report(report)
                if stops_early and not report.passed:
                    break
            nursery.cancel_scope.cancel()
    return reports, is_interrupted


async def run_one(name: str, configuration: Configuration, time_limit: float) -> ScenarioReport:
    """Run one scenario, with state of its own."""
    import attrs

    from convaid.errors import ConfigurationError
    from convaid.plugins import load_plugins
    from convaid.simulator import Failure, load_scenario
    from convaid.testing.running import ScenarioReport, open_temporary_state, run_scenario

    try:
        scenario = attrs.evolve(load_scenario(name), name=name)
    except ConfigurationError as error:
        return ScenarioReport(name, Failure("", str(error)))
    if not scenario.steps and not scenario.rules:
        return ScenarioReport(name, Failure("", f"{name}: nothing is tested: it has no [[steps]] and no [[rules]]"))
    with open_temporary_state():
        plugins = load_plugins(configuration.plugins)  # again: where they keep their state is another place
        hidden = [configuration.platform.api_key_env]
        return await run_scenario(scenario, plugins, configuration.tools, time_limit=time_limit, hidden=hidden)


def print_report(report: ScenarioReport) -> None:
    """Print what came of one scenario: a line, and all that helps to understand why it failed."""
    ways = f", {report.ways} ways" if report.ways > 1 else ""
    word, colour = ("passed", "green") if report.passed else ("FAILED", "red")
    print_line(f"{word}  {report.name}  ({report.seconds:.2f} s{ways})", fg=colour)
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
    if not driven:
        return
    click.echo()
    print_table(
        [
            {
                "tool": tool.tool,
                "plugin": tool.plugin or "-",
                "outcomes": ", ".join(f"{outcome} {count}" for outcome, count in sort_outcomes(tool)) or "never called",
            }
            for tool in driven
        ]
    )
    click.echo(f"\n{share:.0f} % of the tools came to a result")


def sort_outcomes(tool: DrivenTool) -> list[tuple[str, int]]:
    """Results first, then what went wrong by its name."""
    return sorted(tool.outcomes.items(), key=lambda item: (item[0] != "ok", item[0]))


def print_summary(reports: Sequence[ScenarioReport], chosen: int, seconds: float) -> None:
    """Print the last line."""
    passed = sum(report.passed for report in reports)
    parts = [f"{passed} passed"]
    if passed < len(reports):
        parts.append(f"{len(reports) - passed} failed")
    if len(reports) < chosen:
        parts.append(f"{chosen - len(reports)} not run")
    colour = "green" if passed == chosen else "red"
    print_line(f"{', '.join(parts)} in {seconds:.1f} s", fg=colour, bold=True)


def describe_run(reports: Sequence[ScenarioReport], driven: Sequence[DrivenTool], share: float) -> dict[str, Any]:
    """The whole run for a script."""
    import attrs

    return {
        "scenarios": [{"passed": report.passed, **attrs.asdict(report)} for report in reports],
        "tools": [attrs.asdict(tool) for tool in driven],
        "percent_ok": share,
    }


def write_junit(reports: Sequence[ScenarioReport], began: datetime, path: Path) -> None:
    """Write the report for build servers. OSError where that cannot be."""
    import platform

    from convaid.testing.junit import make_junit

    path.parent.mkdir(parents=True, exist_ok=True)
    make_junit(reports, began, platform.node()).write(path, encoding="utf-8", xml_declaration=True)
