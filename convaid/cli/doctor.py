"""``convaid doctor``: is everything there that conversations need?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.matching import load_own_record
from convaid.cli.printing import print_json, print_line
from convaid.cli.setting import (
    config_option,
    find_configuration,
    find_needs,
    find_slips,
    json_option,
    open_platform,
    read_configuration,
)

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.doctor import Finding, Subject

__all__ = ["doctor"]

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}
CORRECT = "correct the file; `convaid check` says what else is wrong in it"


@click.command()
@config_option
@json_option
@click.option("--conversation", "name", metavar="NAME", help="This conversation alone.")
@click.option(
    "--ask-all-regions",
    "asks_all_regions",
    is_flag=True,
    help="Where the platform does not take the API key, show it to its hosts in all regions, to find the right one.",
)
def doctor(path: Path | None, as_json: bool, name: str | None, asks_all_regions: bool) -> int:
    """Look at everything that conversations need, and say what mends what is wrong.

    Looks at the configuration, API key and its rights, agents, overrides, dynamic variables, tools, plugins, sound,
    network, TLS, the clock, the state folder, a running daemon and the service: a line each. It changes nothing and
    holds no conversation. Exit code 0: nothing is wrong, warnings aside; 1: something is.

    \b
    Examples:
      convaid doctor
      convaid doctor --conversation main
      convaid doctor --json | jq -r '.findings[] | select(.level == "error") | .fix'
    """
    import trio

    from convaid.doctor import examine
    from convaid.doctor.findings import LEVELS

    subject, findings = prepare(path, name, asks_all_regions)

    async def run() -> list[Finding]:
        import attrs

        async with open_platform(subject.configuration) as pointed:
            return await examine(attrs.evolve(subject, configuration=pointed))

    findings += trio.run(run)
    worst = max((finding.level for finding in findings), key=LEVELS.index)
    if as_json:
        print_json({"level": worst, "findings": [finding.describe() for finding in findings]})
    else:
        print_findings(findings)
    return EXIT_FAILURE if worst == "error" else 0


def prepare(path: Path | None, name: str | None, asks_all_regions: bool) -> tuple[Subject, list[Finding]]:
    """Read the configuration and load the plugins, and say what is wrong with them."""
    from convaid.config import Configuration
    from convaid.doctor import Subject
    from convaid.doctor.findings import error, ok, warning
    from convaid.errors import ConfigurationError
    from convaid.logs import set_up_logging
    from convaid.plugins import Plugins, load_plugins

    def tell(fault: ConfigurationError, fix: str = CORRECT) -> list[Finding]:
        return [error("configuration", f"{fault.source}: {problem}", fix) for problem in fault.problems]

    file = find_configuration(path)
    try:
        configuration, source = read_configuration(path, or_built_in=True)
    except ConfigurationError as fault:
        return Subject(Configuration(), Plugins(()), file, has_configuration=False), tell(fault)
    if name is not None:
        configuration = choose(configuration, name)
    findings: list[Finding] = []
    if file is None:
        words = "there is no file: what is looked at is the built-in conversation with the simulator"
        fix = "begin with the config.toml that convaid ships with, or name one (--config)"
        findings.append(warning("configuration", words, fix))
    secrets, _ = find_needs(configuration)  # what is missing, the checks tell
    set_up_logging("error", [*configuration.secrets(), *secrets])
    plugins = load_plugins(configuration.plugins)
    problems = [*plugins.problems, *find_slips(configuration, plugins, is_strict=True)]
    findings += tell(ConfigurationError(source, problems))
    owned = None
    try:
        owned = load_own_record(path, configuration).ids
    except ConfigurationError as fault:
        findings += tell(fault, "put the right file there, or remove it and adopt the tools anew")
    if not findings:
        findings.append(ok("configuration", f"{source} is in order"))
    subject = Subject(
        configuration,
        plugins,
        file,
        is_bundled=configuration.platform.is_simulator,
        owned=owned,
        asks_all_regions=asks_all_regions,
    )
    return subject, findings


def choose(configuration: Configuration, name: str) -> Configuration:
    """Return the configuration with one of its conversations alone."""
    import attrs

    if name not in configuration.conversations:
        known = ", ".join(configuration.conversations)
        raise click.BadParameter(f"no conversation {name!r}; there is {known}", param_hint="--conversation")
    return attrs.evolve(configuration, conversations={name: configuration.conversations[name]})


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings, one a line."""
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        line = f"{finding.level:7}  {finding.check:{width}}  {finding}"
        print_line(line, fg=COLOURS[finding.level])
    wrong, known = (sum(finding.level == level for finding in findings) for level in ("error", "warning"))
    print_line(f"errors: {wrong}, warnings: {known}", bold=True)
