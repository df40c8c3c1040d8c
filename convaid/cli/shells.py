"""``convaid completion`` and ``convaid help``."""

from __future__ import annotations

import click

__all__ = ["completion", "help"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options, and the names of conversations and tools.

    \b
    Examples:
      convaid completion bash > ~/.local/share/bash-completion/completions/convaid
      convaid completion zsh > "${fpath[1]}/_convaid"
      convaid completion fish > ~/.config/fish/completions/convaid.fish
    """
    from click.shell_completion import get_completion_class

    from convaid.cli import convaid

    kind = get_completion_class(shell)
    assert kind is not None, "click knows all three"
    click.echo(kind(convaid, {}, "convaid", "_CONVAID_COMPLETE").source())


@click.command()
@click.argument("command", nargs=-1)
@click.pass_context
def help(ctx: click.Context, command: tuple[str, ...]) -> None:
    """Show what COMMAND does; `convaid help tools push` is `convaid tools push --help`."""
    from convaid.cli import convaid

    found: click.Command = convaid
    here = click.Context(convaid, info_name="convaid")
    for word in command:
        inner = found.get_command(here, word) if isinstance(found, click.Group) else None
        if inner is None:
            raise click.UsageError(f"there is no command {' '.join(command)!r}", ctx)
        found, here = inner, click.Context(inner, info_name=word, parent=here)
    click.echo(found.get_help(here))
