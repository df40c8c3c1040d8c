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
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import trio
from attrs import evolve, field, frozen
from attrs.validators import min_len

from convaid.audio import AudioFormat
from convaid.errors import ConvaidError
from convaid.simulator.acting import ScenarioActor
from convaid.simulator.admission import Admission
from convaid.simulator.answers import Answer, Request, refuse
from convaid.simulator.brain.casting import cast_brain, check_brains, find_settings, list_callable
from convaid.simulator.conversation import GOODBYE_LIMIT, Conversation
from convaid.simulator.http import HttpConnection
from convaid.simulator.links import PeerLink, ServedStream, accept_websocket
from convaid.simulator.reciting import Reciter
from convaid.simulator.record import KEPT, ConversationRecord, Ending, RequestRecord
from convaid.simulator.rest import CONVERSATION_PATH, SCOPES, SIGNED_URL_PATH, Authorization, RestRoutes
from convaid.simulator.roles import Actor
from convaid.simulator.scenario import Agent, Refuse, Scenario
from convaid.simulator.scenario_file import load_scenario
from convaid.simulator.speech import Ear, Speech, make_speech
from convaid.simulator.workspace import DEMO_AGENT, Workspace, make_routes, open_workspace
from convaid.transport import (
    ABNORMAL,
)

__all__ = ["Simulator", "SimulatorSettings", "open_simulator"]

log = logging.getLogger(__name__)

CONVERSATIONS_KEPT = 1000
STATUS_CODES = {401: "quota_exceeded", 429: "too_many_concurrent_requests"}  # of refusals by HTTP, in error bodies


class Supply(Protocol):
    """Where scenarios come from that are made as they are needed."""

    def make_scenario(self, number: int) -> Scenario:
        """What the conversation of this number, counted from 0, plays; the same each time."""
        ...

    def begin(self, number: int, port: int) -> None:
        """The conversation begins, on the connection from this port of the peer's."""
        ...


