"""The simulator over real sockets: handshakes, refusals, endings as a peer sees them, and peers without manners."""

from __future__ import annotations

import gc
import os
import struct
from contextlib import AsyncExitStack, suppress

import pytest
import trio
import trio.testing

from convaid.protocol.to_agent import ClientToolResult, Pong, UserMessage
from convaid.simulator import Agent, Ending, Scenario, Simulator, SimulatorSettings, open_simulator
from convaid.simulator.scenario import Call, Close, Drop, End, ExpectText, Fail, Freeze, Raw, Refuse, Say
from convaid.transport import LinkClosed

from .peers import open_peer

TEXT = Agent(text_only=True)
SHORT = Scenario(agent=TEXT, steps=[Say("Bye."), End()])
HANDSHAKE = (
    b"GET /v1/convai/conversation?agent_id=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
INITIATION = b"\x81\xae\x00\x00\x00\x00" + b'{"type":"conversation_initiation_client_data"}'  # masked by zeros


async def connect(simulator: Simulator) -> trio.SocketStream:
    host, port = simulator.base_url.removeprefix("http://").split(":")
    return await trio.open_tcp_stream(host, int(port))


async def shake_hands(simulator: Simulator) -> trio.SocketStream:
    """A WebSocket as plain bytes: connected and upgraded."""
    stream = await connect(simulator)
    await stream.send_all(HANDSHAKE)
    with trio.fail_after(5):
        assert b"101" in await stream.receive_some()
    return stream


async def read_all(stream: trio.SocketStream) -> bytes:
    received = b""
    with trio.fail_after(5), suppress(trio.BrokenResourceError):
        while chunk := await stream.receive_some():
            received += chunk
    return received


async def play(*scenarios: Scenario) -> tuple[LinkClosed, Ending]:
    """Let a bare peer listen until the first conversation is over."""
    async with open_simulator(SimulatorSettings(scenarios)) as simulator, open_peer(simulator) as peer:
        closed = (await peer.receive_rest())[-1]
        record = await simulator.wait_conversation()
    assert isinstance(closed, LinkClosed)
    assert record.ending is not None
    return closed, record.ending


# --- a conversation ------------------------------------------------------------------------------------------------


async def test_a_conversation_with_a_tool_call_leaves_its_record() -> None:
    steps = [ExpectText("time"), Call("now", {"zone": "UTC"}, expect_result="12"), Say("It is 12."), End()]
    async with open_simulator(SimulatorSettings([Scenario("noon", TEXT, steps=steps)])) as simulator:
        headers = [(b"xi-api-key", b"sk_seen")]
        async with open_peer(simulator, query="agent_id=agent_x&source=y", headers=headers) as peer:
            await peer.send(UserMessage("What is the time?"))
            await peer.answer_call("12:00")
            assert (await peer.receive_rest())[-1] == LinkClosed(1000)
        record = await simulator.wait_conversation()
    assert list(simulator.conversations) == [record]
    assert (record.agent_id, record.scenario, record.api_key) == ("agent_x", "noon", "sk_seen")
    assert record.query == {"agent_id": "agent_x", "source": "y"}
    assert [(line.speaker, line.text) for line in record.transcript] == [
        ("user", "What is the time?"),
        ("agent", "It is 12."),
    ]
    assert [(call.tool, call.result, call.is_error) for call in record.calls] == [("now", "12:00", False)]
    assert (record.calls[0].seconds or 9) < 5
    assert record.received == {"conversation_initiation_client_data": 1, "user_message": 1, "client_tool_result": 1}
    assert record.sent["client_tool_call"] == 1
    assert record.problem is None
    assert record.ending == Ending("agent", 1000)
    assert "sk_seen" not in repr(record)


@pytest.mark.parametrize(
    ("offered", "selected"),
    [([], None), (["convai"], "convai"), (["x", "convai", "bearer.t"], "convai"), (["x"], None)],
)
async def test_the_sub_protocol_is_selected_only_if_it_is_offered(offered: list[str], selected: str | None) -> None:
    async with (
        open_simulator(SimulatorSettings([SHORT])) as simulator,
        open_peer(simulator, subprotocols=offered) as peer,
    ):
        assert peer.websocket.subprotocol == selected
        await peer.receive_rest()
        assert simulator.conversations[0].subprotocols == tuple(offered)


async def test_scenarios_are_played_in_order_and_the_last_one_again() -> None:
    scenarios = [Scenario("a", steps=[Close(4001)]), Scenario("b", steps=[Close(4002)])]
    async with open_simulator(SimulatorSettings(scenarios)) as simulator:
        codes = []
        for _ in range(3):
            async with open_peer(simulator) as peer:
                codes.append((await peer.receive_rest())[-1])
    assert codes == [LinkClosed(4001), LinkClosed(4002), LinkClosed(4002)]
    assert [record.scenario for record in simulator.conversations] == ["a", "b", "b"]


async def test_conversations_run_side_by_side() -> None:
    steps = [Call("now", expect_result="12"), End()]
    scenario = Scenario(agent=TEXT, steps=steps)

    async def converse(simulator: Simulator) -> None:
        async with open_peer(simulator) as peer:
            await peer.answer_call("12")
            assert (await peer.receive_rest())[-1] == LinkClosed(1000)

    async with open_simulator(SimulatorSettings([scenario])) as simulator, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(converse, simulator)
    assert [record.problem for record in simulator.conversations] == [None] * 20
    assert len({record.conversation_id for record in simulator.conversations}) == 20


async def test_500_calls_at_once() -> None:
    calls = [Call("add", {"n": n}, wait=False) for n in range(500)]
    scenario = Scenario(agent=TEXT, steps=[*calls, ExpectText("done"), End()])
    async with open_simulator(SimulatorSettings([scenario])) as simulator, open_peer(simulator) as peer:
        for _ in range(500):
            await peer.answer_call("ok")
        await peer.send(UserMessage("done"))
        assert (await peer.receive_rest())[-1] == LinkClosed(1000)
        record = await simulator.wait_conversation()
    assert {call.result for call in record.calls} == {"ok"}


# --- refusals and endings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "api_key", "query", "headers", "is_refused"),
    [
        (Agent(), None, "agent_id=agent_x", [], False),
        (Agent(), "sk", "agent_id=agent_x", [], False),
        (Agent(id="agent_y"), None, "agent_id=agent_x", [], True),
        (Agent(), None, "", [], True),
        (Agent(requires_authorization=True), "sk", "agent_id=agent_x", [], True),
        (Agent(requires_authorization=True), "sk", "agent_id=agent_x", [(b"xi-api-key", b"sk")], False),
        (Agent(requires_authorization=True), "sk", "agent_id=agent_x", [(b"xi-api-key", b"sx")], True),
        (Agent(requires_authorization=True), None, "agent_id=agent_x", [(b"xi-api-key", b"any")], False),
        (Agent(), None, "agent_id=agent_x&conversation_signature=forged", [], True),
    ],
)
async def test_who_may_begin_a_conversation(
    agent: Agent, api_key: str | None, query: str, headers: list[tuple[bytes, bytes]], is_refused: bool
) -> None:
    scenario = Scenario(agent=agent, steps=[Close(4000)])
    async with (
        open_simulator(SimulatorSettings([scenario], api_key)) as simulator,
        open_peer(simulator, query=query, headers=headers) as peer,
    ):
        frames = await peer.receive_rest()
    assert isinstance(frames[-1], LinkClosed)
    assert frames[-1].code == (3000 if is_refused else 4000)
    if is_refused:
        assert len(frames) == 1
        assert frames[-1].reason


