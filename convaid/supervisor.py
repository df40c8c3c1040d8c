"""Keeps a conversation going: connects, converses, says why it ended, and is the only place that connects again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import attrs
import trio
from attrs import define, field

from convaid import events
from convaid.backoff import Backoff
from convaid.budget import NOTE_INTERVAL, Budget
from convaid.config import ConversationConfig, Secret
from convaid.errors import ConvaidError, LinkError, LinkRefused
from convaid.protocol.endings import (
    Cause,
    Retry,
    SessionEnd,
    classify_refusal,
    link_lost,
    over_budget,
    own_fault,
    stopped_by_user,
)
from convaid.protocol.to_agent import ContextualUpdate, ToAgent, UserMessage
from convaid.recap import Recap
from convaid.recording import RecordedSession, Recorder, open_recording
from convaid.rest import fetch_signed_url, make_agent_query, make_authorization, mint_signed_url
from convaid.session import Session, Tools
from convaid.session.initiation import build_initiation
from convaid.session.late import LateResults
from convaid.speech_buffers import Preroll
from convaid.transport import open_link

if TYPE_CHECKING:
    from convaid.devices.interfaces import DeviceNote
    from convaid.sound.chimes import Chime
    from convaid.sound.sound import Sound

__all__ = ["Conversation", "NotConnected", "keep_conversing"]

log = logging.getLogger(__name__)

PREROLL_LIMIT = 3.0  # seconds of what is said while connecting: the oldest goes

OVER = {"once": (Retry.NO,), "on_demand": (Retry.NO, Retry.REPAIR)}
"""The endings after which a conversation does not connect again by itself, by how it starts."""


class NotConnected(ConvaidError):
    """There is no session to say it in; one may come."""


@define(eq=False)
class Conversation:
    """A conversation of the configuration, with all that it needs; `keep_conversing` keeps it going."""

    name: str
    settings: ConversationConfig
    base_url: str
    """The platform's REST address, ``https://…`` (``http://`` on loopback); the WebSocket's follows from it."""
    api_key: Secret | None
    tools: Tools
    publish: Callable[[events.Event], None]
    sound: Sound | None
    """Ear and mouth, which somebody else runs; None in text."""
    stop: trio.Event
    """Set to ask for the end, after which running tools have ``last_words`` seconds; a new one for each opening."""
    last_words: float
    recorder: Recorder | None = None
    """Where sessions are recorded, if they are."""
    budget: Budget | None = None
    """What limits how long it may be open; without one, nothing does."""
    late_results: LateResults = field(factory=LateResults)
    recap: Recap = field(init=False)
    """What was said and done, for a session that goes on after one that broke off."""
    has_begun: trio.Event = field(init=False, factory=trio.Event)
    """Set once the platform has confirmed the session; a new one for each."""
    greets_always: bool = field(init=False)
    """The agent is to greet, also where a conversation goes on."""
    session: Session | None = field(init=False, default=None)
    """The session that is open now."""
    retry: events.RetryPlanned | None = field(init=False, default=None)
    """While it waits to connect again."""
    last_end: SessionEnd | None = field(init=False, default=None)
    """How its latest session ended."""
    _is_muted: bool = field(init=False, default=False)
    changed_at: float = field(init=False, factory=trio.current_time)
    """When it was opened or closed, or began to connect or to wait."""
    losses: Counter[str] = field(init=False, factory=Counter)
    """What was ignored, dropped or filled up with silence in the sessions that are over, and how often."""

    def __attrs_post_init__(self) -> None:
        self.recap = Recap(self.settings.recap)
        self.greets_always = self.settings.recap.greet_again
        if self.sound is not None:
            self.sound.observe(self.note_device)

    @property
    def is_muted(self) -> bool:
        """The microphone is closed and the agent hears silence, in this session and the next."""
        return self._is_muted

    @is_muted.setter
    def is_muted(self, is_muted: bool) -> None:
        self._is_muted = is_muted
        if self.sound is not None:
            self.sound.ear.is_muted = is_muted

    @property
    def conversation_id(self) -> str | None:
        """The platform's, of the session that is open."""
        return self.session.side.conversation_id if self.session is not None else None

    def note_device(self, note: DeviceNote) -> None:
        """Tell everybody what has become of a device."""
        self.publish(
            events.DeviceChanged(
                self.name, self.conversation_id, note.role, note.state, note.device, note.detail, note.is_repeated
            )
        )

    def chime(self, chime: Chime) -> None:
        """Have it heard here that the conversation is opened, has failed or is at its end."""
        if self.sound is not None:
            self.sound.chime(chime)

    def note(self, event: events.Event) -> None:
        """Take note of what happens in a session, and tell everybody."""
        self.recap.note(event)
        self.publish(event)
        if isinstance(event, events.Connected):
            self.has_begun.set()
            if self.settings.recap.way == "context" and (text := self.recap.write(trio.current_time())):
                self.send(ContextualUpdate(text))

    def learn_to_greet(self, end: SessionEnd) -> SessionEnd:
        """Where the agent does not allow to be kept from greeting, let it greet from now on, and try again at once."""
        if end.cause is not Cause.CONTRACT_FAULT or "first_message" not in end.detail:
            return end
        log.warning("%s: the agent greets again: its first message may not be overridden (%s)", self.name, end.detail)
        self.greets_always = True
        return attrs.evolve(end, retry=Retry.SOON)

    @property
    def is_connected(self) -> bool:
        """Whether the agent is there to be talked to; from any thread."""
        session = self.session
        return session is not None and session.side.metadata is not None and session.end is None

    def say(self, text: str) -> None:
        """Say ``text`` as the user. Raises `NotConnected` between sessions."""
        self.send(UserMessage(text))

    def send(self, message: ToAgent) -> None:
        """Send a message of the user's side. Raises `NotConnected` between sessions."""
        if self.session is None or not self.is_connected:
            raise NotConnected(f"conversation {self.name} is not connected")
        self.session.say(message)

    def mute(self, is_muted: bool) -> None:
        """Close the microphone, so that the agent hears silence; or open it again."""
        if is_muted == self.is_muted:
            return
        self.is_muted = is_muted
        self.publish(events.Muted(self.name, self.conversation_id, is_muted))

    def interrupt(self) -> float:
        """Silence the agent at once, here alone: returns the seconds of its speech that will not be heard.

        The platform has no message for it, and goes on; what it sends of that turn from now on is not played. Raises
        `NotConnected` between sessions.
        """
        if self.session is None or not self.is_connected:
            raise NotConnected(f"conversation {self.name} is not connected")
        return self.session.silence()


