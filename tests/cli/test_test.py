"""``convaid test``: what it runs, prints and writes, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from xml.etree import ElementTree

import pytest

from .running import LIMIT, run_convaid, start_convaid

GOOD = """
steps = [
    {expect_text = {matches = "time", example = "What time is it?"}},
    {call = {tool = "current_time", expect_result = '\\d\\d:\\d\\d', within_ms = 5000}},
    {call = {tool = "add_note", parameters = {text = "x"}, expect_result = {number = 1}}},
    {end = {}},
]
"""
BAD = 'steps = [{call = {tool = "current_time", parameters = {zone = "Mars"}, expect_outcome = "ok"}}]'
WRONG = 'steps = [{cal = "current_time"}]'
SLOW = "agent.first_message = 'Wait.'\nsteps = [{silence = 30}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scenarios = tmp_path / "scenarios" / "deep"
    scenarios.mkdir(parents=True)
    (scenarios.parent / "a_good.toml").write_text(GOOD)
    (scenarios / "bad.toml").write_text(BAD)
    (scenarios.parent / "wrong.toml").write_text(WRONG)
    (scenarios.parent / "notes.txt").write_text("no scenario")
    return tmp_path


def test_a_folder_of_scenarios_is_told_line_by_line(folder: Path) -> None:
    result = run_convaid("test", "--junit", "out/junit.xml", folder=folder)
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("passed", "FAILED"))] == [
        ["passed", "scenarios/a_good.toml"],
        ["FAILED", "scenarios/deep/bad.toml"],
        ["FAILED", "scenarios/wrong.toml"],
    ]
    assert '    steps[0].call: expected the outcome "ok" of current_time, got "error": ' in result.stdout
    assert '    expected: "ok"\n    got:      "error": There is no time zone "Mars"' in result.stdout
    assert "        tool: current_time({'zone': 'Mars'}) -> There is no time zone" in result.stdout
    assert 'scenarios/wrong.toml: steps[0].cal: is not known; did you mean "call"?' in result.stdout
    table = {line.split()[0]: line.split(maxsplit=2)[2] for line in lines if re.match(r"\w+ +(clock|notes) ", line)}
    assert table["current_time"] == "ok 1, error 1"
    assert table["delete_note"] == "never called"
    assert re.fullmatch(r"1 passed, 2 failed in [\d.]+ s", lines[-1])
    assert "Traceback" not in result.stderr
    check_junit(folder / "out" / "junit.xml")


def check_junit(file: Path) -> None:
    (suite,) = ElementTree.parse(file).getroot()
    counts = ("tests", "failures", "errors", "skipped")
    assert [suite.get(name) for name in counts] == ["3", "1", "1", "0"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", suite.get("timestamp", ""))
    cases = {(case.get("classname"), case.get("name")): case for case in suite}
    assert list(cases) == [("scenarios", "a_good.toml"), ("scenarios.deep", "bad.toml"), ("scenarios", "wrong.toml")]
    assert [[part.tag for part in case] for case in suite] == [["system-out"], ["failure", "system-out"], ["error"]]
    assert all(float(case.get("time", "")) >= 0 for case in suite)
    failure = cases["scenarios.deep", "bad.toml"].find("failure")
    assert failure is not None
    assert "steps[0].call" in failure.get("message", "")
    assert 'expected: "ok"' in (failure.text or "")


def test_a_script_gets_json(folder: Path) -> None:
    result = run_convaid("test", "scenarios", "-k", "A_GOOD", "--json", "--floor", "40", folder=folder)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    (report,) = told["scenarios"]
    assert (report["passed"], report["name"], report["failure"]) == (True, "scenarios/a_good.toml", None)
    assert [(call["tool"], call["outcome"]) for call in report["calls"]] == [("current_time", "ok"), ("add_note", "ok")]
    assert {"tool": "add_note", "plugin": "notes", "is_tested": True, "outcomes": {"ok": 1}} in told["tools"]


def test_nothing_is_left_behind_and_each_scenario_begins_anew(folder: Path) -> None:
    (folder / "again.toml").write_text(GOOD)  # its note is number 1 once more
    result = run_convaid(
        "test", "scenarios/a_good.toml", "again.toml", folder=folder, XDG_STATE_HOME=str(folder / "state")
    )
    assert result.returncode == 0, result.stdout
    assert not (folder / "state").exists()


def test_the_first_failure_may_end_it(folder: Path) -> None:
    result = run_convaid("test", "-x", "scenarios/wrong.toml", "scenarios", folder=folder)
    assert result.returncode == 1
    assert "1 failed, 3 not run" in result.stdout


def test_a_floor_is_held(folder: Path) -> None:
    (folder / "config.toml").write_text("""
        [conversations.main]
        agent_id = "agent_demo"
        [tools."*"]
        enabled = false
        [tools]
        current_time.enabled = true
        add_note.enabled = true
        list_notes.enabled = true
    """)
    result = run_convaid("test", "scenarios/a_good.toml", "--floor", "80", folder=folder)
    assert result.returncode == 1
    assert "67 % of the tools is less than the floor of 80 %" in result.stderr


def make_project(folder: Path, *plugins: str) -> None:
    """Make a plugin's project of a folder with scenarios."""
    points = "".join(f'{plugin} = "convaid_{plugin}"\n' for plugin in plugins)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "x"\n[project.entry-points.convaid]\n{points}')


