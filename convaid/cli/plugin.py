"""``convaid plugin new``: a plugin to begin with, in a folder of its own."""

from __future__ import annotations

import re
from pathlib import Path

import click

__all__ = ["plugin"]

NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST_NAME = 40  # characters: the tool's name begins with it, and the platform takes 64
TEMPLATE = ".template"  # the end of their files' names: no tool takes them for code of ours


@click.group()
def plugin() -> None:
    """Begin a plugin."""


@plugin.command()
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where it is written; must not exist yet.  [default: ./convaid-NAME]",
)
def new(name: str, folder: Path | None) -> None:
    """Write a plugin that works: a module with one tool, its test, a scenario, pyproject.toml and README.md.

    NAME is what the plugin is called in the configuration: small letters, digits and hyphens, such as living-room.
    """
    from convaid.errors import ConvaidError

    if fault := find_fault(name):
        raise click.BadParameter(fault, param_hint="NAME")
    folder = Path(f"convaid-{name.replace('_', '-')}") if folder is None else folder
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ConvaidError(f"{folder} is there already, nothing was written; --folder names another place") from None
    words = {"name": name, "package": f"convaid-{name.replace('_', '-')}", "identifier": name.replace("-", "_")}
    for file, text in write_files(words).items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
    click.echo(
        f"{folder}: a plugin with one tool, {words['identifier']}_greet. Next:\n"
        f"  pip install -e '{folder}[test]'\n"
        f"  pytest {folder}\n"
        f"  convaid test {folder / 'scenarios'}\n"
        f"""  convaid tools call {words["identifier"]}_greet --json '{{"name": "Ada"}}'\n"""
        "  convaid tools push"
    )


def find_fault(name: str) -> str:
    """Return what is wrong with a plugin's name; "" if nothing is."""
    if not NAME.fullmatch(name):
        return f'"{name}" is no name for a plugin: use small letters, digits and hyphens, and begin with a letter'
    if len(name) > LONGEST_NAME:
        return f'"{name}" is too long: use {LONGEST_NAME} characters at most'
    if re.match(r"convaid([-_]|$)", name):
        return f'"{name}": leave the beginning out, the package is named convaid-NAME anyway'
    return ""


def write_files(words: dict[str, str]) -> dict[str, str]:
    """Return the names and the contents of the plugin's files."""
    from importlib.resources import files
    from string import Template

    folder = files("convaid.cli") / "new_plugin"
    found = [("", file) for file in folder.iterdir() if file.is_file()]
    found += [("scenarios/", file) for file in (folder / "scenarios").iterdir()]
    return {
        Template(place + file.name.removesuffix(TEMPLATE).replace("NAME", "${identifier}")).substitute(words): Template(
            file.read_text("utf-8")
        ).substitute(words)
        for place, file in found
    }
