"""``convaid check``: is the configuration right, and what does it come to?"""

from __future__ import annotations

from pathlib import Path

import click

from convaid.cli.exits import EXIT_CONFIGURATION
from convaid.cli.printing import print_json
from convaid.cli.setting import config_option, json_option, load_setting

__all__ = ["check"]


@click.command()
@config_option
@json_option
def check(path: Path | None, as_json: bool) -> int:
    """Check the configuration and print what it comes to, defaults included and secrets masked.

    Every error is told at once, with its place. Exit code 78 says that there are any.
    """
    from convaid.config import describe_configuration
    from convaid.errors import ConfigurationError

    try:
        # Strict here, and not where the daemon starts: there, a plugin that breaks takes its own tools down, no more.
        configuration, _ = load_setting(path, is_quiet=True, is_strict=True)
    except ConfigurationError as error:
        if not as_json:
            raise
        problems = [{"path": problem.path, "message": problem.message} for problem in error.problems]
        print_json({"source": error.source, "problems": problems})
        return EXIT_CONFIGURATION
    if as_json:
        print_json({"configuration": configuration.masked(), "problems": []})
    else:
        click.echo(describe_configuration(configuration))
    return 0
