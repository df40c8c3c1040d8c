"""The pytest plugin in the projects of others: scenarios are tests, and where convaid is of no use it is not felt."""

from __future__ import annotations

from pathlib import Path

from .projects import run_pytest, write_files, write_plugin
from .recordings import Story

GOOD = """
[[steps]]
call = {tool = "greet", parameters = {name = "Ada"}, expect_result = "^Hello, Ada!"}
[[steps]]
end = {}
"""
BAD = """
[[steps]]
say = "Whom?"
[[steps]]
call = {tool = "greet", parameters = {name = "Bob"}, expect_result = "^Hello, Ada!"}
[[steps]]
end = {}
"""
TEST = """
def test_greets(call_tool):
    assert call_tool("greet", {"name": "Ada"}).result == "Hello, Ada!"
"""


def test_scenarios_of_a_plugin_are_tests(tmp_path: Path) -> None:
    files = {"scenarios/good.toml": GOOD, "scenarios/deeper/bad.toml": BAD, "scenarios/none.toml": "[[stpes]]\n"}
    write_plugin(tmp_path, **files, **{"scenarios/brain.toml": 'brain = "openai"'})
    result = run_pytest(tmp_path)
    assert "2 failed, 1 passed, 1 skipped" in result.stdout, result.stdout + result.stderr
    failure = result.stdout.partition("scenario: bad")[2]
    place, _, rest = failure.partition("\n  expected: ")
    assert "steps[1].call" in place
    assert "Hello, Ada!" in rest.splitlines()[0]
    assert "got:      " in rest.splitlines()[1]
    assert "Hello, Bob!" in rest.splitlines()[1]
    assert "agent: Whom?" in rest
    assert 'did you mean "steps"' in result.stdout
    assert "Traceback" not in result.stdout


def test_recordings_of_a_plugin_are_tests(tmp_path: Path) -> None:
    good = Story.begin().call("greet", {"name": "Ada"}).result("Hello, Ada!").close()
    bad = (
        Story.begin().say("Whom?").call("greet", {"name": "Ada"}).result("Good day!").call("greet").result("?").close()
    )
    write_plugin(tmp_path)
    files = {"good": good.write(), "deeper/bad": bad.write(), "none": b'{"recording":1}\n{"at":0,"by":"us"}\n'}
    for name, content in files.items():
        path = tmp_path / "recordings" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_files(tmp_path, {"data.jsonl": "not ours\n", "other/scenarios/data.jsonl": "not ours\n"})
    result = run_pytest(tmp_path)
    assert "2 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    failure = result.stdout.partition("recording: bad")[2]
    assert "line 6: the result of greet is another one\nline 8: the result of greet is another one\n" in failure
    assert "  expected: Good day!\n  got:      Hello, Ada!\n" in failure
    assert "agent: Whom?" in failure
    assert "none.jsonl: line 2: a line has one of" in result.stdout
    assert "Traceback" not in result.stdout


def test_the_plugin_under_test_is_that_of_the_project(tmp_path: Path) -> None:
    other = TEST.replace("greet", "current_time")
    lamp = '[project.entry-points.convaid]\nlamp = "lamp"\n'
    files = {"tests/test_one.py": TEST, "tests/test_two.py": other, "lamp/tests/test_three.py": TEST}
    write_plugin(tmp_path, **files, **{"lamp/pyproject.toml": lamp})
    result = run_pytest(tmp_path, "-n", "1")  # in a worker of pytest-xdist's
    assert "1 failed, 1 passed, 1 error" in result.stdout, result.stdout + result.stderr
    assert 'no plugin under test has a tool "current_time"; there are: greet' in result.stdout
    assert f'the plugin "lamp" is not installed: pip install -e {tmp_path / "lamp"}' in result.stdout


def test_it_works_without_pytest_trio_and_with_anyio(tmp_path: Path) -> None:
    test = """
import pytest

@pytest.mark.anyio
async def test_greets_again(call_tool, agent):
    assert (await call_tool.start("greet")).result == "Hello, you!"
    assert (await agent.call("greet")).result == "Hello, you!"
"""
    write_plugin(tmp_path, **{"test_greeter.py": TEST + test})
    result = run_pytest(tmp_path, "-p", "no:trio")
    assert "3 passed" in result.stdout, result.stdout + result.stderr  # one of them with each of anyio's loops


def test_a_project_of_others_does_not_feel_it(tmp_path: Path) -> None:
    test = """
import sys

def test_nothing_is_imported():
    kit = {"convaid", "convaid.testing", "convaid.testing.plugin", "convaid.testing.project"}
    assert {name for name in sys.modules if name.partition(".")[0] in ("convaid", "trio", "httpx")} <= kit
"""
    write_files(
        tmp_path,
        {"pyproject.toml": "", "test_it.py": test, "scenarios/level.toml": "[[stpes]]\n", "recordings/a.jsonl": "?"},
    )
    result = run_pytest(tmp_path, "-p", "no:trio", "-p", "no:anyio")
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_settings_name_the_scenarios_and_the_configuration(tmp_path: Path) -> None:
    settings = '[tool.pytest.ini_options]\nconvaid_scenarios = ["talks"]\nconvaid_config = "deny.toml"\n'
    config = '[conversations.main]\nagent_id = "agent_demo"\n[tools.greet]\npermission = "deny"\n'
    scenario = '[[steps]]\ncall = {tool = "greet", expect_outcome = "denied"}\n[[steps]]\nend = {}\n'
    test = 'def test_denied(call_tool):\n    assert call_tool("greet").outcome == "denied"\n'
    write_plugin(tmp_path)
    conftest = 'import pytest\n\n@pytest.fixture\ndef convaid_plugins():\n    return ["greeter"]\n'
    denied = Story.begin().call("greet").result({"pattern": "not permitted"}, is_error=True).close().write().decode()
    files = {
        "talks/denied.jsonl": denied,
        "talks/denied.toml": scenario,
        "scenarios/bad.toml": BAD,
        "test_it.py": test,
        "conftest.py": conftest,
    }
    write_files(tmp_path, {"pyproject.toml": settings, "deny.toml": config, **files})
    result = run_pytest(tmp_path)
    assert "3 passed" in result.stdout, result.stdout + result.stderr
