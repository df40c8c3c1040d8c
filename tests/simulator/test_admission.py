"""How many conversations an agent holds at once, and the queue before them."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from convaid.protocol.to_agent import ConversationInitiationClientData, UserMessage
from convaid.simulator import Agent, Ending, Scenario, SimulatorSettings, open_simulator
from convaid.simulator.admission import Admission, Place
from convaid.simulator.agent import Guesses, Limits
from convaid.simulator.scenario import Close, End, ExpectText, Refuse
from convaid.transport import LinkClosed

from .peers import hold_conversation, open_peer
from .test_server import HANDSHAKE, connect

ONE = Limits(agent_concurrency_limit=1)
QUEUE = Limits(agent_concurrency_limit=1, queue_wait=30)


@pytest.mark.parametrize("code", [3008, 4300])
async def test_one_too_many_is_refused_by_close_code(code: int) -> None:
    agent = Agent(text_only=True, limits=ONE, guesses=Guesses(busy_code=code))  # type: ignore[arg-type]
    async with open_simulator(SimulatorSettings([Scenario(agent=agent)])) as simulator:
        async with open_peer(simulator) as first:
            await first.receive_type("conversation_initiation_metadata")
            async with open_peer(simulator) as second, open_peer(simulator, query="agent_id=another") as third:
                assert await second.receive_rest() == [LinkClosed(code, "Too many concurrent connections.")]
                assert await third.receive_type("conversation_initiation_metadata")
        await simulator.wait_conversation(0)
        async with open_peer(simulator) as again:
            assert await again.receive_type("conversation_initiation_metadata")


async def test_one_too_many_may_be_refused_by_http() -> None:
    agent = Agent(text_only=True, limits=ONE, guesses=Guesses(busy_code=429))
    async with open_simulator(SimulatorSettings([Scenario(agent=agent)])) as simulator, open_peer(simulator) as first:
        await first.receive_type("conversation_initiation_metadata")
        async with await connect(simulator) as stream:
            await stream.send_all(HANDSHAKE.replace(b"agent_id=a ", b"agent_id=agent_demo "))
            answer = await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 429")
    assert b'"status":"too_many_concurrent_requests"' in answer


async def test_a_day_has_a_limit_too() -> None:
    agent = Agent(text_only=True, limits=Limits(daily_limit=2))
    async with open_simulator(SimulatorSettings([Scenario(agent=agent, steps=[Close(4000)])])) as simulator:
        codes = []
        for _ in range(3):
            async with open_peer(simulator) as peer:
                codes.append((await peer.receive_rest())[-1])
    assert [closed.code for closed in codes if isinstance(closed, LinkClosed)] == [4000, 4000, 3008]


async def test_those_in_the_queue_are_let_in_one_after_the_other() -> None:
    scenario = Scenario(agent=Agent(text_only=True, limits=QUEUE), steps=[ExpectText("bye"), End()])
    async with open_simulator(SimulatorSettings([scenario])) as simulator, AsyncExitStack() as stack:
        peers = []
        for number in range(3):
            peers.append(await stack.enter_async_context(open_peer(simulator)))
            wanted = "queue_status" if number else "conversation_initiation_metadata"
            assert (await peers[-1].receive_type(wanted)).get("queue_status_event") in (None, {"status": "waiting"})
        for number, peer in enumerate(peers):
            if number:
                admitted = await peer.receive()
                assert isinstance(admitted, dict)
                assert admitted["queue_status_event"] == {"status": "admitted"}
                await peer.receive_type("conversation_initiation_metadata")
            await peer.send(UserMessage("bye"))
            assert (await peer.receive_rest())[-1] == LinkClosed(1000)
        waits = [record.queue_wait for record in simulator.conversations]
        assert waits[0] is None
        assert waits[1] is not None


async def test_who_leaves_the_queue_is_not_let_in() -> None:
    admission, agent = Admission(), Agent(limits=QUEUE)
    with admission.open_place("a", agent) as first:
        assert first.free.is_set()
        with admission.open_place("a", agent) as second:
            assert not second.free.is_set()
        with admission.open_place("a", agent) as third:
            assert not third.free.is_set()
            with admission.open_place("b", agent) as other:
                assert other.free.is_set()
    assert not second.free.is_set()
    assert admission.find_refusal("a", Agent(limits=ONE)) is None
    with admission.open_place("a", agent):
        assert admission.find_refusal("a", Agent(limits=ONE)) == Refuse(3008, "Too many concurrent connections.")


async def test_the_wait_in_the_queue_has_an_end_and_nothing_is_heard_in_it(autojump_clock: MockClock) -> None:
    scenario = Scenario(agent=Agent(text_only=True, limits=QUEUE))
    async with hold_conversation(scenario, place=Place()) as (peer, record):
        began = trio.current_time()
        await trio.sleep(10)
        peer.put(UserMessage("let me in"))
    assert [frame["queue_status_event"]["status"] for frame in peer.find("queue_status")] == ["waiting", "timed_out"]
    assert trio.current_time() - began == pytest.approx(30)
    assert record.ending == Ending("agent", 4300, "The wait in the queue has timed out.")
    assert record.counts["discarded in the queue"] == 1


async def test_the_initiation_counts_though_it_came_in_the_queue(autojump_clock: MockClock) -> None:
    scenario, place = Scenario(agent=Agent(text_only=True, limits=QUEUE), steps=[End()]), Place()
    async with hold_conversation(scenario, ConversationInitiationClientData(user_id="ada"), place=place) as (
        peer,
        record,
    ):
        await trio.sleep(100 / 7)
        place.free.set()
    assert peer.types()[:3] == ["queue_status", "queue_status", "conversation_initiation_metadata"]
    assert record.initiation is not None
    assert record.initiation.user_id == "ada"
