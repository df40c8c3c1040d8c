"""``convaid test`` on a folder of the official command line."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from ..folders import TIME, make_test, write_folder
from .running import run_convaid


def test_tool_tests_are_run_beside_scenarios(tmp_path: Path) -> None:
    berlin, mars = ({"type": "exact", "expected_value": zone} for zone in ("Europe/Berlin", "Mars"))
    tests = {
        "test_1": make_test("tool_1", ("zone", berlin)),
        "test_2": make_test("tool_1", ("zone", mars)),
        "test_3": {"type": "llm", "success_condition": "polite"},
        "test_4": make_test("tool_9"),
    }
    write_folder(tmp_path, tools={"tool_1": TIME}, tests=tests)
    (tmp_path / "brain.toml").write_text('brain = "openai"')
    result = run_convaid("test", ".", "--junit", "junit.xml", folder=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "passed  test_configs/test-0.json  (" in result.stdout
    assert "    tool: current_time({'zone': 'Europe/Berlin'}) -> " in result.stdout
    assert "FAILED  test_configs/test-1.json  (" in result.stdout
    assert 'got:      There is no time zone "Mars"' in result.stdout
    assert "skipped test_configs/test-2.json: it judges what the agent says" in result.stdout
    assert "FAILED  test_configs/test-3.json  (" in result.stdout
    assert "tools.json has no tool with the id tool_9" in result.stdout
    assert "skipped brain.toml: a language model plays the agent" in result.stdout
    assert "current_time  clock   ok 1, error 1" in result.stdout
    assert "1 passed, 2 failed, 2 skipped in " in result.stdout
    (suite,) = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "1", "1", "2"]
    assert [[part.tag for part in case][:1] for case in suite] == [
        ["skipped"],
        ["system-out"],
        ["failure"],
        ["skipped"],
        ["error"],
    ]


def test_what_is_skipped_alone_is_no_failure(tmp_path: Path) -> None:
    write_folder(tmp_path, tests={"test_1": {"type": "simulation"}})
    result = run_convaid("test", "--json", ".", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    (report,) = json.loads(result.stdout)["scenarios"]
    assert report["skipped"].startswith("it simulates a whole conversation")


def test_simulate_says_whose_agents_are_there(tmp_path: Path) -> None:
    refused = run_convaid("simulate", "--folder", ".", folder=tmp_path)
    assert refused.returncode == 78
    assert "has no agents.json; `elevenlabs agents pull --all` makes one" in refused.stderr
    refused = run_convaid("simulate", "--folder", ".", "--file", "x.json", folder=tmp_path)
    assert refused.returncode == 2
    assert "name one of them" in refused.stderr
