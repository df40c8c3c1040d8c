"""A recorder without a daemon, and a history to read, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from convaid import events
from convaid.config import HistoryConfig
from convaid.history.file import HistoryFile
from convaid.history.reading import open_history
from convaid.history.recording import Recorder, Terms
from convaid.history.transcript import Transcript
from convaid.logs import MaskingFormatter
from convaid.protocol.endings import link_lost
from convaid.protocol.from_agent import AgentResponse, ClientToolCall, UserTranscript

__all__ = ["Recording", "agent", "called", "connected", "cut", "ended", "heard", "open_recorder", "read_all", "user"]


@define(eq=False)
class Recording:
    """A recorder at work, and where it writes."""

    recorder: Recorder
    path: Path
    troubles: dict[str, str] = field(factory=dict)

    def note(self, *happened: events.Event) -> None:
        for event in happened:
            self.recorder.observe(event)

    async def wait_written(self) -> None:
        """Bounded by the test's own limit."""
        while self.recorder._waiting:
            await trio.sleep(0.005)


@asynccontextmanager
async def open_recorder(
    path: Path, config: HistoryConfig | None = None, redact: Iterable[str] = ()
) -> AsyncIterator[Recording]:
    troubles: dict[str, str] = {}
    terms = Terms(config or HistoryConfig("full"), "agent_1", MaskingFormatter([]).mask)
    recorder = Recorder(
        HistoryFile(path),
        lambda _: terms,
        lambda _: tuple(redact),
        lambda: {"main": terms.config.days},
        troubles,
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(recorder.run)
            yield Recording(recorder, path, troubles)
            nursery.cancel_scope.cancel()


def read_all(path: Path) -> list[Transcript]:
    """All transcripts, the oldest first."""
    with open_history(path) as history:
        return [history.read(session) for session in history.list_sessions()[::-1]]


def connected(number: int = 1, name: str = "main") -> events.Event:
    return events.Connected(name, f"conv_{number}", "pcm_16000", "pcm_16000")


def heard(message: Any, number: int = 1, name: str = "main") -> events.Event:
    return events.MessageReceived(name, f"conv_{number}", message)


def user(text: str) -> events.Event:
    return heard(UserTranscript(text, 1))


def agent(text: str, event_id: int = 1) -> events.Event:
    return heard(AgentResponse(text, event_id))


def called(parameters: Any, result: str = "done", name: str = "main") -> events.Event:
    call = ClientToolCall("open_door", "call_1", parameters)
    return events.ToolCallEnded(name, "conv_1", call, events.ToolAnswer(result, False, "ok", 0.25), True)


def cut(*heard: events.Heard) -> events.Event:
    return events.SpeechInterrupted("main", "conv_1", heard[-1].event_id, sum(each.unheard for each in heard), heard)


def ended(number: int = 1, name: str = "main") -> events.Ended:
    return events.Ended(name, f"conv_{number}", link_lost("gone"), 12.5)