@frozen
class SimulatorSettings:
    """What to simulate: the first conversation plays the first scenario, and so on; the last one is for all the rest.

    Without an ``api_key`` any key is accepted, and none. Tools and agents are kept in ``file``; without one, in memory.
    """

    scenarios: Sequence[Scenario] = field(factory=lambda: [load_scenario("default")], validator=min_len(1))
    api_key: str | None = field(default=None, repr=False)
    file: Path | None = None
    scopes: Set[str] = SCOPES
    """What the API key may do."""
    reciter: Reciter | None = field(default=None, repr=False)
    """Says the user's part, where there is to be one conversation only."""
    folder: Path | None = None
    """A folder of the official command line, whose tools and agents are there, instead of a file."""
    tools: Sequence[Mapping[str, Any]] = ()
    """Configurations of the client tools that a scenario's own agent can call, where a brain plays it."""
    supply: Supply | None = None
    """Where conversations are not to play ``scenarios``."""


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
        self._supply = settings.supply
        self._reciter = settings.reciter
        self._own_tools = settings.tools
        self._started = 0
        self._another = trio.Event()
        self._authorization = Authorization(settings.api_key, settings.scopes)
        self._admission = Admission()
        self.workspace = workspace
        routes = make_routes(workspace, self.conversations)
        self._routes = RestRoutes(address, self._authorization, self._find_agent, routes)

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
                await self._serve_conversation(stream, bytes(connection.received), request)
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

    @property
    def _next_scenario(self) -> Scenario:
        return self._supply.make_scenario(self._started) if self._supply else self._scenarios[self._turn]

    def _find_agent(self, agent_id: str) -> Agent | None:
        """Who answers to this id in the next conversation."""
        return self.workspace.find_agent(agent_id, self._next_scenario.agent)

    def _begin_record(self, request: Request) -> ConversationRecord:
        scenario = self._next_scenario
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
        refusal = self._next_scenario.refusal
        if request.path != CONVERSATION_PATH:
            if refusal is None or refusal.at != "signed_url" or not re.fullmatch(SIGNED_URL_PATH, request.path):
                return self._routes.answer(request)
        elif problem := find_upgrade_problem(request):
            return problem
        elif refusal is None:
            agent_id = request.query.get("agent_id", "")
            agent = self._find_agent(agent_id)
            refusal = None if agent is None else self._admission.find_refusal(agent_id, agent)
        if refusal is None or refusal.status is None:
            return None
        end_record(self._begin_record(request), Ending("agent", refusal.status, refusal.reason))
        return refuse(refusal.status, STATUS_CODES.get(refusal.status, "refused"), refusal.reason)

    async def _serve_conversation(self, stream: trio.SocketStream, received: bytes, request: Request) -> None:
        planned = self._next_scenario
        if self._supply:
            self._supply.begin(self._started, stream.socket.getpeername()[1])
        agent_id = request.query.get("agent_id", "")
        agent = self._find_agent(agent_id)
        refusal = self._authorization.find_refusal(agent, request) or planned.refusal
        scenario = evolve(planned, agent=agent or planned.agent)
        refusal = refusal or self._admission.find_refusal(agent_id, scenario.agent)
        try:
            is_ready = self._supply is None and scenario.agent.audio_formats == planned.agent.audio_formats
            speech = self._speeches[self._turn] if is_ready else make_speech_of(scenario)
        except (ConvaidError, OSError, ValueError) as error:
            refusal = Refuse(reason=f"The agent appears to be misconfigured: {error}")
        record = self._begin_record(request)
        record.max_files = scenario.agent.limits.max_files
        try:
            async with AsyncExitStack() as stack:
                place = None
                if refusal is None:
                    place = stack.enter_context(self._admission.open_place(agent_id, scenario.agent))
                nursery = await stack.enter_async_context(trio.open_nursery())
                served = ServedStream(stream, received)
                size = scenario.agent.guesses.max_message_size
                websocket = await accept_websocket(nursery, served, record.subprotocols, size)
                if websocket is None:
                    record.ending = Ending("link", ABNORMAL)
                elif refusal is not None:
                    record.ending = Ending("agent", refusal.code, refusal.reason)
                    await trio.sleep(refusal.after_ms / 1000)
                    with trio.move_on_after(GOODBYE_LIMIT):
                        await websocket.aclose(refusal.code, refusal.reason)
                else:
                    peer, tools = PeerLink(websocket, served, nursery), self.workspace.find_tools(agent_id)
                    callable_tools = list_callable(self.workspace, agent_id, self._own_tools) if scenario.brain else []
                    tools = find_settings(callable_tools) | tools
                    conversation = Conversation(peer, scenario.agent, record, tools, place)
                    actor: Actor = ScenarioActor(conversation, scenario, speech, self._reciter)
                    if scenario.brain is not None:
                        actor = cast_brain(scenario.brain, conversation, scenario, speech, callable_tools)
                    await conversation.hold(actor)
                nursery.cancel_scope.cancel()
        finally:
            end_record(record, record.ending or Ending("simulator", ABNORMAL))
        if record.ending and record.ending.is_reset:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            await part_gently(stream)


@asynccontextmanager
async def open_simulator(settings: SimulatorSettings | None = None, *, port: int = 0) -> AsyncIterator[Simulator]:
    """Serve the simulated platform on loopback; leaving the context ends it and every connection at once.

    Port 0 takes a free one. OSError where the port is taken; `ConvaidError` where a scenario's audio needs a package
    that is not installed, ``settings.file`` is no file of a workspace, or a brain's key is not to be had.
    """
    settings = settings or SimulatorSettings()
    if settings.folder is not None:  # its agents are meant: nobody is to reach a scenario's by a wrong id
        settings = evolve(settings, scenarios=[name_agent(scenario) for scenario in settings.scenarios])
    speeches = [make_speech_of(scenario) for scenario in settings.scenarios]
    check_brains(settings.scenarios)
    workspace = open_workspace(settings.scenarios, settings.file, settings.folder)
    workspace.guesses = settings.scenarios[0].agent.guesses
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    address, port = listeners[0].socket.getsockname()
    simulator = Simulator(settings, speeches, workspace, f"{address}:{port}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, simulator.serve, listeners)
        yield simulator
        nursery.cancel_scope.cancel()


def name_agent(scenario: Scenario) -> Scenario:
    """Give a scenario's agent that answers to any id one of its own."""
    return evolve(scenario, agent=evolve(scenario.agent, id=scenario.agent.id or DEMO_AGENT))


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
