"""What is wrong with a table is said at once, all of it, each with its place."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from .serving import load_webhook, text

PLUGIN = Path(__file__).parents[1]
FINE: dict[str, Any] = {"description": "Go", "url": "https://example.com/{a}", "parameters": {"a": text()}}


def find_problems(**tools: Any) -> list[str]:
    plugins = load_webhook({"tools": tools})
    assert [plugin.status for plugin in plugins] == ["broken" if plugins.problems else "ready"]
    return [str(problem).removeprefix("plugins.webhook.") for problem in plugins.problems]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"method": "FETCH"}, 'method: expected one of "GET", "POST", "PUT", "PATCH", "DELETE", got the text "FETCH"'),
        ({"method": "get"}, 'did you mean "GET"?'),
        ({"url": "https://example.com/"}, "parameters.a: is never used: write {a} where it belongs, or remove it"),
        ({"url": "https://example.com/{b}"}, 'url: names a parameter that the tool does not have, the text "b"'),
        (
            {"query": {"q": "{aa}"}},
            'query.q: names a parameter that the tool does not have, the text "aa"; did you mean "{a}"?',
        ),
        ({"url": "https://example.com/{a"}, 'url: has a brace of its own: write it twice, "{{"'),
        ({"url": "https://{a}/"}, "url: has no plain host"),
        ({"url": "https://x:y@example.com/{a}"}, "url: has no plain host"),
        ({"url": "https://example.com:99999/{a}"}, "url: has no plain host"),
        ({"url": "https://[::1/{a}"}, "url: has no plain host"),
        ({"url": "https://exa mple.com/{a}"}, "url: has no plain host"),
        ({"url": "ftp://example.com/{a}"}, "url: is no https:// or http:// address"),
        ({"url": "https://example.com/{a}#x"}, "url: is no https:// or http:// address, or has a #"),
        ({"url": "https://example..com/{a}"}, "url: has no plain host"),
        ({"url": "https://example.com\\@example.org/{a}"}, "url: has no plain host"),
        ({"url": "https://example.com/x\n/{a}"}, "url: is no https:// or http:// address, or has a # or a control"),
        ({"url": "https://example.com/x/../{a}"}, "url: has . or .. as a step"),
        ({"url": "https://example.com/x/%2E%2e%2f{a}"}, "url: has . or .. as a step"),
        ({"url": "https://example.com/${env:HOME}/{a}"}, "url: has ${env:HOME}, and a secret cannot stand here"),
        ({"parameters": {"a": text(optional=True)}}, 'url: needs "a", which is optional'),
        ({"parameters": {"a": text(optional="no")}}, "parameters.a.optional: expected true or false"),
        ({"parameters": {"a": {"type": "string"}}}, "parameters.a: has no description"),
        ({"parameters": {"a": text(minimum=1)}}, "parameters.a.minimum: is not known"),
        ({"json": {}, "form": {}, "method": "POST"}, "form: and json are both there"),
        ({"json": {}}, "json: is a body, which GET has none of"),
        ({"form": {}}, "form: is a body, which GET has none of"),
        ({"headers": {"Host": "x"}}, "headers.Host: is set by what sends the request"),
        ({"headers": {"X Y": "x"}}, 'headers."X Y": is no name of a header'),
        (
            {"headers": {"X": "${vault:x}"}},
            'headers.X: names a parameter that the tool does not have, the text "vault:x"',
        ),
        ({"result": "a..b"}, "result: is a path with dots"),
        ({"limits": {"read": 0}}, "limits.read: must be 0.1 to 3600"),
        ({"limits": {"read": 110}}, "limits.read: is longer than total, 15 s, which ends everything: set total, too"),
        ({"method": "POST", "json": {"x": [float("inf")]}}, "json.x[0]: is a number that JSON does not have"),
        ({"limits": {"reed": 1}}, 'limits.reed: is not known; did you mean "read"?'),
        ({"retries": 9}, "retries: must be 0 to 5"),
        ({"platform": {"pre_tool_speech": "never"}}, "platform.pre_tool_speech: expected one of"),
        ({"descripton": "x"}, 'descripton: is not known; did you mean "description"?'),
        ({"description": " "}, "has no description"),
        ({"url": "http://example.com/{a}", "headers": {"X": "${env:SOME}"}}, "url: would send a secret in the clear"),
        (
            {"platform": {"expects_response": False, "assignments": [{"dynamic_variable": "x", "value_path": "y"}]}},
            "assignments",
        ),
    ],
)
def test_a_problem_is_said_with_its_place(change: dict[str, Any], problem: str) -> None:
    problems = find_problems(go={**FINE, **change})
    assert [found for found in problems if found.startswith("tools.go") and problem in found], problems


def test_all_problems_are_said_at_once() -> None:
    problems = find_problems(
        one={**FINE, "method": "FETCH", "limits": {"read": "1"}},
        two={**FINE, "url": "https://example.com/{b}", "json": {"list": ["{c}"]}},
    )
    assert {problem.partition(": ")[0] for problem in problems} == {
        "tools.one.method",
        "tools.one.limits.read",
        "tools.two.url",
        "tools.two.json",
        "tools.two.json.list[0]",
        "tools.two.parameters.a",
    }


def test_a_name_that_the_platform_refuses() -> None:
    (problem,) = find_problems(**{"book a table": FINE})
    assert problem.startswith('tools."book a table": the tool "book a table" has a name that the platform refuses')


def test_the_platform_is_told_of_the_limits_and_settings() -> None:
    (plugin,) = load_webhook(
        {"tools": {"go": {**FINE, "limits": {"total": 30}, "platform": {"pre_tool_speech": "force"}}}}
    )
    told = plugin.tools[0].describe()
    assert (told["response_timeout_secs"], told["pre_tool_speech"]) == (36, "force")
    assert told["parameters"]["properties"] == {"a": text()}


def test_without_tools_it_is_ready_and_costs_no_http() -> None:
    (plugin,) = load_webhook({})
    assert (plugin.status, plugin.tools) == ("ready", ())
    code = "import sys, convaid_webhook; print({'httpx', 'httpcore', 'ssl'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.strip() == "set()", ran.stdout


@pytest.mark.parametrize("readme", [PLUGIN / "README.md", PLUGIN.parents[1] / "README.md"])
def test_the_readme_is_a_configuration(readme: Path) -> None:
    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", readme.read_text(), re.DOTALL)]
    tables = [block["plugins"]["webhook"] for block in blocks if "webhook" in block.get("plugins", {})]
    for table in tables:
        plugins = load_webhook(table)
        assert not plugins.problems
        assert next(iter(plugins)).tools
    assert tables