async def test_a_conversation_can_be_refused_by_close_code() -> None:
    closed, ending = await play(Scenario(steps=[Refuse(3008, "too many concurrent connections")]))
    assert closed == LinkClosed(3008, "too many concurrent connections")
    assert ending == Ending("agent", 3008, "too many concurrent connections")


async def test_a_refusal_may_take_its_time() -> None:
    started_at = trio.current_time()
    closed, _ = await play(Scenario(steps=[Refuse(after_ms=60)]))
    assert closed.code == 3000
    assert trio.current_time() - started_at >= 0.06


async def test_a_conversation_can_be_refused_by_http_status() -> None:
    scenario = Scenario(steps=[Refuse(status=403, reason="Not for you.")])
    async with open_simulator(SimulatorSettings([scenario, SHORT])) as simulator:
        stream = await connect(simulator)
        async with stream:
            await stream.send_all(HANDSHAKE)
            answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 403")
        assert b'"message":"Not for you."' in answer
        record = await simulator.wait_conversation(0)
        assert record.ending == Ending("agent", 403, "Not for you.")
        async with open_peer(simulator) as peer:
            assert (await peer.receive_rest())[-1] == LinkClosed(1000)


async def test_an_error_is_seen_before_its_close() -> None:
    scenario = Scenario(agent=TEXT, steps=[Fail(1002, "llm_timeout", "LLM took too long")])
    async with open_simulator(SimulatorSettings([scenario])) as simulator, open_peer(simulator) as peer:
        *_, error, closed = await peer.receive_rest()
    assert isinstance(error, dict)
    assert error["error_event"]["error_type"] == "llm_timeout"
    assert closed == LinkClosed(1002, "LLM took too long")


