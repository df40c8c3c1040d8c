"""``convaid service``: the daemon as a service of systemd, installed, removed and explained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_json, print_line
from convaid.cli.setting import json_option

if TYPE_CHECKING:
    from convaid.service.units import Installation

__all__ = ["service"]

F = TypeVar("F", bound=Callable[..., Any])


def which_options(command: F) -> F:
    """``--user`` and ``--instance``: which service is meant."""
    for option in (
        click.option("--instance", default="", metavar="NAME", help="One of several, each with its NAME.toml."),
        click.option("--user", "is_users", is_flag=True, help="Of your own, rather than of the system."),
    ):
        command = option(command)
    return command


@click.group()
def service() -> None:
    """Run the daemon as a service of systemd."""


@service.command()
@which_options
@click.option("--print", "is_shown", is_flag=True, help="Show what would be written, and write nothing.")
def install(is_users: bool, instance: str, is_shown: bool) -> None:
    """Write the unit, and a configuration to begin with where there is none."""
    from convaid.service.installing import install

    installation = find_installation(is_users, instance)
    if is_shown:
        for path, text in installation.write_files().items():
            click.echo(f"# {path}\n{text}")
        return
    for line in install(installation):
        print_line(line)
    print_line("next:")
    for command, purpose in list_next_commands(installation):
        print_line(f"  {command:<{COMMAND_WIDTH}}  # {purpose}")


COMMAND_WIDTH = 60  # characters: what the comments begin after


def list_next_commands(installation: Installation) -> list[tuple[str, str]]:
    """What to do after the installation, each with what it is good for."""
    systemctl, unit = " ".join(installation.systemctl), installation.unit.removesuffix(".service")
    options = " --user" * installation.is_users + f" --instance {installation.instance}" * bool(installation.instance)
    commands = [
        (f"$EDITOR {installation.configuration}", "which agent; as it is, the simulator's"),
        (f"{systemctl} enable --now {unit}", "start it, now and at every boot"),
        (f"{systemctl} status {unit}", "what it says of itself"),
        (f"{installation.python.with_name('convaid')} service status{options}", "what stands in its way, if it does"),
    ]
    if installation.is_users:
        commands.append(("loginctl enable-linger", "let it run while you are not logged in"))
    else:
        key = ("install -D -m 600 FILE_WITH_THE_KEY " + str(installation.credential), "for a private agent")
        commands.insert(1, key)
    return commands


@service.command()
@which_options
def uninstall(is_users: bool, instance: str) -> None:
    """Stop the service, and remove what `install` has written."""
    from convaid.service.installing import uninstall

    for line in uninstall(find_installation(is_users, instance)):
        print_line(line)


@service.command()
@which_options
@json_option
def status(is_users: bool, instance: str, as_json: bool) -> int:
    """Say what there is to see of the service, a line each, with what mends it.

    Exit code 1: something is wrong.
    """
    import attrs

    from convaid.service.findings import find_service_findings

    findings = find_service_findings(find_installation(is_users, instance))
    if as_json:
        print_json([attrs.asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print_line(("wrong: " if finding.fix else "fine:  ") + str(finding), fg="red" if finding.fix else None)
    return EXIT_FAILURE if any(finding.fix for finding in findings) else 0


def find_installation(is_users: bool, instance: str) -> Installation:
    """The service that the options mean."""
    from convaid.service.units import Installation

    return Installation(is_users, instance)
