"""The simulator's one port: plain HTTP goes to the REST routes, an upgrade becomes a conversation.

h11 reads each request; an upgrade's bytes are replayed to trio-websocket, which does the framing from there. Whatever a
peer does costs at most its own connection.
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import trio
from attrs import evolve, field, frozen
from attrs.validators import min_len
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from convaid.audio import AudioFormat
from convaid.errors import ConvaidError
from convaid.simulator.acting import ScenarioActor
from convaid.simulator.answers import Answer, Request, refuse
from convaid.simulator.conversation import GOODBYE_LIMIT, Conversation
from convaid.simulator.http import HttpConnection
from convaid.simulator.reciting import Reciter
from convaid.simulator.record import KEPT, ConversationRecord, Ending, RequestRecord
from convaid.simulator.rest import CONVERSATION_PATH, Authorization, RestRoutes
from convaid.simulator.scenario import Agent, Refuse, Scenario
from convaid.simulator.scenario_file import load_scenario
from convaid.simulator.speech import Ear, Speech, make_speech
from convaid.simulator.workspace import Workspace, make_routes, open_workspace
from convaid.transport import (
    ABNORMAL,
    MESSAGE_LIMIT,
    MESSAGE_QUEUE,
    READ_SIZE,
    SUBPROTOCOL,
    HeardStream,
    Link,
    Reader,
)

__all__ = ["Simulator", "SimulatorSettings", "open_simulator"]

log = logging.getLogger(__name__)

HANDSHAKE_LIMIT = 5.0  # seconds; the request has been read already
CONVERSATIONS_KEPT = 1000


@frozen
class SimulatorSettings:
    """What to simulate: the first conversation plays the first scenario, and so on; the last one is for all the rest.

    Without an ``api_key`` any key is accepted, and none. Tools and agents are kept in ``file``; without one, in memory.
    """

    scenarios: Sequence[Scenario] = field(factory=lambda: [load_scenario("default")], validator=min_len(1))
    api_key: str | None = field(default=None, repr=False)
    file: Path | None = None
    reciter: Reciter | None = field(default=None, repr=False)
    """Says the user's part, where there is to be one conversation only."""


class Simulator:
    """A running simulator, opened by `open_simulator`; keeps a record of every conversation and REST call.

    ``workspace`` holds the tools and agents that the REST calls make and change.
    """

    def __init__(
        self, settings: SimulatorSettings, speeches: Sequence[Speech], workspace: Workspace, address: str
    ) -> None:
        self.base_url = f"http://{address}"
        self.conversations: deque[ConversationRecord] = deque(maxlen=CONVERSATIONS_KEPT)
        self.requests: deque[RequestRecord] = deque(maxlen=KEPT)
        self._scenarios = settings.scenarios
        self._speeches = speeches
        self._reciter = settings.reciter
        self._started = 0
        self._another = trio.Event()
        self._authorization = Authorization(settings.api_key)
        self.workspace = workspace
        routes = make_routes(workspace, self.conversations)
        self._routes = RestRoutes(address, self._authorization, lambda id: self._find_agent(id) is not None, routes)

    async def wait_conversation(self, number: int = 0) -> ConversationRecord:
        """Wait until the conversation of this number, counted from 0, has ended. IndexError if it is no longer kept."""
        while self._started <= number:
            await self._another.wait()
        record = self.conversations[number - self._started]  # counted from the newest
        await record.ended.wait()
        return record

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one TCP connection; the stream is the caller's to close."""
        connection = HttpConnection(stream)
        while request := await connection.receive():
            answer = self._answer(request)
            if answer is None:
                await self._serve_conversation(stream, connection.received, request)
                return
            record = RequestRecord(request.method, request.path, request.query, request.api_key, answer.status)
            self.requests.append(record)
            if not await connection.answer(answer):
                return
        await part_gently(stream)

    @property
    def _turn(self) -> int:
        """Which scenario the next conversation plays."""
        return min(self._started, len(self._scenarios) - 1)

    def _find_agent(self, agent_id: str) -> Agent | None:
        """Who answers to this id in the next conversation."""
        return self.workspace.find_agent(agent_id, self._scenarios[self._turn].agent)

    def _begin_record(self, request: Request) -> ConversationRecord:
        scenario = self._scenarios[self._turn]
        record = ConversationRecord(
            conversation_id=f"conv_sim_{secrets.token_hex(6)}",
            agent_id=request.query.get("agent_id", ""),
            scenario=scenario.name,
            api_key=request.api_key,
            subprotocols=tuple(re.findall(r"[^\s,]+", request.headers.get("sec-websocket-protocol", ""))),
            query=request.query,
        )
        self._started += 1
        self.conversations.append(record)
        self._another.set()
        self._another = trio.Event()
        return record

    def _answer(self, request: Request) -> Answer | None:
        """Answer a request by HTTP; None where it becomes a conversation."""
        self.workspace.refresh()
        if request.path != CONVERSATION_PATH:
            return self._routes.answer(request)
        if problem := find_upgrade_problem(request):
            return problem
        refusal = self._scenarios[self._turn].refusal
        if refusal is None or refusal.status is None:
            return None
        end_record(self._begin_record(request), Ending("agent", refusal.status, refusal.reason))
        return refuse(refusal.status, "refused", refusal.reason)

    async def _serve_conversation(self, stream: trio.SocketStream, received: bytes, request: Request) -> None:
        scenario, speech = self._scenarios[self._turn], self._speeches[self._turn]
        agent = self._find_agent(request.query.get("agent_id", ""))
        refusal = self._authorization.find_refusal(agent, request) or scenario.refusal
        scenario = evolve(scenario, agent=agent or scenario.agent)
        try:
            if scenario.agent.audio_formats != self._scenarios[self._turn].agent.audio_formats:
                speech = make_speech_of(scenario)
        except (ConvaidError, OSError, ValueError) as error:
            refusal = Refuse(reason=f"The agent appears to be misconfigured: {error}")
        record = self._begin_record(request)
        try:
            async with trio.open_nursery() as nursery:
                served = ServedStream(stream, received)
                websocket = await accept_websocket(nursery, served, record)
                if websocket is None:
                    record.ending = Ending("link", ABNORMAL)
                elif refusal is not None:
                    record.ending = Ending("agent", refusal.code, refusal.reason)
                    with trio.move_on_after(GOODBYE_LIMIT):
                        await websocket.aclose(refusal.code, refusal.reason)
                else:
                    conversation = Conversation(PeerLink(websocket, served, nursery), scenario.agent, record)
                    await conversation.hold(ScenarioActor(conversation, scenario, speech, self._reciter))
                nursery.cancel_scope.cancel()
        finally:
            end_record(record, record.ending or Ending("simulator", ABNORMAL))
        if record.ending and record.ending.is_reset:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            await part_gently(stream)


