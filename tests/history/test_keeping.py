"""The daemon keeps transcripts, and asks what conversations cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import pytest
import trio

from convaid import events, tool
from convaid.config import parse_configuration
from convaid.config.places import find_state_folder
from convaid.daemon import Service
from convaid.errors import ConfigurationError, LinkRefused
from convaid.history import charges, recording
from convaid.history.charges import Charge, read_charge
from convaid.history.file import FILE_NAME
from convaid.history.keeping import keep_history
from convaid.history.reading import find_history_path
from convaid.history.transcript import Call, Transcript, Turn
from convaid.rest import workspace

from ..daemon.holding import MAIN, Held, hold
from .recorded import read_all

KEY = "0123456789abcdef0123456789abcdef"
ALWAYS = MAIN.replace("once", "on_demand")
TALK = """
steps = [{call = {tool = "find_name", parameters = {pin = "1234", city = "Rome"}}}, {say = "You are Ada."}, {end = {}}]
[agent]
first_message = "Hello!"
text_only = true
"""
SERVICES: Sequence[Service] = [keep_history]


@tool
def find_name(pin: Annotated[str, "a pin"], city: Annotated[str, "where"]) -> str:
    """Find the user's name."""
    return f"Ada Lovelace of {city}, with the key {KEY}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WRITE_INTERVAL", 0.001)
    monkeypatch.setattr(charges, "PAUSES", (0.01,) * 6)
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)


@pytest.fixture
def with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)


async def talk(held: Held) -> None:
    while held.daemon.keeper is None:
        await trio.sleep(0.001)
    held.daemon.keeper.find("main").start()
    await held.wait_for(events.Ended)


def find_all() -> list[Transcript]:
    return read_all(find_state_folder() / FILE_NAME)


async def test_what_is_said_and_done_is_kept_without_secrets(with_key: None) -> None:
    text = ALWAYS + '[conversations.main.history]\nkeep = "full"\n[tools.find_name]\nredact = ["pin"]\n'
    async with hold(TALK, configuration=text, tools=[find_name], services=SERVICES) as held:
        await talk(held)
    (transcript,) = find_all()
    session = transcript.session
    assert session.conversation_id == held.simulator.conversations[0].conversation_id
    assert (session.agent_id, session.cause, session.code) == ("agent_test", "ended by the agent", 1000)
    assert [line.text for line in transcript.lines if isinstance(line, Turn)] == ["Hello!", "You are Ada."]
    (call,) = (line for line in transcript.lines if isinstance(line, Call))
    assert (call.tool, call.arguments) == ("find_name", '{"pin":"***","city":"Rome"}')
    assert call.result == "Ada Lovelace of Rome, with the key ***"
    assert find_history_path() == find_state_folder() / FILE_NAME


async def test_one_that_is_private_is_not_kept_and_its_neighbour_is() -> None:
    private = ALWAYS.replace("main", "private") + '[conversations.private.history]\nkeep = "off"\n'
    async with hold(TALK, configuration=ALWAYS + private, tools=[find_name], services=SERVICES) as held:
        await talk(held)
        assert held.daemon.keeper is not None
        held.daemon.keeper.find("private").start()
        await held.wait_for(events.Ended, 2)
    assert [transcript.session.conversation for transcript in find_all()] == ["main"]


def test_a_private_conversation_has_no_recap() -> None:
    text = MAIN + '[conversations.main.history]\nkeep = "off"\n[conversations.main.recap]\nway = "context"\n'
    with pytest.raises(ConfigurationError, match=r'recap\.way: cannot be "context" with history\.keep = "off"'):
        parse_configuration(text, "test")


async def test_a_file_that_cannot_be_used_is_a_trouble_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    await trio.Path(find_state_folder() / FILE_NAME).mkdir(parents=True)
    async with hold(TALK, configuration=ALWAYS, tools=[find_name], services=SERVICES) as held:
        await talk(held)
        while "history" not in held.daemon.troubles:
            await trio.sleep(0.001)
    assert "history cannot be written: " in held.daemon.troubles["history"]
    assert "unable to open database file" in held.daemon.troubles["history"]
    assert "entries of the history were not written" in caplog.text


# --- what it costs --------------------------------------------------------------------------------------------------


