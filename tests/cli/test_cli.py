"""The commands and their exit codes, run as processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import convaid

from .running import run_convaid

SHIPPED = Path(__file__).parents[2] / "config.toml"
WRONG = """
[platform]
base_ulr = "simulator"

[conversations.main]
agent_id = 5
auth = "signed"
limits.answer = "long"

[plugins.clocks]
"""


def test_the_version() -> None:
    result = run_convaid("--version")
    assert (result.returncode, result.stdout) == (0, f"convaid, version {convaid.__version__}\n")


def test_help_lists_every_command() -> None:
    result = run_convaid("--help")
    assert result.returncode == 0
    for command in ("chat", "check", "demo", "plugin", "plugins", "run", "simulate", "test", "tools"):
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["chekc"], "Did you mean 'check'?"),
        (["check", "--jsno"], "--json"),
        (["simulate", "--port", "many"], "many"),
        (["tools", "call", "current_time", "--json", "{"], "not JSON"),
        (["tools", "call"], "NAME"),
        (["chat", "--conversation", "nobody"], "there is main"),
    ],
)
def test_a_wrong_command_line_is_2(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    result = run_convaid(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_configuration_is_78_with_every_error_and_its_path(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(WRONG)
    result = run_convaid("check", folder=tmp_path)
    assert result.returncode == 78
    for part in ("platform.base_ulr", 'did you mean "base_url"', "conversations.main.agent_id", "main.auth", "answer"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_a_script_gets_the_errors_as_json(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(WRONG)
    result = run_convaid("check", "--json", folder=tmp_path)
    assert result.returncode == 78
    paths = [problem["path"] for problem in json.loads(result.stdout)["problems"]]
    assert "platform.base_ulr" in paths
    assert "conversations.main.limits.answer" in paths


def test_a_plugins_table_that_fits_no_plugin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[conversations.main]\nagent_id = "a"\n[plugins.clcok]\nenabled = true\n')
    result = run_convaid("check", folder=tmp_path)
    assert result.returncode == 78
    assert "plugins.clcok" in result.stderr
    assert "clock" in result.stderr


@pytest.mark.parametrize("command", ["check", "run"])
def test_no_configuration_is_78_and_says_where_it_was_looked_for(command: str, tmp_path: Path) -> None:
    result = run_convaid(command, folder=tmp_path)
    assert result.returncode == 78
    assert "config.toml" in result.stderr


def test_the_shipped_configuration_is_right_and_is_printed_in_effect() -> None:
    result = run_convaid("check", "--config", str(SHIPPED))
    assert result.returncode == 0
    assert 'base_url = "simulator"' in result.stdout
    assert "link_silence = 9.0" in result.stdout


def test_the_key_is_printed_nowhere(tmp_path: Path) -> None:
    key = "sk_0123456789abcdef"
    (tmp_path / "config.toml").write_text('[conversations.main]\nagent_id = "a"\nauth = "signed_url"\n')
    for arguments in (["check"], ["check", "--json"]):
        result = run_convaid(*arguments, folder=tmp_path, ELEVENLABS_API_KEY=key)
        assert result.returncode == 0
        assert key not in result.stdout + result.stderr


def test_plugins_are_listed_with_their_status(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[conversations.main]\nagent_id = "a"\n[plugins.clock]\nenabled = false\n')
    result = run_convaid("plugins", "--json", folder=tmp_path)
    assert result.returncode == 0
    plugins = {plugin["plugin"]: plugin for plugin in json.loads(result.stdout)}
    assert plugins["clock"]["status"] == "disabled"
    assert plugins["notes"]["status"] == "ready"
    table = run_convaid("plugins", folder=tmp_path)
    assert "disabled" in table.stdout


def test_tools_are_listed_with_parameters_and_owner(tmp_path: Path) -> None:
    result = run_convaid("tools", "--json", folder=tmp_path)
    assert result.returncode == 0
    tools = {tool["name"]: tool for tool in json.loads(result.stdout)}
    assert tools["current_time"]["plugin"] == "clock"
    assert tools["current_time"]["parameters"]["type"] == "object"
    assert "add_note" in run_convaid("tools", folder=tmp_path).stdout


def test_a_tool_is_shown_as_a_card_and_as_the_platform_has_it(tmp_path: Path) -> None:
    card = run_convaid("tools", "show", "list_notes", folder=tmp_path)
    assert card.returncode == 0, card.stderr
    assert card.stdout.startswith("list_notes (client tool, of the plugin notes)\nReturn the user's notes")
    lines = [" ".join(line.split()) for line in card.stdout.splitlines()]
    assert "most integer no how many notes to return; 20 if left out" in lines
    assert "expects_response true" in lines
    assert "tool_call_sound none" in lines
    told = json.loads(run_convaid("tools", "show", "list_notes", "--json", folder=tmp_path).stdout)
    assert (told["type"], told["name"], told["expects_response"]) == ("client", "list_notes", True)
    assert told["parameters"]["properties"]["most"]["type"] == "integer"


def test_a_tool_is_shown_with_the_time_limit_in_effect(tmp_path: Path) -> None:
    configuration = (
        '[conversations.main]\nagent_id = "a"\n[tools]\ntime_limit = 30\n[tools.add_note]\ntime_limit = 300\n'
    )
    (tmp_path / "config.toml").write_text(configuration)
    for name, timeout, warns in (("list_notes", 35, False), ("add_note", 120, True)):
        told = json.loads(run_convaid("tools", "show", name, "--json", folder=tmp_path).stdout)
        assert told["response_timeout_secs"] == timeout
        card = run_convaid("tools", "show", name, folder=tmp_path).stdout
        assert ("The tool has 300 s, but the platform waits 120 s at most" in card) is warns


def test_a_tool_that_cannot_be_shown_is_2(tmp_path: Path) -> None:
    result = run_convaid("tools", "show", "ad_note", folder=tmp_path)
    assert result.returncode == 2
    assert 'there is no tool "ad_note"; did you mean "add_note"?' in result.stderr


def test_a_tool_is_called_by_hand(tmp_path: Path) -> None:
    result = run_convaid("tools", "call", "current_time", "--json", '{"zone": "Europe/Berlin"}', folder=tmp_path)
    assert result.returncode == 0
    assert result.stdout.strip()
    assert not result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["current_tiem"], "current_time"),
        (["current_time", "--json", '{"zone": 5}'], "zone"),
        (["current_time", "--json", "[]"], "object"),
    ],
)
def test_a_tool_call_that_fails_is_1(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    result = run_convaid("tools", "call", *arguments, folder=tmp_path)
    assert result.returncode == 1
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


def test_the_demonstration_calls_tools_of_two_plugins_and_ends_well(tmp_path: Path) -> None:
    result = run_convaid("demo", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "current_time" in result.stdout
    assert "add_note" in result.stdout
    assert "conv_sim_" in result.stdout
    assert "ended by the agent" in result.stdout
    assert not result.stderr
    assert not list(tmp_path.iterdir())  # it leaves nothing behind


def test_lines_from_a_pipe_are_said_one_after_the_other(tmp_path: Path) -> None:
    result = run_convaid("chat", folder=tmp_path, text="What time is it in Tokyo?\n\nThank you.\n")
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("user:")]
    assert lines == ["user:  What time is it in Tokyo?", "user:  Thank you."]
    assert result.stdout.count("agent:") >= 2
    assert "ended by the user" in result.stdout


def test_in_a_rehearsal_no_tool_runs(tmp_path: Path) -> None:
    result = run_convaid("chat", "--dry-run-tools", folder=tmp_path, text="What time is it in Tokyo?\n")
    assert result.returncode == 0, result.stderr
    assert 'This is a rehearsal: the tool "current_time" was not run.  [dry run' in result.stdout


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run_convaid("simulate", "--port", str(taken.getsockname()[1]), folder=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "in use" in result.stderr


CONVERSATION = '[conversations.main]\nagent_id = "a"\n'


@pytest.mark.parametrize("command", [("check",), ("tools", "call", "current_time")])
def test_a_slip_in_a_tools_name_is_refused_because_its_policy_would_not_hold(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text(CONVERSATION + '[tools.current_tiem]\npermission = "deny"\n')
    result = run_convaid(*command, folder=tmp_path)
    assert result.returncode == 78
    assert 'tools.current_tiem: no plugin in use offers this tool; did you mean "current_time"?' in result.stderr


def test_a_table_for_a_tool_that_is_absent_is_found_by_check_and_stops_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONVERSATION + "[tools.xyzzy]\nparallel = 1\n")
    result = run_convaid("check", folder=tmp_path)
    assert result.returncode == 78
    assert "tools.xyzzy" in result.stderr
    called = run_convaid("tools", "call", "current_time", folder=tmp_path)
    assert called.returncode == 0
    assert "tools.xyzzy" in called.stderr
