"""One conversation on the simulator: what the platform does on the wire, whatever the agent says.

How it begins, pings, clocks, the record of what happened, and how it ends. What the agent says and does is `acting`'s.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NoReturn

import trio

from convaid.errors import RemoteProtocolError
from convaid.patterns import PatternTimeout
from convaid.protocol.agent_side import INVALID_MESSAGE, AgentSide
from convaid.protocol.from_agent import (
    AgentToolRequest,
    AgentToolResponse,
    AsrInitiationMetadata,
    ConversationInitiationMetadata,
    Error,
    FromAgent,
    UserTranscript,
)
from convaid.simulator.admission import Place, wait_in_queue
from convaid.simulator.calling import Calls
from convaid.simulator.clocks import Clocks
from convaid.simulator.inbox import Inbox
from convaid.simulator.record import ConversationRecord, Ending, Failure, Line, Speaker
from convaid.simulator.roles import Actor, Peer, Voicing
from convaid.simulator.scenario import Agent, Fail, Refuse
from convaid.simulator.starting import Terms, settle_terms
from convaid.simulator.tool_settings import ToolSettings
from convaid.simulator.turns import UNHEARD, Turns, UserTurn
from convaid.transport import ABNORMAL, LinkClosed

__all__ = ["Actor", "Conversation", "Peer", "UserTurn"]

log = logging.getLogger(__name__)

INITIATION_GRACE = 1.5  # seconds that the metadata waits for an initiation; old samples never send one
ALWAYS_SENT = frozenset({"conversation_initiation_metadata", "ping", "client_tool_call", "error", "queue_status"})
OUTBOX = 256  # frames between the agent and the socket
GOODBYE_LIMIT = 1.0  # seconds that a peer has to take the last frames and to answer the close
REASON_LENGTH = 123  # bytes that a close frame has room for (RFC 6455, 5.5)


class Conversation:
    """Holds one conversation over an open connection; closing the connection is its task, closing the socket is not.

    ``tools`` are those that the platform knows of the agent's, by name; ``place`` is waited for where it is not free.
    """

    def __init__(
        self,
        peer: Peer,
        agent: Agent,
        record: ConversationRecord,
        tools: Mapping[str, ToolSettings] | None = None,
        place: Place | None = None,
    ) -> None:
        self.peer = peer
        self.agent = agent
        """From the metadata on with the user's overrides."""
        self.record = record
        self.calls = Calls(self, tools or {})
        self.turns = Turns()
        self.inbox = Inbox(self)
        self.clocks = Clocks(self)
        self.variables: dict[str, Any] = {}
        """The dynamic variables, from the metadata on."""
        self.mouth: Voicing | None = None
        """Whoever plays the agent puts it here."""
        self._place = place
        self._side = AgentSide()
        record.counts = self._side.counts
        self._outbox, self._frames = trio.open_memory_channel[str | tuple[int, bytes] | trio.Event](OUTBOX)
        self._tasks = trio.CancelScope()
        self._acting = trio.CancelScope()
        self._early_turns: deque[tuple[UserTurn, int | None]] = deque(maxlen=UNHEARD)
        self._event_id = 0
        self.has_begun = False
        """Whether the user's side has been told how the conversation is held."""

    async def hold(self, actor: Actor) -> None:
        """Talk until somebody hangs up or the link is lost. Cancelled, it leaves without a goodbye."""
        with self._outbox, self._frames, closing(self.turns):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                with self._tasks:
                    async with trio.open_nursery() as tasks:
                        tasks.start_soon(self._receive, actor)
                        tasks.start_soon(self._begin, actor)
                        tasks.start_soon(self.clocks.watch_input)
                ending = self.record.ending
                assert ending is not None  # only `end` stops the tasks
                if ending.closed_by == "agent":
                    with trio.move_on_after(GOODBYE_LIMIT) as limit:
                        await self._say_goodbye(ending)
                    if limit.cancelled_caught:
                        self.record.counts["goodbye cut short"] += 1
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
            await self.send_anyway(message)

    async def send_anyway(self, message: FromAgent) -> None:
        """Send a message whatever the agent's settings; `LocalProtocolError` for one that cannot be sent now."""
        frame = self._side.send(message)
        self.record.sent[message.wire_type] += 1
        await self._outbox.send(frame)

    async def send_raw(self, frame: str) -> None:
        """Send a frame that nobody has checked."""
        self.record.sent["raw"] += 1
        await self._outbox.send(frame)

    async def send_frame(self, opcode: int, payload: bytes) -> None:
        """Send a WebSocket frame that nobody has checked."""
        self.record.sent["frame"] += 1
        await self._outbox.send((opcode, payload))

    async def flush(self) -> None:
        """Wait until everything that was sent is on its way."""
        is_written = trio.Event()
        await self._outbox.send(is_written)
        await is_written.wait()

    @property
    def is_queued(self) -> bool:
        """Is there no place for the conversation yet?"""
        return self._place is not None and not self._place.free.is_set()

    async def await_turn(self) -> UserTurn:
        """Wait for the user's next turn; one who is silent for too long is spoken to."""
        while True:
            turn = await self.turns.next(self.agent, self.mouth.quiet_at if self.mouth else 0.0)
            if turn is not None:
                return turn
            if self.mouth is not None:
                await self.mouth.say(self.agent.silences.message)

    async def take_turn(self, turn: UserTurn, event_id: int | None = None) -> None:
        """The user has said something: tell that it was understood, and let the agent have it."""
        if not self.has_begun:
            self._early_turns.append((turn, event_id))
            return
        event_id = self.next_event_id() if event_id is None else event_id
        self.calls.end_turn()
        self.note_line("user", turn.text, event_id)
        await self.send(UserTranscript(turn.text, event_id))
        if not self.turns.put(turn):
            self.record.counts["unheard turn"] += 1

    async def give_way(self) -> None:
        """The user cuts in: the agent falls silent, unless its settings or those of a tool that runs forbid that."""
        if self.mouth and "interruption" in self.agent.client_events and not self.calls.forbid_interruption:
            await self.mouth.interrupt()

    def forget_call(self, tool_call_id: str) -> None:
        """The result of a call is no longer waited for."""
        self._side.give_up(tool_call_id)

    def note_line(self, speaker: Speaker, text: str, event_id: int | None = None) -> None:
        """Put something that was said into the transcript and the log."""
        self.record.transcript.append(Line(speaker, text, trio.current_time() - self.record.started_at, event_id))
        log.info("%s %s: %s", self.record.conversation_id, speaker, text)

    async def end(self, ending: Ending) -> NoReturn:
        """End the conversation; the first ending counts."""
        if self.record.ending is None:
            self.record.ending = ending
            self._tasks.cancel()
        await trio.sleep_forever()

    async def hang_up(self) -> NoReturn:
        """End the conversation as an agent does that has the tool for it, once the user has heard everything."""
        event_id = self.next_event_id()
        call_id = f"end_{event_id}"
        await self.send(AgentToolRequest("end_call", call_id, "system", event_id))
        await self.send(AgentToolResponse("end_call", call_id, "system", False, True, event_id))
        if self.mouth is not None:
            await self.mouth.finish()
        await self.end(Ending("agent", 1000))

    async def say_last(self, text: str) -> None:
        """Say something after which the agent says and does nothing any more, and let the user hear it all."""
        self._acting.cancel()
        if self.mouth is not None and text:
            await self.mouth.say(text)
            await self.mouth.finish()

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
            elif isinstance(frame, tuple):
                await self.peer.send_frame(*frame)
            else:
                await self.peer.send(frame)  # where the link is over `_receive` hears why

    async def _receive(self, actor: Actor) -> None:
        while True:
            frame = await self.peer.receive()
            if isinstance(frame, LinkClosed):
                if frame.is_ours:
                    await self.end(Ending("agent", frame.code, frame.reason))
                await self.end(Ending("link" if frame.code == ABNORMAL else "user", frame.code, frame.reason))
            unexpected = self._count_unexpected()
            message = self._side.receive(frame)
            if isinstance(message, RemoteProtocolError):
                log.warning("%s sent something invalid: %s", self.record.conversation_id, message)
                await self.fail(Fail(1008, "invalid_message", str(message)))
            if self.agent.guesses.late_result == "refused" and self._count_unexpected() > unexpected:
                await self.fail(Fail(1008, "invalid_message", f"{INVALID_MESSAGE}: no result is expected"))
            if message is not None:
                await self.inbox.take(message, actor)

    def _count_unexpected(self) -> int:
        return self.record.counts["unexpected result"] + self.record.counts["late result"]

    async def _begin(self, actor: Actor) -> None:
        if self._place is not None and self.is_queued:
            await wait_in_queue(self, self._place)
        self.turns.note_input(self.agent.input_limit)
        if self.agent.guesses.metadata_waits:
            await self._await_initiation()
        for frame in self.agent.first_frames:
            await self.send_raw(frame)
        await trio.sleep(self.agent.metadata_delay)
        if not self.agent.guesses.metadata_waits:
            await self._send_metadata()
            await self._await_initiation()
        terms = settle_terms(self.agent, self.record.initiation, self.calls.required_variables)
        if isinstance(terms, Fail):
            await self.fail(terms)
        if isinstance(terms, Refuse):
            await self.end(Ending("agent", terms.code, terms.reason))
        self.agent, self.variables = terms.agent, terms.variables
        if self.agent.guesses.metadata_waits:
            await self._send_metadata()
        self.has_begun = True
        while self._early_turns:
            await self.take_turn(*self._early_turns.popleft())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.clocks.send_pings)
            nursery.start_soon(self.clocks.watch_duration)
            nursery.start_soon(self.clocks.watch_silence)
            nursery.start_soon(self._act, actor, terms)

    async def _await_initiation(self) -> None:
        with trio.move_on_after(INITIATION_GRACE):
            await self.inbox.is_initiated.wait()

    async def _send_metadata(self) -> None:
        formats = self.agent.agent_output_audio_format, self.agent.user_input_audio_format
        await self.send(ConversationInitiationMetadata(self.record.conversation_id, *formats))
        if not self.agent.text_only:
            await self.send(AsrInitiationMetadata({"provider": "simulator"}))

    async def _act(self, actor: Actor, terms: Terms) -> None:
        try:
            with self._acting:
                await actor.act(terms)
        except PatternTimeout as error:
            await self.break_off(Failure(self.record.place, str(error)))

    async def _say_goodbye(self, ending: Ending) -> None:
        if ending.error is not None:
            self.record.sent["error"] += 1
            await self._outbox.send(self._side.send(ending.error))
        self._side.end()
        await self.flush()
        if not ending.is_reset:
            reason = ending.reason.encode()[:REASON_LENGTH].decode(errors="ignore")
            await self.peer.close(ending.code, reason)