def find_told(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    told = [record.getMessage() for record in caplog.records if record.name == "convaid.history.charges"]
    return [line for line in told if words in line]


async def wait_told(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    """Bounded by the test's own limit."""
    while not (told := find_told(caplog, words)):
        await trio.sleep(0.005)
    return told


async def test_what_a_conversation_cost_is_fetched_told_and_kept(
    with_key: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with hold(TALK, configuration=ALWAYS, tools=[find_name], services=SERVICES) as held:
        await talk(held)
        (line,) = await wait_told(caplog, "cost")
    assert re.search(r"of main lasted [01] s and cost 0 credits$", line)
    (transcript,) = find_all()
    assert (transcript.session.cost, transcript.session.charging) == (0, {})
    assert transcript.session.billed_seconds in (0, 1)


async def test_without_a_key_nobody_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with hold(TALK, configuration=ALWAYS, tools=[find_name], services=SERVICES) as held:
        await talk(held)
        await trio.sleep(0.05)
        assert not held.simulator.requests
    assert not find_told(caplog, "cost")


class Platform:
    """Answers in the place of the REST call."""

    def __init__(self, *answers: dict[str, object] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def get_conversation(self, conversation_id: str) -> dict[str, object]:
        self.asked.append(conversation_id)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def put_in_place(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, object] | Exception) -> Platform:
    platform = Platform(*answers)
    monkeypatch.setattr(workspace.Workspace, "get_conversation", lambda _, each: platform.get_conversation(each))
    return platform


PROCESSING: dict[str, object] = {"status": "processing"}
DONE: dict[str, object] = {
    "status": "done",
    "metadata": {
        "call_duration_secs": 42,
        "cost": 137,
        "charging": {"tier": "pro", "call_charge": 100, "llm_usage": {"irreversible": {}}},
    },
}


async def test_it_asks_until_the_platform_has_reckoned(
    with_key: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    platform = put_in_place(monkeypatch, PROCESSING, LinkRefused(503, "busy"), PROCESSING, DONE)
    async with hold(TALK, configuration=ALWAYS, tools=[find_name], services=SERVICES) as held:
        await talk(held)
        (line,) = await wait_told(caplog, "lasted")
    assert "lasted 42 s and cost 137 credits" in line
    assert len(platform.asked) == 4
    (transcript,) = find_all()
    assert transcript.session.charging == {"tier": "pro", "call_charge": 100}


async def test_it_does_not_ask_for_ever_and_the_next_daemon_asks_again(
    with_key: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    platform = put_in_place(monkeypatch, PROCESSING)
    async with hold(TALK, configuration=ALWAYS, tools=[find_name], services=SERVICES) as held:
        await talk(held)
        await wait_told(caplog, "cannot be learnt yet")
        assert len(platform.asked) == len(charges.PAUSES)
    put_in_place(monkeypatch, DONE)
    async with hold(TALK, configuration=ALWAYS, tools=[find_name], services=SERVICES):
        await wait_told(caplog, "cost 137 credits")
    (transcript,) = find_all()
    assert transcript.session.cost == 137


@pytest.mark.parametrize(("status", "asked"), [(401, 1), (403, 1), (404, 2)])
async def test_a_refusal_is_told_once(
    status: int,
    asked: int,
    with_key: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO")
    platform = put_in_place(monkeypatch, LinkRefused(status, "the key may not read conversations"))
    async with hold(TALK, configuration=ALWAYS, tools=[find_name], services=SERVICES) as held:
        await talk(held)
        await wait_told(caplog, "is not known")
        assert held.daemon.keeper is not None
        keeping = held.daemon.keeper.find("main")
        while keeping.state != "closed":
            await trio.sleep(0.001)
        keeping.start()
        await held.wait_for(events.Ended, 2)
        while len(platform.asked) < asked:
            await trio.sleep(0.005)
        await trio.sleep(0.05)
    assert len(platform.asked) == asked
    assert len(find_told(caplog, "what conversations cost is not known: HTTP")) == 1


@pytest.mark.parametrize(
    ("answer", "charge"),
    [
        ({}, None),
        ({"status": "in-progress", "metadata": {"cost": 1}}, None),
        ({"status": "failed"}, Charge(None, None, {})),
        ({"status": "done", "metadata": {"cost": None, "call_duration_secs": True}}, Charge(None, None, {})),
        ({"status": "done", "metadata": {"cost": 2**70, "charging": []}}, Charge(None, None, {})),
        ({"status": "done", "metadata": []}, Charge(None, None, {})),
    ],
)
def test_odd_answers(answer: dict[str, object], charge: Charge | None) -> None:
    assert read_charge(answer) == charge
