"""``convaid tools``: what the agent can call, and calling it here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.setting import config_option, json_option, load_setting
from convaid.cli.tables import print_json, print_table

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.events import ToolAnswer
    from convaid.plugins import Plugins

__all__ = ["tools"]


@click.group(invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def tools(ctx: click.Context, path: Path | None, as_json: bool) -> None:
    """List the tools of the installed plugins, or call one."""
    ctx.obj = path
    if ctx.invoked_subcommand is not None:
        return
    _, loaded = load_setting(path, or_built_in=True, is_quiet=True)
    offered = [(tool, plugin.name) for plugin in loaded for tool in plugin.tools]
    if as_json:
        print_json(
            [
                {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "plugin": owner}
                for tool, owner in offered
            ]
        )
    elif offered:
        print_table(
            [
                {
                    "tool": tool.name,
                    "parameters": describe_parameters(tool.parameters),
                    "plugin": owner,
                    "description": tool.description.partition("\n")[0],
                }
                for tool, owner in offered
            ]
        )
    else:
        click.echo("no tools: `convaid plugins` says what is installed")


def describe_parameters(schema: dict[str, object]) -> str:
    """The parameters of a tool in short: ``city, days?`` where a question mark means optional."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    return ", ".join(name if name in required else f"{name}?" for name in properties) or "-"


@tools.command()
@click.argument("name")
@click.option("--json", "parameters", default="{}", metavar="JSON", help="The arguments, as a JSON object.")
@click.pass_obj
def call(path: Path | None, name: str, parameters: str) -> int:
    """Run the tool NAME here, without an agent, and print what the agent would get.

    Exit code 1 says that the agent would be told of an error.
    """
    import json

    import trio

    try:
        arguments = json.loads(parameters)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--json") from None
    answer = trio.run(call_tool, *load_setting(path, or_built_in=True, is_quiet=True), name, arguments)
    click.echo(answer.result, err=answer.is_error)
    return EXIT_FAILURE if answer.is_error else 0


async def call_tool(configuration: Configuration, loaded: Plugins, name: str, arguments: object) -> ToolAnswer:
    """Run one tool as a conversation would, lifespans and limits included."""
    from convaid.calls import open_tool_calls
    from convaid.protocol.from_agent import ClientToolCall

    async with open_tool_calls(loaded, configuration.tools) as tool_calls:
        return await tool_calls.call(ClientToolCall(name, "call_by_hand", arguments), "by_hand", "conv_by_hand")