def test_a_floor_is_for_the_plugin_in_whose_project_the_scenarios_are(folder: Path) -> None:
    make_project(folder, "clock")
    result = run_convaid("test", "scenarios/a_good.toml", "--floor", "100", folder=folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if re.match(r"\w+ +(clock|notes) ", line)] == ["current_time", "add_note"]
    assert "100 % of the tools of clock came to a result" in lines
    outside = run_convaid("test", "scenarios/a_good.toml", "demo", "--floor", "100", folder=folder)
    assert outside.returncode == 1
    assert re.search(r"\d+ % of the tools is less than the floor of 100 %", outside.stderr)


def test_a_plugin_under_test_must_be_there(folder: Path) -> None:
    make_project(folder, "clock", "nobodys")
    result = run_convaid("test", "scenarios/a_good.toml", folder=folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert f'the plugin "nobodys" is not installed: pip install -e {folder}' in result.stderr


def test_no_conversation_is_needed_in_the_configuration(folder: Path) -> None:
    (folder / "config.toml").write_text('[plugins.clock]\nenabled = true\n[tools.add_note]\npermission = "deny"\n')
    result = run_convaid("test", "scenarios/a_good.toml", folder=folder)
    assert result.returncode == 1, result.stderr
    assert re.search(r"^add_note +notes +denied 1$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("place", ["file/junit.xml", "scenarios"])
def test_a_report_that_cannot_be_written_is_told_before_anything_runs(place: str, folder: Path) -> None:
    (folder / "file").write_text("in the way")
    result = run_convaid("test", "--junit", place, folder=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert place in result.stderr
    assert "--junit" in result.stderr


def test_what_is_not_filled_in_is_a_failure(tmp_path: Path) -> None:
    call = "steps = [{{call = {{tool = '{}', parameters = {{zone = '{}'}}}}}}, {{end = {{}}}}]"
    scenarios = {
        "known": 'agent.dynamic_variables = {name = "Ada"}\nsteps = [{say = "Hi, {{name}}."}, {end = {}}]',
        "unknown": 'steps = [{say = "Hi, {{name}}."}, {end = {}}]',
        "called": call.format("current_time", "{{zone}}"),
        "misspelt": 'steps = [{say = "It is {reslut}."}, {end = {}}]',
    }
    for name, text in scenarios.items():
        (tmp_path / f"{name}.toml").write_text(text)
    result = run_convaid("test", ".", folder=tmp_path)
    assert result.returncode == 1, result.stderr
    remedy = "had no value; give it one in [agent.dynamic_variables]"
    for words in (
        f'    the dynamic variable "name" {remedy}',
        f'    the dynamic variable "zone" {remedy}',
        '    misspelt.toml: steps[0].say.text: "{reslut}" is never filled in; did you mean "{result}"?',
        "1 passed, 3 failed",
    ):
        assert words in result.stdout


def test_a_pattern_that_takes_too_long_is_a_failure_with_its_place(tmp_path: Path) -> None:
    text = "steps = [{expect_text = {matches = '(a|a)+$', example = 'EXAMPLE'}}, {end = {}}]"
    (tmp_path / "endless.toml").write_text(text.replace("EXAMPLE", "a" * 60 + "!"))
    result = run_convaid("test", "endless.toml", folder=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "    steps[0].expect_text: the pattern '(a|a)+$' takes too long, and was stopped" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], 'there is no scenario, and no folder, "scenarios"'),
        (["nothing.toml"], 'there is no scenario, and no folder, "nothing.toml"'),
        (["demo", "-k", "other"], "there is no scenario to run in demo with 'other' in its path"),
        (["."], "there is no scenario to run in .: no *.toml"),
        (["demo", "--floor", "101"], "101"),
    ],
)
def test_nothing_to_run_is_2(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    result = run_convaid("test", *arguments, folder=tmp_path)
    assert result.returncode == 2
    assert complaint in result.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "    odd.toml: nothing is tested: it has no [[steps]] and no [[rules]]"),
        (f"steps = {'[' * 3000}{']' * 3000}", "    odd.toml: is nested too deeply"),
        (
            '[[steps]]\nsay = "Hi"\nafter_ms = 5',
            "    odd.toml: steps[0].after_ms: is not known; it belongs into the step, as in say = { after_ms = … }",
        ),
    ],
    ids=["empty", "deep", "beside the step"],
)
def test_what_cannot_be_a_scenario_fails_and_says_why(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text(text)
    result = run_convaid("test", "odd.toml", folder=tmp_path)
    assert result.returncode == 1, result.stderr
    assert complaint in result.stdout.splitlines()


def test_the_bundled_scenarios_pass_and_reach_every_tool(tmp_path: Path) -> None:
    result = run_convaid("test", "demo", "default", "--json", folder=tmp_path)
    assert result.returncode == 0, result.stdout
    reached = {tool["tool"] for tool in json.loads(result.stdout)["tools"] if "ok" in tool["outcomes"]}
    assert {"current_time", "add_note", "list_notes", "search_notes", "delete_note"} <= reached


def test_ctrl_c_ends_it_and_tells_what_there_is(folder: Path) -> None:
    (folder / "slow.toml").write_text(SLOW)
    process = start_convaid("test", "scenarios/a_good.toml", "slow.toml", "scenarios/deep", folder=folder)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("passed  scenarios/a_good.toml")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, err
    assert "1 passed, 2 not run" in out
    assert "Traceback" not in err


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("pipe.toml", "pipe.jsonl"):
        os.mkfifo(tmp_path / name)
    result = run_convaid("test", ".", "pipe.toml", folder=tmp_path)
    assert result.returncode == 1, result.stderr
    assert result.stdout.count("cannot be read: it is no regular file") == 3


class Nothing(BaseHTTPRequestHandler):
    """A language model that has nothing to say."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_a_brain_without_an_answer_is_told_of(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        brain = f'brain = {{base_url = "http://127.0.0.1:{server.server_port}/v1", model = "m"}}'
        (tmp_path / "brain.toml").write_text(brain)
        result = run_convaid("chat", "--scenario", "brain.toml", folder=tmp_path, text="Hello\n")
        server.shutdown()
    assert result.returncode == 1
    assert "answers with nothing, neither words nor a tool call" in result.stdout
    assert "WARNING" in result.stderr


def test_a_scenario_can_be_typed_to(tmp_path: Path) -> None:
    (tmp_path / "drinks.toml").write_text("""
        [[steps]]
        branch = [{when = "(tea|coffee)", steps = [{say = "One $1."}]}, {again = true, steps = [{say = "Pardon?"}]}]
        [[steps]]
        end = {}
    """)
    result = run_convaid("chat", "--scenario", "drinks.toml", folder=tmp_path, text="Hello\nTea, please\n")
    assert result.returncode == 0, result.stderr
    said = [line for line in result.stdout.splitlines() if line.startswith(("agent", "user"))]
    assert said == ["user:  Hello", "agent: Pardon?", "user:  Tea, please", "agent: One Tea."]


def test_a_scenario_is_for_the_simulator(tmp_path: Path) -> None:
    text = '[platform]\nbase_url = "http://127.0.0.1:1"\n[conversations.main]\nagent_id = "a"\n'
    (tmp_path / "config.toml").write_text(text)
    result = run_convaid("chat", "--scenario", "drinks.toml", folder=tmp_path)
    assert result.returncode == 2
    assert "is for the simulator" in result.stderr


def test_the_schema_is_printed() -> None:
    result = run_convaid("simulate", "--schema")
    assert json.loads(result.stdout)["title"] == "convaid scenario"
