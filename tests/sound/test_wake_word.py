"""A wake word that is spoken into a real sound server opens a conversation by voice; other speech does not."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from convaid import events
from convaid.plugins.loading import load_plugins
from convaid.protocol.endings import Cause

from ..daemon.holding import hold
from ..soundservers import find_sounds, needs_pulse, open_pulse, synthesise
from .conversing import GOODBYE, measure_speech, reckon_seconds

pytestmark = pytest.mark.xdist_group("sound")  # real time: one at a time

CONFIGURATION = """
[conversations.kitchen]
agent_id = "agent_test"
start = "on_demand"
audio = "device"
echo = "none"
"""
QUESTION = "What time is it in Berlin?"
SCENARIO = f'steps = [{{expect_audio = {{within_ms = 8000}}}}, {{say = "{GOODBYE}"}}, {{end = {{}}}}]'


@needs_pulse
async def test_a_wake_word_opens_a_conversation_that_hears_what_is_said_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plugin,) = load_plugins(
        {"wakeword": {"words": {"hey_jarvis": {}}}}, entry_points=entry_points(group="convaid", name="wakeword")
    )
    assert plugin.status == "ready", plugin.reason
    with open_pulse(tmp_path) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        recording = server.listen()
        async with hold(SCENARIO, configuration=CONFIGURATION, others=[plugin]) as held:
            await held.wait_for(events.DeviceChanged)  # listened to, and nothing is connected
            await server.speak(synthesise("The gardener has bought seven apples.", "en-us"))
            assert held.of_kind(events.Connecting) == []
            assert not held.simulator.conversations
            await server.speak(synthesise("Hey Jarvis!", "en-us") + synthesise(QUESTION, "en-us"))
            (ended,) = await held.wait_for(events.Ended)
            await recording.wait_for(lambda pcm: not find_sounds(pcm[-16000:]))
            (record,) = held.simulator.conversations
    assert record.problem is None
    assert ended.end.cause is Cause.ENDED_BY_AGENT
    assert measure_speech(recording.pcm) == pytest.approx(reckon_seconds(GOODBYE), abs=0.2)
    turn = re.match(r"\(speech of ([\d.]+) s", record.transcript[0].text)
    assert turn is not None
    (asked,) = find_sounds(synthesise(QUESTION, "en-us"))
    assert float(turn[1]) >= asked[1]  # all of it, although it began before there was a connection
