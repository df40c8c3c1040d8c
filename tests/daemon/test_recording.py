"""The daemon records its sessions, over a real connection: what stands in the file, and what never does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio

from convaid import tool
from convaid.events import Connected, Ended
from convaid.plugins import Plugins
from convaid.protocol.endings import Cause
from convaid.recording import CloseLine, FrameLine, Recording, read_recording
from convaid.testing.replaying import replay_recording

from .holding import MAIN, Held, hold, make_plugin

KEY = "sk_" + "f1e2d3c4" * 6
OTHER_KEY = "sk_" + "99887766" * 6  # which nobody has configured
RECORDED = """
[conversations.main]
agent_id = "agent_test"
start = "once"
record = true
"""
SECRETS = """
[conversations.main]
agent_id = "agent_test"
start = "once"
record = true
auth = "signed_url"
[conversations.main.dynamic_variables]
customer = "Ada Lovelace"
secret__pin = "pin-4711-x"
account = 20261122
[conversations.main.custom_llm_extra_body]
nested = { any = "body-of-mine" }
[conversations.main.initiation.source_info]
api_token = "t0ken-of-mine"
[plugins.test]
password = "plug1n-password"
[tools.look_up]
redact = ["street"]
"""
SCENARIO = f"""
voice.pace = 1000
agent.requires_authorization = true
agent.allowed_overrides = ["conversation.text_only", "custom_llm_extra_body"]
agent.first_message = "Hello, {{{{customer}}}}!"
[[steps]]
call = {{ tool = "look_up", parameters = {{ who = "{{{{customer}}}}", street = "Hidden Lane", key = "{OTHER_KEY}" }} }}
[[steps]]
say = "Account {{{{account}}}}, {{{{secret__pin}}}}."
[[steps]]
raw = 'not JSON: Ada Lovelace, xi-api-key: {KEY}, wss://h/?conversation_signature=abcdefghijk'
[[steps]]
raw = '{{"type": "odd", "list": ["ADA LOVELACE", {{"authorization": "Bearer abc"}}], "number": 20261122}}'
[[steps]]
close = {{ code = 1000, reason = "Goodbye, Ada Lovelace" }}
"""


@tool
def look_up(who: Annotated[str, "whom"], street: Annotated[str, "where"], key: Annotated[str, "how"]) -> dict[str, Any]:
    """Look somebody up."""
    url = "https://x.example/?name=Ada+Lovelace&conversation_signature=abcdefghijk"
    return {"who": who, "token": "t0p", "url": url, "keys": [key, KEY], "said": "t0ken-of-mine plug1n-password"}


def find_recordings() -> list[Path]:
    folder = Path(os.environ["XDG_STATE_HOME"], "convaid", "recordings")
    return sorted(folder.iterdir()) if folder.is_dir() else []


def read_only() -> Recording:
    (path,) = find_recordings()
    return read_recording(path)


async def test_nothing_that_is_secret_stands_in_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
    async with hold(SCENARIO, tools=[look_up], configuration=SECRETS, key=KEY) as held:
        (ended,) = await wait_ended(held)
        assert ended.end.cause is Cause.ENDED_BY_AGENT, ended
        assert held.simulator.conversations[0].calls[0].result is not None
    (path,) = find_recordings()
    text = path.read_text()
    for secret in (
        KEY[3:],
        OTHER_KEY[3:],
        "Lovelace",
        "LOVELACE",
        "pin-4711-x",
        "20261122,",
        ":20261122",
        "body-of-mine",
        "t0ken-of-mine",
        "plug1n-password",
        "abcdefghijk",
        "t0p",
        "Bearer abc",
        "Hidden Lane",
    ):
        assert secret not in text, secret
    recording = read_recording(path)
    frames = [line.frame for line in recording.lines.values() if isinstance(line, FrameLine) and line.frame]
    assert frames[0]["dynamic_variables"] == {
        name: f"{{{{{name}}}}}" for name in ("customer", "secret__pin", "account")
    }
    assert frames[0]["custom_llm_extra_body"] == "***"
    call = next(frame["client_tool_call"] for frame in frames if "client_tool_call" in frame)
    assert call["parameters"] == {"who": "{{customer}}", "street": "***", "key": "***"}
    result = next(json.loads(frame["result"]) for frame in frames if "result" in frame)
    assert result["who"] == "{{customer}}"
    assert result["said"] == "*** ***"
    assert any("Account {{account}}, {{secret__pin}}." in str(frame) for frame in frames)
    assert recording.close == CloseLine(
        recording.close.at if recording.close else 0, "agent", 1000, "Goodbye, {{customer}}"
    )
    assert recording.header.agent_id == "agent_test"
    assert "the dynamic variable secret__pin" in recording.header.redacted


async def test_without_the_setting_nothing_is_recorded() -> None:
    async with hold("[[steps]]\nend = {}", configuration=MAIN) as held:
        await held.over.wait()
    assert find_recordings() == []


async def wait_ended(held: Held, count: int = 1) -> list[Ended]:
    return await held.wait_for(Ended, count)


async def test_every_session_has_a_recording_also_one_that_ends_badly() -> None:
    drop = '[[steps]]\ncall = { tool = "linger", wait = false }\n[[steps]]\ndrop = { after_ms = 50 }'

    @tool
    async def linger() -> None:
        """Never end."""
        await trio.sleep_forever()

    async with hold(drop, "[[steps]]\nend = {}", tools=[linger], configuration=RECORDED) as held:
        first, second = await wait_ended(held, 2)
    assert (first.end.cause, second.end.cause) == (Cause.LINK_LOST, Cause.ENDED_BY_AGENT)
    lost, ended = map(read_recording, find_recordings())
    assert lost.end is not None
    assert (lost.end.end, lost.end.code) == ("link lost", 1006)
    assert lost.close is not None
    assert lost.close.close == 1006
    assert ended.end is not None
    assert ended.end.end == "ended by the agent"
    times = [line.at for line in lost.lines.values()]
    assert times == sorted(times)
    assert not any("client_tool_result" in text for text in lost.texts)


async def test_a_session_that_is_refused_at_once_is_recorded_too() -> None:
    async with hold("[[steps]]\nrefuse = { code = 3000 }", configuration=RECORDED) as held:
        (ended, *_) = await wait_ended(held)
    assert ended.end.cause is Cause.REFUSED
    recording = read_only()
    assert recording.close is not None
    assert recording.close.close == 3000


async def test_a_stopped_session_says_so() -> None:
    async with hold("[[steps]]\nsilence = 30", configuration=RECORDED):
        while not find_recordings():
            await trio.sleep(0.01)
    recording = read_only()
    assert recording.end is not None
    assert recording.end.end == "ended by the user"
    assert recording.close is None


async def test_a_folder_that_cannot_be_used_does_not_end_the_conversation(caplog: pytest.LogCaptureFixture) -> None:
    state = Path(os.environ["XDG_STATE_HOME"], "convaid")
    os.makedirs(state)
    (state / "recordings").write_text("in the way")
    async with hold('[[steps]]\nsay = "Hello"\n[[steps]]\nend = {}', configuration=RECORDED) as held:
        (ended,) = await wait_ended(held)
    assert ended.end.cause is Cause.ENDED_BY_AGENT
    assert ended.losses["frames not recorded"] > 0
    assert [record.levelname for record in caplog.records if "not recorded any further" in record.message] == [
        "WARNING"
    ]


async def test_what_was_recorded_is_replayed_the_same_until_a_tool_changes() -> None:
    counted = iter(range(1, 100))

    @tool
    def count() -> int:
        """Count."""
        return next(counted)

    @tool
    def greet(name: Annotated[str, "whom"]) -> str:
        """Greet."""
        return f"Hello, {name}!"

    scenario = """
    [[steps]]
    expect_text = "greet"
    [[steps]]
    call = { tool = "greet", parameters = { name = "Ada" } }
    [[steps]]
    call = { tool = "greet", parameters = { nam = "Ada" } }
    [[steps]]
    raw = "{"
    [[steps]]
    call = { tool = "count", wait = false }
    [[steps]]
    expect_results = {}
    [[steps]]
    end = {}
    """
    async with hold(scenario, tools=[greet, count], configuration=RECORDED) as held:
        await held.wait_for(Connected)
        held.daemon.conversations["main"].say("Please greet me.")
        await wait_ended(held)
    recording = read_only()
    changed = Plugins((make_plugin("test", greet, count),))
    report = await replay_recording(recording, changed)
    assert [difference.message for difference in report.differences] == ["the result of count is another one"]
    counted = iter([1])
    assert (await replay_recording(recording, changed)).differences == ()
