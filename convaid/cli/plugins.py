"""``convaid plugins``: what is installed, and whether it works."""

from __future__ import annotations

from pathlib import Path

import click

from convaid.cli.printing import print_json, print_table
from convaid.cli.setting import config_option, json_option, load_setting

__all__ = ["plugins"]


@click.command()
@config_option
@json_option
def plugins(path: Path | None, as_json: bool) -> None:
    """List the installed plugins, each with its status and the reason."""
    _, loaded = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    rows = [
        {
            "plugin": plugin.name,
            "status": plugin.status,
            "tools": [tool.name for tool in plugin.tools],
            "package": f"{plugin.distribution} {plugin.version}".strip(),
            "reason": plugin.reason,
        }
        for plugin in loaded
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table([{**row, "tools": " ".join(row["tools"])} for row in rows])
    else:
        click.echo("no plugins are installed; `pip install` one, such as plugins/clock of this repository")
