"""One conversation on the simulator: what the platform does on the wire, whatever the agent says.

How it begins, pings, clocks, the record of what happened, and how it ends. What the agent says and does is `acting`'s.
"""

from __future__ import annotations

import logging
import math
from typing import Any, NoReturn, Protocol

import pybase64
import trio
from attrs import frozen

from convaid.errors import RemoteProtocolError
from convaid.protocol.agent_side import INVALID_MESSAGE, AgentSide
from convaid.protocol.from_agent import (
    AgentToolRequest,
    ClientToolCall,
    ConversationInitiationMetadata,
    Error,
    FromAgent,
    Ping,
    UserTranscript,
)
from convaid.protocol.to_agent import (
    ClientToolResult,
    ConversationInitiationClientData,
    MultimodalMessage,
    Pong,
    ToAgent,
    UserActivity,
    UserAudio,
    UserMessage,
)
from convaid.simulator.record import CallRecord, ConversationRecord, Ending, Failure, Line, Speaker
from convaid.simulator.scenario import Agent, Fail
from convaid.simulator.starting import Terms, settle_terms
from convaid.transport import ABNORMAL, LinkClosed

__all__ = ["Actor", "Conversation", "Peer", "UserTurn"]

log = logging.getLogger(__name__)

INITIATION_GRACE = 1.5  # seconds that the metadata waits for an initiation; old samples never send one
ALWAYS_SENT = frozenset({"conversation_initiation_metadata", "ping", "client_tool_call", "error"})
OUTBOX = 256  # frames between the agent and the socket
UNHEARD = 64  # turns of the user's that the agent has not come to yet
GOODBYE_LIMIT = 1.0  # seconds that a peer has to take the last frames and to answer the close
REASON_LENGTH = 123  # bytes that a close frame has room for (RFC 6455, 5.5)


class Peer(Protocol):
    """The connection to whoever talks to the agent."""

    async def receive(self) -> str | bytes | LinkClosed: ...
    async def send(self, frame: str) -> bool: ...
    async def close(self, code: int, reason: str) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


class Actor(Protocol):
    """Who plays the agent."""

    async def act(self, terms: Terms) -> None: ...
    async def hear(self, audio: bytes) -> None: ...


@frozen
class UserTurn:
    """What the user said, in writing or by voice."""

    text: str
    is_spoken: bool = False


