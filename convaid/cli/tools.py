"""``convaid tools``: what agents can call, what the platform is to be told of it, and calling it here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convaid.cli import matching
from convaid.cli.exits import EXIT_FAILURE
from convaid.cli.printing import print_json, print_table
from convaid.cli.setting import config_option, json_option, load_setting

if TYPE_CHECKING:
    from convaid.config import Configuration
    from convaid.events import ToolAnswer
    from convaid.plugins import Plugins, Tool

__all__ = ["tools"]


@click.group(invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def tools(ctx: click.Context, path: Path | None, as_json: bool) -> None:
    """List the tools of the installed plugins; show or call one; match them to the platform."""
    ctx.obj = path
    if ctx.invoked_subcommand is not None:
        return
    from convaid.calls import list_offered

    configuration, loaded = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    offered = [(tool, plugin.name) for tool, plugin in list_offered(loaded, configuration.tools)]
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
@json_option
@click.pass_obj
def show(path: Path | None, name: str, as_json: bool) -> None:
    """Show what the platform is to be told of the tool NAME: its client tool configuration."""
    from convaid.calls import list_offered
    from convaid.wording import nearest

    configuration, loaded = load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False)
    offered = {tool.name: (tool, plugin.name) for tool, plugin in list_offered(loaded, configuration.tools)}
    if name not in offered:
        found = nearest(name, offered)
        hint = f'did you mean "{found[0]}"?' if found else f"there are: {', '.join(offered) or 'none'}"
        raise click.BadParameter(f'there is no tool "{name}"; {hint}', param_hint="NAME")
    tool, owner = offered[name]
    time_limit = configuration.tools.find_time_limit(name, owner, tool.time_limit)
    if as_json:
        print_json(tool.describe(time_limit))
    else:
        print_card(tool, owner, time_limit)


def print_card(tool: Tool, owner: str, time_limit: float) -> None:
    """Print what the platform is to be told of a tool, for a person who reads it or types it into the dashboard."""
    from convaid.plugins.options import LONGEST_RESPONSE_TIMEOUT

    told = tool.describe(time_limit)
    click.echo(f"{tool.name} (client tool, of the plugin {owner})\n{tool.description}\n")
    if rows := list(describe_properties(tool.parameters)):
        print_table(rows)
        click.echo()
    written = {key: value for key, value in told.items() if key not in ("type", "name", "description", "parameters")}
    print_table([{"setting": key, "value": write_setting(value)} for key, value in written.items()])
    if tool.platform_settings["expects_response"] and time_limit > LONGEST_RESPONSE_TIMEOUT:
        click.echo(
            f"\nThe tool has {time_limit:g} s, but the platform waits {LONGEST_RESPONSE_TIMEOUT} s at most: "
            "what is returned later is lost."
        )


def describe_properties(node: Mapping[str, Any], place: str = "") -> Iterator[dict[str, str]]:
    """Yield a row for each parameter, and for each field of one: ``lamps[].level``."""
    for name, inner in node["properties"].items():
        yield from describe_node(inner, f"{place}{name}", name in node["required"])


def describe_node(node: Mapping[str, Any], path: str, is_required: bool) -> Iterator[dict[str, str]]:
    kinds = [node["type"]] if isinstance(node["type"], str) else node["type"]
    choices = f": {', '.join(node['enum'])}" if "enum" in node else ""
    yield {
        "parameter": path,
        "type": " or ".join(kinds) + choices,
        "required": "yes" if is_required else "no",
        "description": node.get("description", ""),
    }
    if node["type"] == "object":
        yield from describe_properties(node, f"{path}.")
    elif node["type"] == "array":
        yield from describe_node(node["items"], f"{path}[]", True)


def write_setting(value: object) -> str:
    """Return a setting's value as the card has it: text bare, everything else as JSON."""
    import json

    if value is None or value == []:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


@tools.command()
@click.argument("name")
@click.option("--json", "parameters", default="{}", metavar="JSON", help="The arguments, as a JSON object.")
@click.option("--daemon", "is_daemons", is_flag=True, help="Have the running daemon run it, as for a conversation.")
@click.option("-s", "--socket", type=click.Path(path_type=Path), envvar="CONVAID_SOCKET", help="That daemon's socket.")
@click.pass_obj
def call(path: Path | None, name: str, parameters: str, is_daemons: bool, socket: Path | None) -> int:
    """Run the tool NAME here, without an agent, and print what the agent would get.

    Exit code 1 says that the agent would be told of an error.
    """
    import json

    import trio

    try:
        arguments = json.loads(parameters)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--json") from None
    if is_daemons:
        return call_in_daemon(socket, path, name, arguments)
    answer = trio.run(
        call_tool,
        *load_setting(path, or_built_in=True, is_quiet=True, talks=False, needs_conversations=False),
        name,
        arguments,
    )
    click.echo(answer.result, err=answer.is_error)
    return EXIT_FAILURE if answer.is_error else 0


def call_in_daemon(socket: Path | None, path: Path | None, name: str, arguments: object) -> int:
    """Have the running daemon run one tool, and print what came of it; returns the exit code."""
    from urllib.parse import quote

    from convaid.cli.asking import Asking, failures_end

    with failures_end():
        route = f"/v1/tools/{quote(name, safe='')}/run"
        answer = Asking(socket, path).ask("POST", route, {"arguments": arguments}, time_limit=None)
    click.echo(answer["result"], err=answer["is_error"])
    return EXIT_FAILURE if answer["is_error"] else 0


async def call_tool(configuration: Configuration, loaded: Plugins, name: str, arguments: object) -> ToolAnswer:
    """Run one tool as a conversation would, lifespans and limits included."""
    from convaid.calls import open_tool_calls
    from convaid.protocol.from_agent import ClientToolCall

    hidden = [configuration.platform.api_key_env]
    async with open_tool_calls(loaded, configuration.tools, hidden=hidden) as tool_calls:
        return await tool_calls.call(ClientToolCall(name, "call_by_hand", arguments), "by_hand", "conv_by_hand")


for command in (matching.check, matching.push, matching.export, matching.snapshot):
    tools.add_command(command)
