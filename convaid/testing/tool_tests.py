"""The tool tests of a folder of the official command line, as scenarios for the tools that are installed here.

The platform's test asks a language model what it would call a tool with, and judges that. Here the tool is called: with
what the test expects, where that is one value, or a known value that fits. What only a language model can judge is left
out, and said to be. Source: the platform's OpenAPI description (``UnitTestToolCallEvaluationModel``), and what version
1.3.0 of the command line writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from convaid.errors import ConfigurationError, Problem, StructureError
from convaid.folder import TESTS, TOOLS, list_entries, read_index, read_object, read_tool
from convaid.plugins import Tool
from convaid.protocol.bodies import read_json
from convaid.simulator.agent import Agent
from convaid.simulator.scenario import Call, End, Scenario
from convaid.simulator.tool_settings import read_tool_settings
from convaid.simulator.workspace.checks import Faults
from convaid.simulator.workspace.tool_shapes import KINDS
from convaid.testing.arguments import Chooser, UnknownArgument
from convaid.wording import nearest

__all__ = ["NotTested", "find_tool_tests", "load_tool_test"]

CONFIGS = "test_configs"
PLACE = "tool_call_parameters"


@frozen
class NotTested:
    """A test that cannot be run here, and why."""

    reason: str


def find_tool_tests(folder: Path) -> list[Path]:
    """Return the files of all tests of a folder: those of its index, and those that the next push would find.

    None at all where it is no such folder. Raises `ConfigurationError`.
    """
    listed = [path for _, path in list_entries(folder, TESTS, read_index(folder, TESTS))]
    known = {path.resolve() for path in listed}
    found = [path for path in sorted((folder / CONFIGS).rglob("*.json")) if path.resolve() not in known]
    return listed + found


def load_tool_test(path: Path, offered: Mapping[str, Tool]) -> Scenario | NotTested:
    """Read a test as a scenario: one call. ``offered`` are the tools here, by name.

    Raises `ConfigurationError` where it is none, names a tool that is not there, or expects what the tool would refuse.
    """
    content = read_object(path)
    kind = content.get("type") or ("tool" if content.get(PLACE) else "llm")
    if kind != "tool":
        what = "simulates a whole conversation" if kind == "simulation" else "judges what the agent says"
        return NotTested(f"it {what}, which takes a language model")
    expected = content.get(PLACE) or {}
    if not isinstance(expected, dict):
        raise ConfigurationError(str(path), [Problem(PLACE, "is not an object")])
    reference = expected.get("referenced_tool")
    if not isinstance(reference, dict):
        return NotTested("it expects nothing of a tool")
    if reference.get("type") != "client":
        return NotTested(f"it is about a tool of the type {reference.get('type')}, which does not run here")
    if expected.get("verify_absence"):
        return NotTested("it expects a tool not to be called, which is the language model's choice")
    tool, config = _find_tool(path, str(reference.get("id")), offered)
    variables = content.get("dynamic_variables")
    variables = variables if isinstance(variables, dict) else {}
    calls, said = _read_history(content.get("chat_history"), tool.name)
    chooser = Chooser(tool.parameters, _fill_in(path, config, variables), calls, said)
    try:
        parameters = chooser.choose(expected.get("parameters") or [], f"{PLACE}.parameters")
    except UnknownArgument as error:
        return NotTested(str(error))
    except StructureError as error:
        raise ConfigurationError(str(path), error.problems) from None
    agent = Agent(dynamic_variables=variables)
    return Scenario(str(path), agent, steps=[Call(tool.name, parameters, expect_error=False), End()])


def _fill_in(path: Path, config: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that the platform fills in, with the test's dynamic variables."""
    faults: Faults = []
    complete = KINDS["client"](config, (), faults)
    if faults:
        name, fault = config["name"], faults[0]
        problem = f'{TOOLS} has the tool "{name}" as no platform would: {fault.message}'
        raise ConfigurationError(str(path), [Problem(".".join(map(str, fault.place)), problem)])
    return read_tool_settings(complete, None).fill_parameters({}, variables)


def _read_history(history: Any, tool: str) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return the arguments of the tool's earlier calls, the newest first, and what the user has said."""
    turns = [turn for turn in history if isinstance(turn, dict)] if isinstance(history, list) else []
    said = [str(turn["message"]) for turn in turns if turn.get("role") == "user" and turn.get("message")]
    calls: list[Mapping[str, Any]] = []
    for turn in reversed(turns):
        for call in turn.get("tool_calls") or ():
            if isinstance(call, dict) and call.get("tool_name") == tool:
                arguments = read_json(str(call.get("params_as_json")).encode())
                if isinstance(arguments, dict):
                    calls.append(arguments)
    return calls, said


def _find_tool(path: Path, tool_id: str, offered: Mapping[str, Tool]) -> tuple[Tool, Mapping[str, Any]]:
    """Return the tool that an id stands for, and its configuration on the platform."""
    folder = next((parent for parent in path.absolute().parents if (parent / TOOLS).exists()), path.parent)
    place = f"{PLACE}.referenced_tool.id"
    for entry, file in list_entries(folder, TOOLS, read_index(folder, TOOLS)):
        if entry.get("id") == tool_id:
            config = read_tool(file)
            name = config["name"]
            if name in offered:
                return offered[name], config
            hint = "".join(f'; did you mean "{near}"?' for near in nearest(name, offered))
            problem = f'nobody offers the tool "{name}" here{hint or "; install its plugin, or enable it in [tools]"}'
            raise ConfigurationError(str(path), [Problem(place, problem)])
    problem = f"{folder / TOOLS} has no tool with the id {tool_id}; `elevenlabs tools pull --all` brings it"
    raise ConfigurationError(str(path), [Problem(place, problem)])
