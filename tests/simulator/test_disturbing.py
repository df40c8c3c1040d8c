"""Steps that no agent means well with: frames that nobody has checked, calls that come twice, URLs that are not had."""

from __future__ import annotations

import json

import pybase64
import pytest
import trio
from httpx import AsyncClient

from convaid.errors import ConfigurationError
from convaid.simulator import Agent, Scenario, SimulatorSettings, open_simulator, parse_scenario
from convaid.simulator.scenario import Call, Close, End, Raw, Refuse
from convaid.simulator.steps import Frame
from convaid.simulator.wire import open_wire
from convaid.transport import LinkClosed

from .peers import open_peer

TEXT = Agent(text_only=True, ping_interval=100)
SIGNED_URL = "/v1/convai/conversation/get-signed-url"


@pytest.mark.parametrize("size", [0, 3, 125, 126, 65535, 65536])
async def test_a_frame_of_any_size_arrives_as_it_is(size: int) -> None:
    payload = b"\xff" * size
    steps = [Frame(pybase64.b64encode_as_string(payload)), Close()]
    settings = SimulatorSettings([Scenario(agent=TEXT, steps=steps)])
    async with open_simulator(settings) as simulator, open_peer(simulator) as peer:
        await peer.receive_type("conversation_initiation_metadata")
        await peer.receive_type("ping")
        with trio.fail_after(5):
            assert await peer.websocket.get_message() == payload
            assert await peer.receive() == LinkClosed(1000)


async def test_what_comes_before_the_metadata_and_what_comes_often() -> None:
    agent = Agent(text_only=True, ping_interval=100, first_frames=['{"type": "early"}'])
    scenario = Scenario(agent=agent, steps=[Raw('{"type": "again"}', times=3), Close()])
    async with open_simulator(SimulatorSettings([scenario])) as simulator, open_peer(simulator) as peer:
        frames = await peer.receive_rest()
    types = [frame["type"] for frame in frames if isinstance(frame, dict)]
    assert types[:2] == ["early", "conversation_initiation_metadata"]
    assert types.count("again") == 3


async def test_a_call_that_is_sent_again_has_the_same_id() -> None:
    scenario = Scenario(agent=TEXT, steps=[Call("add", copies=3), End()])
    async with open_simulator(SimulatorSettings([scenario])) as simulator, open_peer(simulator) as peer:
        calls = [(await peer.receive_type("client_tool_call"))["client_tool_call"] for _ in range(3)]
        assert calls[0] == calls[1] == calls[2]
        for _ in calls:
            result = {"type": "client_tool_result", "result": "5", "is_error": False}
            await peer.send(json.dumps(result | {"tool_call_id": calls[0]["tool_call_id"]}))
        await peer.receive_rest()
        record = await simulator.wait_conversation()
    assert record.calls[0].result == "5"


async def test_a_signed_url_can_be_refused_once() -> None:
    scenarios = [Scenario(steps=[Refuse(status=429, at="signed_url")]), Scenario(agent=TEXT, steps=[Close()])]
    async with open_simulator(SimulatorSettings(scenarios)) as simulator:
        async with AsyncClient(base_url=simulator.base_url, params={"agent_id": "agent_a"}) as http:
            answers = [(await http.get(SIGNED_URL)).status_code for _ in range(2)]
        (record,) = simulator.conversations
    assert answers == [429, 200]
    assert record.ending is not None
    assert (record.ending.closed_by, record.ending.code) == ("agent", 429)


async def test_a_signed_url_leads_to_where_it_was_asked_for() -> None:
    async with (
        open_simulator() as simulator,
        open_wire(simulator.base_url) as wire,
        AsyncClient(base_url=wire.base_url, params={"agent_id": "agent_a"}) as http,
    ):
        url = (await http.get(SIGNED_URL)).json()["signed_url"]
    assert url.startswith(f"ws{wire.base_url.removeprefix('http')}/")


async def test_a_goodbye_that_nobody_reads_is_counted_as_cut_short() -> None:
    agent = Agent(text_only=True, max_duration=0.3)
    scenario = Scenario(agent=agent, steps=[Raw(json.dumps({"type": "x" * 50_000}), times=2000)])
    async with open_simulator(SimulatorSettings([scenario])) as simulator, open_peer(simulator) as peer:
        await peer.receive_type("conversation_initiation_metadata")
        with trio.fail_after(10):
            record = await simulator.wait_conversation()
    assert record.ending is not None
    assert record.ending.closed_by == "agent"
    assert record.counts["goodbye cut short"] == 1


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ('refuse = {at = "signed_url"}', "as in status = 429"),
        ('frame = "§"', "is not base64"),
        ('frame = {base64 = "", opcode = 16}', "from 0 to 15"),
        ('raw = {text = "", times = 0}', "must be more than 0"),
        ('call = {tool = "x", copies = 0}', "must be more than 0"),
    ],
)
def test_what_cannot_be_is_refused(step: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_scenario(f"[[steps]]\n{step}\n", "story.toml")
