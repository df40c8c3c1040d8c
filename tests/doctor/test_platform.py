"""The key, the agents, the tools: against the simulator, and against platforms that say what it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from convaid.config import REGIONS
from convaid.config.api_key import locate_api_key
from convaid.doctor.platform import NO_AGENT, check_platform, find_about_place
from convaid.simulator import Agent, Scenario, SimulatorSettings, open_simulator
from tests.matching.workspace import open_bench

from .subjects import MAIN, RIGHT, Reply, check, make_subject, serve_platform, tell

KEY = {"ELEVENLABS_API_KEY": RIGHT}
WRONG, ODD = {"ELEVENLABS_API_KEY": "sk_wrong_0123456789"}, {"ELEVENLABS_API_KEY": "two words"}
PRIVATE, GREETING = Agent(requires_authorization=True), Agent(first_message="Hello {{name}}.")
SIGNED = MAIN + 'auth = "signed_url"\n'
GONE = MAIN.replace("demo", "gone")
OVERRIDING = MAIN + 'overrides.language = "de"\n'
NAMED = MAIN + 'dynamic_variables.name = "Ada"\n'
LACKING = {"detail": {"status": "missing_permissions", "message": "The API key is missing the permission convai_read."}}


@pytest.mark.parametrize(
    ("text", "environ", "agent", "about", "told"),
    [
        (MAIN, KEY, Agent(), "key", r"^ok: the platform takes the key in \$ELEVENLABS_API_KEY; it may read and change"),
        (MAIN, WRONG, Agent(), "key", "^error: the platform does not take .*: .* -> set a key of this workspace"),
        (MAIN, ODD, Agent(), "key", "^error: .*else than one API key on one line -> put the API key there"),
        (SIGNED, {}, Agent(), "key", "^error: there is no API key, and main cannot do without -> set the environment"),
        (MAIN, KEY, Agent(), "agent", "^ok: main: its agent is there, and public$"),
        (GONE, KEY, Agent(), "agent", "^error: conversation main: there is no agent agent_gone -> compare agent_id"),
        (MAIN, KEY, PRIVATE, "agent", '^error: .*its agent is private -> set auth = "signed_url"'),
        (SIGNED, KEY, PRIVATE, "agent", '^ok: main: its agent is there, and private, as auth = "signed_url" has it$'),
        (SIGNED, KEY, Agent(), "agent", "^warning: main: its agent is public, for all that .* -> make it private"),
        (SIGNED, KEY, PRIVATE, "signed URL", "^ok: main: one was made$"),
        (OVERRIDING, KEY, Agent(), "overrides", "^error: .*does not allow agent.language to be overridden -> allow it"),
        (OVERRIDING, KEY, Agent(allowed_overrides=["agent.language"]), "overrides", "^ok: the agents allow everything"),
        (MAIN, KEY, GREETING, "variables", "^error: .*{{name}}, which has no value -> set it in .*dynamic_variables"),
        (NAMED, KEY, GREETING, "variables", "^ok: every dynamic variable has a value$"),
    ],
)
async def test_what_the_simulator_says(
    text: str, environ: Mapping[str, str], agent: Agent, about: str, told: str
) -> None:
    async with open_simulator(SimulatorSettings([Scenario(agent=agent)], RIGHT)) as simulator:
        subject = make_subject(text, simulator.base_url, environ, is_bundled=True)
        findings = await check(check_platform(subject))
    ((level, line),) = tell(findings, about)
    assert re.search(told, f"{level}: {line}"), f"{level}: {line}"
    assert RIGHT not in "".join(map(str, findings))


async def test_without_a_key_a_simulator_is_asked_and_the_platform_is_not() -> None:
    async with open_simulator() as simulator:
        findings = await check(check_platform(make_subject(base_url=simulator.base_url, is_bundled=True)))
    assert [finding.level for finding in findings] == ["ok"] * len(findings)
    (finding,) = await check(check_platform(make_subject(base_url="eu")))
    assert (finding.check, finding.level) == ("key", "warning")
    assert "so agents and tools are not looked at -> set the environment variable" in str(finding)


async def test_a_tool_that_has_drifted_is_an_error_and_a_description_a_warning(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        subject = make_subject(base_url=bench.simulator.base_url, plugins=bench.plugins, owned=bench.record.ids)
        assert tell(await check(check_platform(subject)), "tools") == [
            ("ok", "those here (3) and those of the agents fit")
        ]
        await bench.edit_tool("blink", description="Something else.")
        await bench.edit_tool("find_lamps", response_timeout_secs=5)
        findings = tell(await check(check_platform(subject)), "tools")
    assert [level for level, _ in findings] == ["error", "warning"], findings
    assert findings[0][1].startswith('tool "find_lamps": ')
    assert "-> `convaid tools push`" in findings[0][1]


def test_a_key_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(RIGHT)
    file.chmod(0o644)
    subject = make_subject()
    platform = attrs.evolve(subject.configuration.platform, api_key_file=file)
    (finding,) = find_about_place(subject, locate_api_key(platform, {}))
    assert str(finding) == f"{file} is open to others (rw-r--r--) -> chmod o-rwx,g-w {file}"
    file.chmod(0o640)
    assert not list(find_about_place(subject, locate_api_key(platform, {})))


async def test_a_key_without_the_right_to_read_is_an_error() -> None:
    async with serve_platform(lambda *_: (401, LACKING)) as url:
        ((level, line),) = tell(await check(check_platform(make_subject(base_url=url, environ=KEY))), "key")
    assert level == "error"
    assert line.startswith("the key in $ELEVENLABS_API_KEY may not read agents (convai_read)")
    assert "-> allow it to read agents" in line


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (404, {"detail": "not found"}, "may read and change agents"),
        (401, LACKING, "may read but not change agents and tools: `convaid tools push` needs another"),
        (500, {}, "may read and perhaps change"),
    ],
)
async def test_what_a_key_may_change_is_found_without_a_change(status: int, content: Any, words: str) -> None:
    seen: list[str] = []

    def answer(method: str, path: str) -> Reply:
        if method == "PATCH":
            return status, content
        return (200, {"tools": [], "has_more": False}) if path.endswith("/tools") else (404, {"detail": "none"})

    async with serve_platform(answer, seen) as url:
        ((level, line),) = tell(await check(check_platform(make_subject(base_url=url, environ=KEY))), "key")
    assert (level, words in line) == ("ok", True), line
    assert seen[-1] == f"PATCH /v1/convai/agents/{NO_AGENT}"


async def test_other_regions_are_shown_the_key_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        open_simulator(SimulatorSettings(api_key="sk_of_the_global_one")) as here,
        open_simulator(SimulatorSettings(api_key=RIGHT)) as there,
    ):
        for name in REGIONS:
            monkeypatch.setitem(REGIONS, name, here.base_url if name != "eu" else there.base_url)
        ((level, line),) = tell(await check(check_platform(make_subject(base_url="global", environ=KEY))), "key")
        assert (level, "--ask-all-regions" in line) == ("error", True)
        assert not there.requests
        subject = make_subject(base_url="global", environ=KEY, asks_all_regions=True)
        ((level, line),) = tell(await check(check_platform(subject)), "key")
        assert level == "error"
        assert line.endswith('is not of this region, but of another: eu -> set base_url = "eu" in [platform]')
        subject = make_subject(base_url="global", environ={"ELEVENLABS_API_KEY": "sk_of_nobody"}, asks_all_regions=True)
        assert "nor does any other region -> set a new key" in tell(await check(check_platform(subject)), "key")[0][1]


async def test_a_server_of_ones_own_is_asked_for_a_signed_url() -> None:
    async with open_simulator() as simulator, serve_platform(lambda *_: (403, {"detail": "no"})) as server:
        text = f'[conversations.main]\nauth = "signed_url_from"\nsigned_url_from = "{server}/signed-url"\n'
        findings = await check(check_platform(make_subject(text, simulator.base_url, is_bundled=True)))
    ((level, line),) = tell(findings, "signed URL")
    assert (level, "there is none: HTTP 403" in line, "look at signed_url_from" in line) == ("error", True, True)
    ((level, line),) = tell(findings, "agent")
    assert (level, "set agent_id" in line) == ("warning", True)


async def test_a_signed_url_that_is_refused_has_the_remedy_of_a_conversation() -> None:
    async with serve_platform(lambda *_: (404, {"detail": "no such agent"})) as url:
        findings = await check(check_platform(make_subject(SIGNED, url, KEY)))
    ((level, line),) = tell(findings, "signed URL")
    assert (level, "main: there is none: HTTP 404: no such agent -> Copy the agent's ID" in line) == ("error", True), (
        line
    )


async def test_a_platform_that_does_not_answer_is_one_error() -> None:
    subject = make_subject(SIGNED, environ=KEY)  # nobody listens there
    findings = await check(check_platform(subject))
    assert [(finding.check, finding.level) for finding in findings] == [("agent", "error"), ("signed URL", "error")]
    assert "see what is said of the network" in findings[0].fix
