"""A plugin whose tools run in processes of their own."""

from convaid import Tool, hookimpl, tool


@tool(runs="process")
def do_nothing_process() -> str:
    """Do nothing, in a worker process."""
    return "ok"


@hookimpl
def convaid_tools() -> list[Tool]:
    return [do_nothing_process]