async def test_a_dropped_connection_is_reset_without_a_close_frame() -> None:
    async with open_simulator(SimulatorSettings([Scenario(steps=[Drop()])])) as simulator:
        stream = await shake_hands(simulator)
        async with stream:
            await stream.send_all(INITIATION)
            with pytest.raises(trio.BrokenResourceError) as raised:  # noqa: PT012  (a loop is needed)
                while await stream.receive_some():
                    pass
        assert isinstance(raised.value.__cause__, ConnectionResetError)
        record = await simulator.wait_conversation()
    assert record.ending == Ending("agent", 1006, is_reset=True)


async def test_a_frozen_link_is_dead_and_comes_back() -> None:
    scenario = Scenario(agent=TEXT, steps=[Freeze(1.2), Say("Back."), End()])
    async with open_simulator(SimulatorSettings([scenario])) as simulator, open_peer(simulator) as peer:
        await peer.receive_type("conversation_initiation_metadata")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.1) as limit:
            await peer.websocket.ping()
        assert limit.cancelled_caught
        assert (await peer.receive_type("agent_response"))["agent_response_event"]["agent_response"] == "Back."
        assert (await peer.receive_rest())[-1] == LinkClosed(1000)


async def test_the_peers_own_ending_is_recorded() -> None:
    async with open_simulator(SimulatorSettings([Scenario(agent=TEXT)])) as simulator:
        async with open_peer(simulator) as peer:
            await peer.receive_type("conversation_initiation_metadata")
            with trio.fail_after(10):
                await peer.websocket.aclose(1001, "going home")
        assert (await simulator.wait_conversation(0)).ending == Ending("user", 1001, "going home")
        async with open_peer(simulator) as peer:
            await peer.receive_type("conversation_initiation_metadata")
        assert (await simulator.wait_conversation(1)).ending == Ending("link", 1006)


async def test_a_result_that_is_not_text_is_caught() -> None:
    async with (
        open_simulator(SimulatorSettings([Scenario(steps=[Call("t")])])) as simulator,
        open_peer(simulator) as peer,
    ):
        call = (await peer.receive_type("client_tool_call"))["client_tool_call"]
        frame = '{"type":"client_tool_result","tool_call_id":"%s","result":{"a":1},"is_error":false}'
        await peer.send(frame % call["tool_call_id"])
        *_, error, closed = await peer.receive_rest()
    assert isinstance(error, dict)
    assert error["error_event"]["error_type"] == "invalid_message"
    assert isinstance(closed, LinkClosed)
    assert closed.code == 1008
    assert closed.reason.startswith("Invalid message received")


async def test_a_ping_that_crosses_our_close_does_no_harm() -> None:
    async with open_simulator(SimulatorSettings([SHORT])) as simulator:
        stream = await shake_hands(simulator)
        async with stream:
            await stream.send_all(INITIATION)
            received = b""
            with trio.fail_after(5):
                while b"\x88\x02\x03\xe8" not in received:  # a close frame with code 1000
                    received += await stream.receive_some()
                await stream.send_all(b"\x89\x80\x00\x00\x00\x00" + b"\x88\x82\x00\x00\x00\x00\x03\xe8")
                assert await stream.receive_some() == b""
        assert (await simulator.wait_conversation()).ending == Ending("agent", 1000)


# --- peers without manners -----------------------------------------------------------------------------------------

GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # a TLS greeting
    b"hello\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 2_000_000,
    b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    HANDSHAKE.replace(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8"),
    HANDSHAKE.replace(b"Connection: Upgrade\r\n", b""),
    HANDSHAKE.replace(b"GET ", b"POST "),
    HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
    HANDSHAKE + b"\x81\x05hello",  # not masked
    HANDSHAKE + b"\xff\xff\xff\xff\xff\xff",
    HANDSHAKE + b"\x82\x81\x00\x00\x00\x00x",  # a binary frame
    HANDSHAKE + b"\x81\x81\x00\x00\x00\x00\xff",  # not UTF-8
    HANDSHAKE + b"\x88\x82\x00\x00\x00\x00\x00\x01",  # a close with an impossible code
    HANDSHAKE + b"\x81\x82\x00\x00\x00\x00[]" + b"\x89\x80\x00\x00\x00\x00" * 50,
    HANDSHAKE + b"\x89\x80\x00\x00\x00\x00" * 1000,  # a thousand pings
    HANDSHAKE + HANDSHAKE,
    HANDSHAKE + b"\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00",  # a frame of petabytes
]