async def keep_conversing(conversation: Conversation) -> SessionEnd:
    """Hold one session after another until the conversation is over, and return how the last one ended.

    It is over when ``stop`` is set, when a session came to a normal end and the next one is not to follow by itself
    (``start = "once"`` or ``"on_demand"``), and when somebody waits for it on demand and has to repair something first.
    Nothing that the network or the platform does raises; what does is a bug.
    """
    backoff = Backoff(conversation.settings.limits.stable_after)
    over = OVER.get(conversation.settings.start, ())
    is_new, is_failing = True, False
    while True:
        began = trio.current_time()
        if is_new:
            conversation.chime("activation")
        end = await hold_session(conversation)
        conversation.last_end = end
        is_new, was_failing = end.retry is Retry.NO, is_failing and not conversation.has_begun.is_set()
        is_failing = not is_new
        if is_new:
            conversation.chime("end")
        elif not was_failing:
            conversation.chime("error")
        lived = trio.current_time() - began
        if conversation.stop.is_set() or end.retry in over:
            return end
        delay = backoff.find_delay(end.retry, lived)
        conversation.retry = events.RetryPlanned(conversation.name, delay, end)
        conversation.changed_at = trio.current_time()
        conversation.publish(conversation.retry)
        try:
            with trio.move_on_after(delay):
                await conversation.stop.wait()
                return end
        finally:
            conversation.retry = None


async def hold_session(conversation: Conversation) -> SessionEnd:
    """Connect, converse until the session ends, and close; every ending is published and returned as a value."""
    conversation.changed_at = began = trio.current_time()
    conversation.has_begun = trio.Event()
    end, session = stopped_by_user("cut off without a goodbye"), None
    async with open_recording(conversation.recorder) as recording:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop_connecting, conversation, nursery.cancel_scope)
                if conversation.budget is not None:
                    nursery.start_soon(watch_budget, conversation, conversation.budget)
                with listen(conversation.sound) as preroll:
                    end = await connect_and_converse(conversation, recording, preroll)
                nursery.cancel_scope.cancel()
            return end
        finally:
            session, conversation.session = conversation.session, None
            if conversation.budget is not None:
                conversation.budget.forget(conversation.name)
            conversation_id = session.side.conversation_id if session else None
            heard = session.heard if session else ()
            counts = session.count_losses() if session else {}
            if recording is not None:
                recording.note_end(end, counts)
                counts |= {"frames not recorded": recording.lost} if recording.lost else {}
            conversation.losses.update(counts)
            conversation.recap.note_end(end, trio.current_time())
            seconds = trio.current_time() - began
            conversation.publish(events.Ended(conversation.name, conversation_id, end, seconds, counts, heard))


