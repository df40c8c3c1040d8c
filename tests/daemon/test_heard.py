"""What had been heard of the agent's speech when it was cut off: in the events and in the transcript."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from convaid import events
from convaid.config.places import find_state_folder
from convaid.history.file import FILE_NAME
from convaid.history.keeping import keep_history
from convaid.history.transcript import Turn
from convaid.protocol.endings import Cause

from ..history.recorded import read_all
from .holding import hold

LONG = "This sentence is long enough to be spoken for several seconds, and nobody wants to hear its end."
PACE = 15  # characters a second, of the simulator's voice


def configure(folder: Path) -> str:
    return f"""
[conversations.main]
agent_id = "agent_test"
start = "once"
audio = "wav"
wav = {{speaker = "{folder}/heard.wav"}}
history = {{keep = "full"}}
"""


def find_turns() -> list[Turn]:
    """The turns of the one transcript that is kept."""
    (transcript,) = read_all(find_state_folder() / FILE_NAME)
    return [line for line in transcript.lines if isinstance(line, Turn)]


def check(heard: events.Heard) -> str:
    """By the alignment that the simulator sends, the text is as long as the time that it was heard."""
    assert heard.text is not None
    assert LONG.startswith(heard.text)
    assert len(heard.text) == pytest.approx(heard.seconds * PACE, abs=2)
    return heard.text


async def test_an_interruption_says_how_far_the_agent_was_heard_and_the_transcript_keeps_it(tmp_path: Path) -> None:
    scenario = (
        f'steps = [{{say = "{LONG}"}}, {{silence = 0.8}}, {{interrupt = {{}}}}, {{silence = 0.2}}, {{end = {{}}}}]'
    )
    async with hold(scenario, configuration=configure(tmp_path), services=[keep_history]) as held:
        await held.over.wait()
        (interrupted,) = held.of_kind(events.SpeechInterrupted)
        (ended,) = held.of_kind(events.Ended)
        (record,) = held.simulator.conversations
    (turn,) = find_turns()
    (heard,) = interrupted.heard
    text = check(heard)
    assert heard.event_id == interrupted.event_id == 1
    assert heard.unheard == pytest.approx(interrupted.seconds, abs=0.05)
    assert heard.seconds > 0.4
    assert heard.seconds + heard.unheard <= len(LONG) / PACE + 0.01
    assert ended.heard == ()
    assert (turn.text, turn.original) == (record.corrections[1], LONG), "the platform's word is that of record"
    assert (turn.heard, turn.heard_seconds) == (text, heard.seconds)


async def test_silenced_here_the_transcript_says_so_without_a_word_of_the_platforms(tmp_path: Path) -> None:
    scenario = f'steps = [{{say = "{LONG}"}}]'
    async with hold(scenario, configuration=configure(tmp_path), services=[keep_history]) as held:
        await held.wait_for(events.AgentSpeaking)
        await trio.sleep(0.6)
        assert held.daemon.conversations["main"].interrupt() > 0
        (interrupted,) = await held.wait_for(events.SpeechInterrupted)
    text = check(*interrupted.heard)
    (turn,) = find_turns()
    assert (turn.text, turn.original, turn.heard) == (LONG, None, text)


async def test_a_lost_connection_says_how_far_the_last_words_were_heard(tmp_path: Path) -> None:
    scenario = f'steps = [{{say = "{LONG}"}}, {{drop = {{after_ms = 600}}}}]'
    async with hold(scenario, configuration=configure(tmp_path)) as held:
        (ended,) = await held.wait_for(events.Ended)
    assert ended.end.cause is Cause.LINK_LOST
    check(*ended.heard)