@pytest.mark.parametrize("manners", ["says goodbye", "vanishes", "resets"])
async def test_garbage_costs_its_sender_alone(manners: str) -> None:
    async with open_simulator(SimulatorSettings([Scenario(agent=TEXT, rules=[])])) as simulator:
        async with open_peer(simulator) as bystander:
            await bystander.receive_type("conversation_initiation_metadata")
            for garbage in GARBAGE:
                is_upgraded = garbage.startswith(HANDSHAKE)
                stream = await (shake_hands if is_upgraded else connect)(simulator)
                async with stream:
                    with suppress(trio.BrokenResourceError), trio.move_on_after(2):
                        await stream.send_all(garbage.removeprefix(HANDSHAKE))
                        if manners == "says goodbye":
                            await stream.send_eof()
                            await read_all(stream)
                        elif manners == "resets":
                            stream.setsockopt(1, 13, bytes([1, 0, 0, 0, 0, 0, 0, 0]))  # SO_LINGER of 0 s
            await bystander.send(Pong(1))
            await bystander.send(UserMessage("still here?"))
            assert await bystander.receive_type("user_transcript")
        with trio.fail_after(5):
            for number in range(1, len(simulator.conversations)):
                await simulator.wait_conversation(number)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (b"\xc1\x81\x00\x00\x00\x00x", 1002),  # a bit that is reserved
        (b"\x83\x81\x00\x00\x00\x00x", 1002),  # an opcode that there is not
        (b"\x89\xfe\x00\x7e\x00\x00\x00\x00" + b"x" * 126, 1002),  # a ping that is too long
        (b"\x88\x82\x00\x00\x00\x00\x00\x01", 1002),  # a close with an impossible code
        (b"\x81\x81\x00\x00\x00\x00\xff", 1007),  # not UTF-8
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_told_so(frame: bytes, code: int) -> None:
    async with open_simulator(SimulatorSettings([Scenario(agent=TEXT)])) as simulator:
        async with await shake_hands(simulator) as stream:
            await stream.send_all(INITIATION + frame)
            received = await read_all(stream)
        ending = (await simulator.wait_conversation()).ending
    assert ending is not None
    assert (ending.closed_by, ending.code) == ("agent", code)
    payload = struct.pack("!H", code) + ending.reason.encode()
    assert received.endswith(b"\x88" + bytes([len(payload)]) + payload)
    assert ending.reason


async def test_a_peer_that_closes_as_it_should_has_ended_it() -> None:
    async with open_simulator(SimulatorSettings([Scenario(agent=TEXT)])) as simulator:
        async with await shake_hands(simulator) as stream:
            await stream.send_all(INITIATION + b"\x88\x82\x00\x00\x00\x00\x03\xea")
            received = await read_all(stream)
        assert (await simulator.wait_conversation()).ending == Ending("user", 1002)
    assert received.count(b"\x88\x02\x03\xea") == 1


async def test_a_message_that_is_too_long_ends_with_1009() -> None:
    async with open_simulator(SimulatorSettings([Scenario(agent=TEXT)])) as simulator, open_peer(simulator) as peer:
        await peer.receive_type("conversation_initiation_metadata")
        await peer.send("x" * (16 * 2**20 + 1))
        closed = (await peer.receive_rest())[-1]
    assert isinstance(closed, LinkClosed)
    assert closed.code == 1009


async def test_a_peer_that_does_not_read_holds_nobody_up() -> None:
    talkative = Scenario(agent=TEXT, steps=[Raw('{"type":"x","y":"%s"}' % ("y" * 100_000))] * 500)
    async with open_simulator(SimulatorSettings([talkative, SHORT])) as simulator:
        stream = await shake_hands(simulator)
        async with stream:
            await stream.send_all(INITIATION)
            async with open_peer(simulator) as peer:
                assert (await peer.receive_rest())[-1] == LinkClosed(1000)


async def test_leaving_the_simulator_ends_everything_at_once() -> None:
    async with AsyncExitStack() as streams:
        async with open_simulator(SimulatorSettings([Scenario(agent=TEXT)])) as simulator:
            talking = await streams.enter_async_context(await shake_hands(simulator))
            asking = await streams.enter_async_context(await connect(simulator))
            await talking.send_all(INITIATION)
            await asking.send_all(b"GET / HTT")
            assert await talking.receive_some()
            left_at = trio.current_time()
        assert trio.current_time() - left_at < 5
        assert simulator.conversations[0].ending == Ending("simulator", 1006)
        await read_all(talking)
        assert await read_all(asking) == b""


async def test_descriptors_stay_constant() -> None:
    async with open_simulator(SimulatorSettings([Scenario(steps=[Refuse()])])) as simulator:
        counts = []
        for _ in range(2):
            for _ in range(25):
                async with open_peer(simulator, initiation=None) as peer:
                    await peer.receive_rest()
            gc.collect()
            await trio.testing.wait_all_tasks_blocked(0.05)
            counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[1] <= counts[0] + 1


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with open_simulator() as simulator:
        port = int(simulator.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with open_simulator(port=port):
                pass


async def test_late_results_do_no_harm() -> None:
    async with open_simulator(SimulatorSettings([SHORT])) as simulator, open_peer(simulator) as peer:
        await peer.send(ClientToolResult("never_called", "x", False))
        assert (await peer.receive_rest())[-1] == LinkClosed(1000)