@contextmanager
def listen(sound: Sound | None) -> Iterator[Preroll | None]:
    """While inside, the microphone is heard, and kept for the agent that is being connected."""
    if sound is None:
        yield None
        return
    preroll = Preroll(sound.ear.format.bytes_for(PREROLL_LIMIT))
    with sound.ear.attend(preroll.put):
        yield preroll


async def stop_connecting(conversation: Conversation, connecting: trio.CancelScope) -> None:
    """When asked to stop before there is a session, give up connecting; a session sees to its own end."""
    await conversation.stop.wait()
    if conversation.session is None:
        connecting.cancel()


async def watch_budget(conversation: Conversation, budget: Budget) -> None:
    """Count for how long a session is open, and end it when it may be no longer."""
    await conversation.has_begun.wait()
    began, meter = trio.current_time(), budget.begin(conversation.name)
    try:
        while True:
            left, why = meter.count_seconds_left(trio.current_time() - began)
            if left <= 0 and conversation.session is not None:
                conversation.session.finish(over_budget(why))
                await trio.sleep_forever()
            await trio.sleep(min(max(left, 0), NOTE_INTERVAL))
            meter.note(trio.current_time() - began)
    finally:
        meter.note(trio.current_time() - began)


async def connect_and_converse(
    conversation: Conversation, recording: RecordedSession | None, preroll: Preroll | None
) -> SessionEnd:
    """Open a link and hold a session on it, which is in ``conversation.session`` from then on."""
    limits, recap = conversation.settings.limits, conversation.recap.write(trio.current_time())
    greets = conversation.greets_always or not recap
    if conversation.budget is not None:
        if refusal := conversation.budget.find_refusal(conversation.name):
            return over_budget(refusal.reason)
        conversation.budget.let_in(conversation.name)
    try:
        url, headers = await find_url(conversation)
        conversation.publish(events.Connecting(conversation.name, urlsplit(url).hostname or ""))
        async with open_link(
            url, headers=headers, connect=limits.connect, handshake=limits.handshake, disconnect=limits.disconnect
        ) as link:
            conversation.session = Session(
                conversation.name,
                link if recording is None else recording.tap(link),
                limits,
                conversation.tools,
                conversation.note,
                conversation.sound,
                preroll,
                conversation.late_results,
            )
            end = await conversation.session.run(
                build_initiation(conversation.settings, recap, greets=greets),
                conversation.settings.initiation,
                conversation.stop,
                conversation.last_words,
            )
            link.is_given_up = end.cause is Cause.LINK_LOST
            return end if greets else conversation.learn_to_greet(end)
    except LinkRefused as refusal:
        return classify_refusal(refusal.status, refusal.detail)
    except LinkError as error:
        return link_lost(str(error))
    except Exception as error:
        log.error("%s: a fault of convaid's ended the session", conversation.name, exc_info=error)
        return own_fault(type(error).__name__)


async def find_url(conversation: Conversation) -> tuple[str, dict[str, str]]:
    """The WebSocket URL of the next session, and the headers that open it. Raises as `open_link` does.

    A signed URL is minted anew every time: it is good for 15 minutes, and may be for one conversation only.
    """
    settings, api_key = conversation.settings, conversation.api_key
    query = make_agent_query(settings)
    match settings.auth:
        case "signed_url_from":
            headers = make_authorization(settings.signed_url_secret_env)
            url = await fetch_signed_url(settings.signed_url_from, headers=headers, time_limit=settings.limits.connect)
            return url, {}
        case "signed_url":
            assert api_key is not None, "the configuration was checked"
            url = await mint_signed_url(
                conversation.base_url, api_key.reveal(), query, time_limit=settings.limits.connect
            )
            return url, {}
    query.pop("branch_id", None)  # the WebSocket takes it in the first frame
    url = f"ws{conversation.base_url.removeprefix('http')}/v1/convai/conversation?{urlencode(query)}"
    if settings.auth == "api_key_header":
        assert api_key is not None, "the configuration was checked"
        return url, {"xi-api-key": api_key.reveal()}
    return url, {}
