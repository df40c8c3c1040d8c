"""One session: the wire on one side, tools and speech on the other, and the tasks between them.

The socket belongs to the caller and outlives the tasks: a session that ends by being asked to, not by being cancelled,
lets the caller say goodbye with code 1000.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import trio
from attrs import define, field

from convaid import events
from convaid.config.model import LimitsConfig
from convaid.errors import ConvaidError, RemoteProtocolError
from convaid.outbox import Outbox
from convaid.protocol.endings import (
    SessionEnd,
    classify_close,
    format_unknown,
    link_lost,
    sound_failed,
    stopped_by_user,
)
from convaid.protocol.from_agent import (
    AgentResponse,
    Audio,
    ClientToolCall,
    ConversationInitiationMetadata,
    FromAgent,
    Interruption,
    McpToolCall,
    Ping,
    UserTranscript,
)
from convaid.protocol.to_agent import (
    ClientToolResult,
    ContextualUpdate,
    ConversationInitiationClientData,
    McpToolApprovalResult,
    Pong,
    ToAgent,
    UserAudio,
    UserMessage,
)
from convaid.protocol.user_side import UserSide
from convaid.pulse import Pulse
from convaid.session.clocks import Clocks
from convaid.session.late import LateResults
from convaid.session.speech import Speech
from convaid.speech_buffers import Preroll
from convaid.transport import Link, LinkClosed

if TYPE_CHECKING:
    from convaid.sound.sound import Sound

__all__ = ["Session", "Tools"]

log = logging.getLogger(__name__)

NORMAL_CLOSE = 1000
SEND_LIMIT = 10.0  # seconds for one frame to leave: a link that takes no data for so long is lost
FLUSH_LIMIT = 0.5  # seconds for the last frames to leave before we say goodbye
LULL = 0.001  # seconds without a message: what has come has been read
BEGIN_INTERVAL = 0.02  # seconds after which a tool call begins even if messages keep coming
LOGGED_FRAMES = 10  # malformed frames of one session that are logged; a flood is only counted

STOPPED = "The tool was stopped before it finished, because the program that runs it is shutting down."
CUT_OFF = "The tool was stopped before it finished, because the connection to the agent was lost."


class Tools(Protocol):
    """What runs the tools; `convaid.calls.ToolCalls`."""

    def call(self, call: ClientToolCall, conversation: str, conversation_id: str) -> Awaitable[events.ToolAnswer]:
        """Run one. Always answers; raises nothing but `trio.Cancelled`."""
        ...

    def approve(self, call: McpToolCall, conversation: str, conversation_id: str) -> Awaitable[bool]:
        """Whether the platform may run a call of its own. Raises nothing but `trio.Cancelled`."""
        ...

    def interrupt(self, conversation_id: str) -> None:
        """The user has cut in."""
        ...


@define(eq=False)
class Session:
    """The conversation on one open link, from our first frame to whatever ends it."""

    name: str
    link: Link
    limits: LimitsConfig
    tools: Tools
    publish: Callable[[events.Event], None]
    sound: Sound | None
    """None in text conversations: agent speech that arrives all the same is counted and dropped."""
    preroll: Preroll | None = None
    """What attends to the sound's ear, since before the session began."""
    late_results: LateResults = field(factory=LateResults)
    """What the agent is to be told of tools that it does not wait for any more."""

    side: UserSide = field(init=False, factory=UserSide)
    end: SessionEnd | None = field(init=False, default=None)
    heard: tuple[events.Heard, ...] = field(init=False, default=())
    """How far the agent's last words had been heard, where the end cut them off."""
    connected_at: float | None = field(init=False, default=None)
    """When the platform confirmed the conversation, on trio's clock."""
    _outbox: Outbox = field(init=False, factory=Outbox)
    _clocks: Clocks = field(init=False)
    _speech: Speech | None = field(init=False, default=None)
    _nursery: trio.Nursery = field(init=False)
    _alarm: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    _running: dict[str, trio.CancelScope] = field(init=False, factory=dict)
    _called: deque[ClientToolCall] = field(init=False, factory=deque)
    """Tool calls that have not begun yet."""
    _came_at: float = field(init=False, default=-math.inf)
    """When the last message came."""
    _began_at: float = field(init=False, default=-math.inf)
    """When the last tool call began."""
    _is_quiet: trio.Event = field(init=False, factory=trio.Event)
    _takes_calls: bool = field(init=False, default=True)
    _logged_frames: int = field(init=False, default=0)
    _reading: Pulse = field(init=False, factory=lambda: Pulse("the reader"))
    _watching: Pulse = field(init=False, factory=lambda: Pulse("the watch over the clocks"))
    _ending: Pulse = field(init=False, factory=lambda: Pulse("the end of the session"))

    async def run(
        self,
        initiation: ConversationInitiationClientData,
        raw: Mapping[str, Any],
        stop: trio.Event,
        last_words: float,
    ) -> SessionEnd:
        """Converse until something ends the session, and return what did.

        ``initiation`` is our first frame, with ``raw`` merged into it for what is not modelled.
        ``stop`` asks for the end: running tools then have ``last_words`` seconds to finish, and all of them an answer.
        Cancelling ends at once and owes nothing.
        """
        self._clocks = Clocks(self.limits, trio.current_time())
        self._ending.attach()
        self._ending.rest()
        self._outbox.put(self.side.start(initiation, raw))
        try:
            async with trio.open_nursery() as writing:  # outlives the others, so that no frame is cut in the middle
                writing.start_soon(self.send_events)
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self.receive_events)
                    self._nursery.start_soon(self.ping_link)
                    self._nursery.start_soon(self.watch_clocks)
                    self._nursery.start_soon(self.wait_for_stop, stop, last_words)
                with trio.move_on_after(FLUSH_LIMIT):
                    await self._outbox.wait_sent()
                writing.cancel_scope.cancel()
        finally:
            for pulse in self.pulses:
                pulse.rest()
            self.late_results.arrived = None
            self.side.end()
        assert self.end is not None
        return self.end

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Those of its tasks that must never hang."""
        speech = self._speech.pulses if self._speech is not None and self.end is None else ()
        return (self._reading, self._watching, self._ending, *speech)

    def count_losses(self) -> dict[str, int]:
        """What was ignored, dropped or filled up with silence so far, and how often; only what has happened."""
        losses = dict(self.side.counts)
        losses["microphone chunks not sent in time"] = self._outbox.audio_dropped
        if self._speech is not None:
            losses |= self._speech.count_losses()
        return {what: count for what, count in losses.items() if count}

    def finish(self, end: SessionEnd) -> None:
        """End the session's tasks; the first reason given is the one that counts."""
        self.end = self.end or end
        if self._speech is not None:
            self.heard = self.heard or self._speech.cut_off()
        self._ending.beat()
        self._nursery.cancel_scope.cancel()

    # --- what is said ------------------------------------------------------------------------------------------

    def say(self, message: ToAgent) -> None:
        """Queue a message of the user's. Raises `LocalProtocolError` after the end of the session."""
        self._outbox.put(self.side.send(message))
        if isinstance(message, UserMessage):
            self._clocks.owe_answer(trio.current_time())
            self.set_alarm()
        self.publish(events.MessageSent(self.name, self.side.conversation_id, message))

    async def send_events(self) -> None:
        """Write what is queued; the only task that sends messages. One that is cut short ends the connection."""
        is_open = True
        while is_open:
            frame = await self._outbox.take()
            with trio.move_on_after(SEND_LIMIT) as limit:
                is_open = await self.link.send(frame)  # where it is not, the receiving task learns why
            if limit.cancelled_caught:
                self.finish(link_lost(f"the platform took no data for {SEND_LIMIT:g} s"))
                break
        self._outbox.close()

    def silence(self) -> float:
        """Cut the agent's speech off here: returns the seconds of it that will not be heard.

        The platform knows nothing of it, so what it still sends of the same turn is dropped, as after an interruption.
        """
        return self.be_interrupted(self.side.interrupt())

    def be_interrupted(self, event_id: int) -> float:
        """Say nothing more of the agent's up to this event: returns the seconds of it that will not be heard."""
        seconds, heard = self._speech.interrupt(event_id) if self._speech else (0.0, ())
        self.tools.interrupt(self.side.conversation_id or "")
        self.publish(events.SpeechInterrupted(self.name, self.side.conversation_id, event_id, seconds, heard))
        return seconds

    def send_audio(self, chunk: str, came_at: float | None, is_preroll: bool) -> None:
        """Queue a chunk of microphone audio, base64; see `convaid.session.upload.SendChunk`."""
        self._outbox.put_audio(self.side.send(UserAudio(chunk)), came_at, is_preroll=is_preroll)

    @property
    def audio_ages(self) -> Collection[float]:
        """How old the latest chunks of microphone audio were when they were sent, in seconds."""
        return self._outbox.audio_ages

    # --- what is heard -----------------------------------------------------------------------------------------

    async def receive_events(self) -> None:
        """Take what comes and act on it. Waits for nothing but the wire: pongs and interruptions are at once."""
        self._reading.attach()
        while True:
            self._reading.rest()
            frame = await self.link.receive()
            self._reading.beat()
            if isinstance(frame, LinkClosed):
                break
            message = self.side.receive(frame)
            if isinstance(message, RemoteProtocolError):
                self.note_malformed(message)
            elif message is not None:
                self.react(message)
            self._came_at = trio.current_time()
        self.end = classify_close(
            frame.code, frame.reason, self.side.last_error, had_metadata=self.side.metadata is not None
        )
        if frame.code == NORMAL_CLOSE and self._speech is not None:
            self._reading.rest()  # as long as the speech lasts
            await self._speech.play_tail()
        self.finish(self.end)

    def react(self, message: FromAgent) -> None:
        """Act on one message, at once."""
        match message:
            case Ping():
                self._outbox.put_pong(self.side.send(Pong(message.event_id)))
                return
            case Audio():
                self.play(message)
            case ClientToolCall():
                self.begin_tool(message)
            case UserTranscript():
                self._clocks.owe_answer(trio.current_time())
                self.set_alarm()
                self.publish(events.MessageReceived(self.name, self.side.conversation_id, message))
                if self._speech is not None and self._speech.is_own(message.user_transcript):
                    self.publish(events.SelfHeard(self.name, self.side.conversation_id, message.user_transcript))
            case AgentResponse():
                if self._speech is not None:
                    self._speech.note_response(message)
                self.publish(events.MessageReceived(self.name, self.side.conversation_id, message))
            case Interruption():
                self.be_interrupted(message.event_id)
            case ConversationInitiationMetadata():
                self.begin(message)
            case McpToolCall(state="awaiting_approval"):
                self._nursery.start_soon(self.decide, message, name=f"approval {message.tool_name}")
                self.publish(events.MessageReceived(self.name, self.side.conversation_id, message))
            case _:
                self.publish(events.MessageReceived(self.name, self.side.conversation_id, message))
        self._clocks.note_message(message, trio.current_time())
        self.set_alarm()

    def begin(self, metadata: ConversationInitiationMetadata) -> None:
        """The platform has confirmed the conversation: open the sound, if there is to be any."""
        self.connected_at = trio.current_time()
        if self.sound is not None:
            try:
                self._speech = Speech(
                    metadata,
                    self.limits.chunk,
                    self.sound,
                    self.preroll or Preroll(0),
                    send_chunk=self.send_audio,
                    note_speaking=self.note_speaking,
                    note_user=self.note_user,
                )
            except ValueError as error:
                self.finish(format_unknown(str(error)))
                return
            self._nursery.start_soon(self.carry_speech, self._speech)
        self.publish(
            events.Connected(
                self.name,
                metadata.conversation_id,
                metadata.user_input_audio_format,
                metadata.agent_output_audio_format,
            )
        )
        self.late_results.arrived = self.tell_late_results
        self.tell_late_results()

    def tell_late_results(self) -> None:
        """Tell the agent what became of tools that it does not wait for any more."""
        while self.end is None and (late := self.late_results.take()):
            self.say(ContextualUpdate(late.text))
            late.told()

    async def carry_speech(self, speech: Speech) -> None:
        """Carry speech both ways; devices that cannot be opened end the session, because a deaf agent is of no use."""
        try:
            await speech.run()
        except ConvaidError as error:
            self.finish(sound_failed(str(error)))

    def play(self, audio: Audio) -> None:
        """Hand agent speech on, or count it where nobody listens."""
        if self._speech is None:
            self.side.counts["audio without a listener"] += 1
            return
        try:
            self._clocks.note_speech(trio.current_time() + self._speech.play(audio))
        except ValueError as error:
            self.note_malformed(RemoteProtocolError(f"audio_base_64 is not base64: {error}", audio.audio_base_64))

    def note_speaking(self, is_speaking: bool) -> None:
        """The agent begins to speak, or has fallen silent, as far as it is heard here."""
        self.publish(events.AgentSpeaking(self.name, self.side.conversation_id, is_speaking))

    def note_user(self) -> None:
        """The user speaks, as far as can be told here."""
        self._clocks.note_user(trio.current_time())

    def note_malformed(self, error: RemoteProtocolError) -> None:
        """Log a frame that breaks the protocol, and go on."""
        self._logged_frames += 1
        if self._logged_frames <= LOGGED_FRAMES:
            log.warning("%s: ignoring a malformed frame: %s: %r", self.name, error, error.excerpt)

    # --- tools -------------------------------------------------------------------------------------------------

    def begin_tool(self, call: ClientToolCall) -> None:
        """See to it that a task sees a tool call to its answer: at once, or when it is its turn among many."""
        self._running[call.tool_call_id] = trio.CancelScope()
        self._clocks.begin_tool()
        self._called.append(call)
        if len(self._called) > 1:
            return  # `begin_tools` is at it
        if trio.current_time() >= self._began_at + LULL:
            self._begin_next()
        else:
            self._nursery.start_soon(self.begin_tools)

    async def begin_tools(self) -> None:
        """Begin the calls that wait, one in each turn of the loop, when nothing else comes.

        To begin a call takes many times as long as to read it: a ping that stands behind hundreds of them on the wire
        is not to wait until they all run.
        """
        while self._called:
            patience = trio.current_time() + BEGIN_INTERVAL if self._takes_calls else -math.inf
            await trio.lowlevel.checkpoint()
            while (pause := min(self._came_at + LULL, patience) - trio.current_time()) > 0:  # noqa: ASYNC110
                await trio.sleep(pause)
            self._begin_next()

    def _begin_next(self) -> None:
        call = self._called.popleft()
        self._began_at = trio.current_time()
        self._nursery.start_soon(self.run_tool, call, name=f"tool {call.tool_name}")

    async def run_tool(self, call: ClientToolCall) -> None:
        """See one tool call to its one answer."""
        conversation_id = self.side.conversation_id or ""
        began = trio.current_time()
        self.publish(events.ToolCallStarted(self.name, conversation_id, call))
        answer: events.ToolAnswer | None = None
        is_delivered = False
        try:
            if self._takes_calls:
                with self._running[call.tool_call_id]:
                    answer = await self.tools.call(call, self.name, conversation_id)
            answer = answer or events.ToolAnswer(STOPPED, True, "stopped", trio.current_time() - began)
            self._outbox.put(self.side.send(ClientToolResult(call.tool_call_id, answer.result, answer.is_error)))
            is_delivered = True
        finally:
            answer = answer or events.ToolAnswer(CUT_OFF, True, "stopped", trio.current_time() - began)
            self.end_tool(call)
            self.publish(events.ToolCallEnded(self.name, conversation_id, call, answer, is_delivered))

    async def decide(self, call: McpToolCall) -> None:
        """Answer once whether the platform may run a call of its own, unless it does not ask any more."""
        is_approved = await self.tools.approve(call, self.name, self.side.conversation_id or "")
        if call.tool_call_id in self.side.open_approvals:
            self._outbox.put(self.side.send(McpToolApprovalResult(call.tool_call_id, is_approved)))

    def end_tool(self, call: ClientToolCall) -> None:
        """Note that a tool call has had its answer."""
        del self._running[call.tool_call_id]
        self._clocks.end_tool(call, trio.current_time())
        self.set_alarm()
        if not self._running:
            self._is_quiet.set()

    async def wait_tools(self) -> None:
        """Wait until no tool runs."""
        while self._running:
            self._is_quiet = trio.Event()
            await self._is_quiet.wait()

    # --- clocks and the end ------------------------------------------------------------------------------------

    async def ping_link(self) -> None:
        """Ask for a sign of life whenever the link has been quiet: a half-open connection shows in no other way."""
        interval = self.limits.ping_interval
        pinged_at = trio.current_time()
        while True:
            await trio.sleep_until(max(self.link.heard_at, pinged_at) + interval)
            if trio.current_time() >= self.link.heard_at + interval:
                pinged_at = trio.current_time()
                self.link.ping()

    async def watch_clocks(self) -> None:
        """End the session when a clock runs out, unless it is over already and only plays its last words."""
        self._watching.attach()
        while self.end is None:
            overdue = self._clocks.find_overdue(trio.current_time(), self.link.heard_at)
            if overdue is not None:
                self.finish(overdue)
            self._watching.due = self._clocks.find_next_check(self.link.heard_at)
            with trio.CancelScope(deadline=self._watching.due) as self._alarm:
                await trio.sleep_forever()
        self._watching.rest()

    def set_alarm(self) -> None:
        """Wake `watch_clocks` earlier, if something is due earlier now."""
        self._alarm.deadline = min(self._alarm.deadline, self._clocks.find_next_check(self.link.heard_at))

    async def wait_for_stop(self, stop: trio.Event, last_words: float) -> None:
        """When asked to stop: let tools finish within ``last_words`` seconds, and answer for the others."""
        await stop.wait()
        with trio.move_on_after(last_words):
            await self.wait_tools()
        self._takes_calls = False
        for scope in self._running.values():
            scope.cancel()
        with trio.move_on_after(FLUSH_LIMIT):
            await self.wait_tools()
        self.finish(stopped_by_user())
