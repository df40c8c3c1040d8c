"""Tools that are tables in the configuration instead of Python: those of convaid-webhook and convaid-command (floor 4).

A plugin derives a class from `ToolTable` with what its tools need beside name, description and parameters, and has
`declare_tools` make tools of a table of those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from convaid.errors import Problem, StructureError, ToolDefinitionError
from convaid.plugins.declared import declare_tool, read_parameters
from convaid.plugins.options import PlatformSettings
from convaid.plugins.templates import TemplateReader
from convaid.plugins.tool import Tool, ToolContext
from convaid.wording import describe_value, join_path

__all__ = ["ToolTable", "declare_tools"]


@define(kw_only=True, eq=False)
class ToolTable(ABC):
    """One tool. A parameter is a node of the platform's schema dialect; ``optional = true`` lets it be left out."""

    description: str
    parameters: dict[str, dict[str, Any]] = field(factory=dict)
    platform: PlatformSettings = field(factory=PlatformSettings)
    """The platform's settings of the tool, such as ``pre_tool_speech``."""
    node: dict[str, Any] = field(init=False, repr=False)
    """All parameters, as `declare_tool` takes them."""

    def __attrs_post_init__(self) -> None:
        problems = self._read_parameters()
        reader = TemplateReader(tuple(self.parameters), self.node["required"])
        self.read_templates(reader)
        problems += reader.problems
        problems += [
            Problem(join_path("parameters", name), f"is never used: write {{{name}}} where it belongs, or remove it")
            for name in self.parameters
            if name not in reader.used
        ]
        if problems:
            raise StructureError(problems)

    @property
    @abstractmethod
    def time_limit(self) -> float:
        """Seconds that a call may take."""

    @abstractmethod
    def read_templates(self, reader: TemplateReader) -> None:
        """Read every text that the agent's arguments go into. What cannot be is told to ``reader``."""

    @abstractmethod
    async def call(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Do what the tool does."""

    def _read_parameters(self) -> list[Problem]:
        problems = []
        required = []
        properties = {}
        for name, parameter in self.parameters.items():
            node = dict(parameter)
            is_optional = node.pop("optional", False)
            if not isinstance(is_optional, bool):
                path = join_path(join_path("parameters", name), "optional")
                problems.append(Problem(path, f"expected true or false, got {describe_value(is_optional)}"))
            if not is_optional:
                required.append(name)
            properties[name] = node
        self.node = {"properties": properties, "required": required}
        try:
            read_parameters(self.node)
        except StructureError as error:
            problems += [
                Problem(f"parameters{problem.path.removeprefix('properties')}", problem.message)
                for problem in error.problems
            ]
        return problems


def declare_tools(tables: Mapping[str, ToolTable]) -> list[Tool]:
    """Return the tools of the table ``tools``. Raises StructureError with everything that the platform would refuse."""
    tools = []
    problems = []
    for name, table in tables.items():
        try:
            tools.append(
                declare_tool(
                    table.call,
                    name=name,
                    description=table.description,
                    parameters=table.node,
                    time_limit=table.time_limit,
                    **table.platform,
                )
            )
        except ToolDefinitionError as error:
            problems.append(Problem(join_path("tools", name), str(error)))
    if problems:
        raise StructureError(problems)
    return tools