class ServedStream(HeardStream):
    """A peer's TCP stream as trio-websocket sees it: begins with bytes that were read already, and can be frozen.

    Its closing closes nothing: the socket is the server's, which parts with the peer gently.
    """

    def __init__(self, stream: trio.abc.Stream, received: bytes) -> None:
        super().__init__(stream)
        self._received = received
        self._flows = trio.Event()
        self._flows.set()

    def freeze(self) -> None:
        """From now on nothing comes and nothing goes."""
        self._flows = trio.Event()

    def thaw(self) -> None:
        """Go on where it was frozen."""
        self._flows.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        received, self._received = self._received, b""
        chunk = received or await super().receive_some(max_bytes)
        await self._flows.wait()
        return chunk

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._flows.wait()
        await super().send_all(data)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class PeerLink(Link):
    """A connection to whoever talks to the agent."""

    def __init__(self, websocket: WebSocketConnection, stream: ServedStream, nursery: trio.Nursery) -> None:
        super().__init__(websocket, stream, nursery)
        self.freeze = stream.freeze
        self.thaw = stream.thaw

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the answer."""
        await self._websocket.aclose(code, reason)


@asynccontextmanager
async def open_simulator(settings: SimulatorSettings | None = None, *, port: int = 0) -> AsyncIterator[Simulator]:
    """Serve the simulated platform on loopback; leaving the context ends it and every connection at once.

    Port 0 takes a free one. OSError where the port is taken; `ConvaidError` where a scenario's audio needs a package
    that is not installed, or ``settings.file`` is no file of a workspace.
    """
    settings = settings or SimulatorSettings()
    speeches = [make_speech_of(scenario) for scenario in settings.scenarios]
    workspace = open_workspace(settings.scenarios, settings.file)
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    address, port = listeners[0].socket.getsockname()
    simulator = Simulator(settings, speeches, workspace, f"{address}:{port}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, simulator.serve, listeners)
        yield simulator
        nursery.cancel_scope.cancel()


def make_speech_of(scenario: Scenario) -> Speech:
    """Make the voice of a scenario's agent ready; a package that its ear needs is missed now, not in a conversation."""
    Ear(AudioFormat.parse(scenario.agent.user_input_audio_format))
    return make_speech(scenario.voice, AudioFormat.parse(scenario.agent.agent_output_audio_format))


def find_upgrade_problem(request: Request) -> Answer | None:
    """Why a request cannot become a WebSocket; None where it can."""
    headers = request.headers
    if request.method != "GET" or "websocket" not in headers.get("upgrade", "").lower():
        return refuse(426, "upgrade_required", "Conversations are held over a WebSocket.")
    if "sec-websocket-key" not in headers or headers.get("sec-websocket-version") != "13":
        return refuse(400, "bad_handshake", "The WebSocket handshake has no key, or asks for another version than 13.")
    return None


async def accept_websocket(
    nursery: trio.Nursery, stream: ServedStream, record: ConversationRecord
) -> WebSocketConnection | None:
    """Complete the handshake; None where the peer is gone by then. The sub-protocol is selected only if offered."""
    reader = Reader(nursery)
    with reader.limit_wait(HANDSHAKE_LIMIT), suppress(ConnectionClosed):
        proposal = await wrap_server_stream(
            cast(trio.Nursery, reader),
            stream,
            message_queue_size=MESSAGE_QUEUE,
            max_message_size=MESSAGE_LIMIT,
            receive_buffer_size=READ_SIZE,
        )
        return await proposal.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in record.subprotocols else None)
    return None


def end_record(record: ConversationRecord, ending: Ending) -> None:
    """Write down how a conversation ended, and tell those who wait for it."""
    record.ending = ending
    record.ended_at = trio.current_time()
    record.ended.set()
    log.info("%s ended by the %s: %d %s", record.conversation_id, ending.closed_by, ending.code, ending.reason)


async def part_gently(stream: trio.SocketStream) -> None:
    """Say that nothing more comes and wait for the peer's end: closing over unread bytes would be a reset."""
    with trio.move_on_after(GOODBYE_LIMIT), suppress(trio.BrokenResourceError):
        await stream.send_eof()
        while await stream.receive_some():
            pass