class Conversation:
    """Holds one conversation over an open connection; closing the connection is its task, closing the socket is not."""

    def __init__(self, peer: Peer, agent: Agent, record: ConversationRecord) -> None:
        self.peer = peer
        self.agent = agent
        self.record = record
        self._side = AgentSide()
        record.counts = self._side.counts
        self._outbox, self._frames = trio.open_memory_channel[str | trio.Event](OUTBOX)
        self._turns, self._unheard = trio.open_memory_channel[UserTurn](UNHEARD)
        self._tasks = trio.CancelScope()
        self._is_initiated = trio.Event()
        self._has_begun = trio.Event()
        self._input_wait = trio.CancelScope(deadline=trio.current_time() + agent.input_limit)
        self._event_id = 0
        self._ping = Ping(0)
        self._pinged_at = 0.0
        self._calls: dict[str, CallRecord] = {}

    async def hold(self, actor: Actor) -> None:
        """Talk until somebody hangs up or the link is lost. Cancelled, it leaves without a goodbye."""
        with self._outbox, self._frames, self._turns, self._unheard:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                with self._tasks:
                    async with trio.open_nursery() as tasks:
                        tasks.start_soon(self._receive, actor)
                        tasks.start_soon(self._begin, actor)
                        tasks.start_soon(self._watch_input)
                        tasks.start_soon(self._watch_duration)
                ending = self.record.ending
                assert ending is not None  # only `end` stops the tasks
                if ending.closed_by == "agent":
                    with trio.move_on_after(GOODBYE_LIMIT):
                        await self._say_goodbye(ending)
                nursery.cancel_scope.cancel()

    # --- for the actor ---------------------------------------------------------------------------------------------

    def next_event_id(self) -> int:
        """The id of the next step of the conversation; all parts of one turn of the agent's share one."""
        self._event_id += 1
        return self._event_id

    async def send(self, message: FromAgent) -> None:
        """Send a message, unless it is of a kind that the agent's ``client_events`` leave out."""
        await trio.lowlevel.checkpoint_if_cancelled()  # speech that was cut off must not follow the interruption
        if message.wire_type in ALWAYS_SENT or message.wire_type in self.agent.client_events:
            self.record.sent[message.wire_type] += 1
            await self._outbox.send(self._side.send(message))

    async def send_raw(self, frame: str) -> None:
        """Send a frame that nobody has checked."""
        self.record.sent["raw"] += 1
        await self._outbox.send(frame)

    async def flush(self) -> None:
        """Wait until everything that was sent is on its way."""
        is_written = trio.Event()
        await self._outbox.send(is_written)
        await is_written.wait()

    async def await_turn(self) -> UserTurn:
        """Wait for the user's next turn."""
        return await self._unheard.receive()

    async def take_turn(self, turn: UserTurn) -> None:
        """The user has said something: tell that it was understood, and let the agent have it."""
        await self._has_begun.wait()
        self.note_line("user", turn.text)
        await self.send(UserTranscript(turn.text, self.next_event_id()))
        try:
            self._turns.send_nowait(turn)
        except trio.WouldBlock:
            self.record.counts["unheard turn"] += 1

    async def call_tool(self, tool: str, parameters: dict[str, Any], *, expects_response: bool) -> CallRecord:
        """Send a tool call; its record's ``answered`` is set when the result comes."""
        event_id = self.next_event_id()
        call = CallRecord(tool, f"call_{event_id}_{self.record.conversation_id}", parameters, trio.current_time())
        self.record.calls.append(call)
        self._calls[call.tool_call_id] = call
        await self.send(AgentToolRequest(tool, call.tool_call_id, "client", event_id))
        await self.send(ClientToolCall(tool, call.tool_call_id, parameters, event_id, expects_response))
        return call

    def give_up_call(self, call: CallRecord) -> None:
        """A result that still comes is late, and ignored."""
        self._side.give_up(call.tool_call_id)
        self._calls.pop(call.tool_call_id, None)

    def note_line(self, speaker: Speaker, text: str) -> None:
        """Put something that was said into the transcript and the log."""
        self.record.transcript.append(Line(speaker, text, trio.current_time() - self.record.started_at))
        log.info("%s %s: %s", self.record.conversation_id, speaker, text)

    async def end(self, ending: Ending) -> NoReturn:
        """End the conversation; the first ending counts."""
        if self.record.ending is None:
            self.record.ending = ending
            self._tasks.cancel()
        await trio.sleep_forever()

    async def fail(self, failure: Fail) -> NoReturn:
        """End the conversation as the platform does when something is wrong: an error frame, then the same code."""
        error = Error(failure.code, failure.message or None, failure.error_type)
        await self.end(Ending("agent", failure.code, failure.message, error))

    async def break_off(self, failure: Failure) -> NoReturn:
        """End the conversation because the scenario's expectation was not met."""
        self.record.failure = failure
        log.warning("%s does not follow the scenario: %s", self.record.conversation_id, failure)
        await self.fail(Fail(1008, message=f"scenario: {failure}"))

    # --- tasks -----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        async for frame in self._frames:
            if isinstance(frame, trio.Event):
                frame.set()
            else:
                await self.peer.send(frame)  # where the link is over `_receive` hears why

    async def _receive(self, actor: Actor) -> None:
        while True:
            frame = await self.peer.receive()
            if isinstance(frame, LinkClosed):
                await self.end(Ending("link" if frame.code == ABNORMAL else "user", frame.code, frame.reason))
            message = self._side.receive(frame)
            if isinstance(message, RemoteProtocolError):
                log.warning("%s sent something invalid: %s", self.record.conversation_id, message)
                await self.fail(Fail(1008, "invalid_message", str(message)))
            if message is not None:
                await self._take(message, actor)

    async def _take(self, message: ToAgent, actor: Actor) -> None:
        self.record.received[message.wire_type or "user_audio_chunk"] += 1
        if isinstance(message, UserAudio | UserMessage | UserActivity | MultimodalMessage):
            self._input_wait.deadline = trio.current_time() + self.agent.input_limit
        if not isinstance(message, UserAudio | Pong):
            self.record.messages.append(message)
        match message:
            case UserAudio(user_audio_chunk=chunk):
                self._is_initiated.set()  # the official Python SDK may send audio before the platform has answered
                try:
                    audio = pybase64.b64decode(chunk, validate=True)
                except ValueError as error:
                    await self.fail(Fail(1008, "invalid_message", f"{INVALID_MESSAGE}: user_audio_chunk: {error}"))
                await actor.hear(audio)
            case Pong(event_id=self._ping.event_id):
                self._ping = Ping(self._ping.event_id, round((trio.current_time() - self._pinged_at) * 1000))
            case ConversationInitiationClientData():
                self.record.initiation = message
                self._is_initiated.set()
            case ClientToolResult():
                self._take_result(message)
            case UserMessage(text=str(text)) | MultimodalMessage(text=UserMessage(text=str(text))):
                await self.take_turn(UserTurn(text))

    def _take_result(self, result: ClientToolResult) -> None:
        call = self._calls.pop(result.tool_call_id)
        call.answered_at, call.result, call.is_error = trio.current_time(), result.result, result.is_error
        call.answered.set()
        milliseconds = (call.answered_at - call.asked_at) * 1000
        outcome = "error" if result.is_error else "result"
        log.info(
            "%s tool %s %s: %s %s (%.1f ms)",
            self.record.conversation_id,
            call.tool,
            call.parameters,
            outcome,
            call.result,
            milliseconds,
        )

    async def _begin(self, actor: Actor) -> None:
        with trio.move_on_after(INITIATION_GRACE):
            await self._is_initiated.wait()
        await trio.sleep(self.agent.metadata_delay)
        terms = settle_terms(self.agent, self.record.initiation)
        if isinstance(terms, Fail):
            await self.fail(terms)
        await self.send(
            ConversationInitiationMetadata(
                self.record.conversation_id, self.agent.agent_output_audio_format, self.agent.user_input_audio_format
            )
        )
        self._has_begun.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_pings)
            nursery.start_soon(actor.act, terms)

    async def _send_pings(self) -> None:
        if math.isinf(self.agent.ping_interval):
            return
        while True:
            self._ping = Ping(self._ping.event_id + 1, self._ping.ping_ms)
            self._pinged_at = trio.current_time()
            await self.send(self._ping)
            await trio.sleep(self.agent.ping_interval)

    async def _watch_input(self) -> None:
        with self._input_wait:
            await trio.sleep_forever()
        message = f"No user input for {self.agent.input_limit:g} seconds."
        await self.fail(Fail(1002, "transport_receive_timeout", message))

    async def _watch_duration(self) -> None:
        await trio.sleep(self.agent.max_duration)
        await self.fail(Fail(1000, "max_duration_exceeded", "Conversation has exceeded maximum duration."))

    async def _say_goodbye(self, ending: Ending) -> None:
        if ending.error is not None:
            self.record.sent["error"] += 1
            await self._outbox.send(self._side.send(ending.error))
        self._side.end()
        await self.flush()
        if not ending.is_reset:
            reason = ending.reason.encode()[:REASON_LENGTH].decode(errors="ignore")
            await self.peer.close(ending.code, reason)
