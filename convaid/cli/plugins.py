"""``convaid plugins``: what is installed, and whether it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
            "devices": [device.name for device in plugin.devices],
            "package": f"{plugin.distribution} {plugin.version}".strip(),
            "reason": plugin.reason,
        }
        for plugin in loaded
    ]
    if as_json:
        print_json(rows)
    elif rows:
        has_devices = any(row["devices"] for row in rows)
        print_table([describe_row(row, has_devices) for row in rows])
    else:
        click.echo("no plugins are installed; `pip install` one, such as plugins/clock of this repository")


def describe_row(row: dict[str, Any], has_devices: bool) -> dict[str, str]:
    """A row of the table; devices have a column where any plugin has one."""
    told = {name: " ".join(value) if isinstance(value, list) else value for name, value in row.items()}
    if not has_devices:
        del told["devices"]
    return told
