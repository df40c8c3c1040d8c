"""Keeps a conversation going: connects, converses, says why it ended, and is the only place that connects again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import trio
from attrs import define, field

from convaid import events
from convaid.backoff import Backoff
from convaid.config import ConversationConfig, Secret
from convaid.errors import ConvaidError, LinkError, LinkRefused
from convaid.protocol.endings import Cause, Retry, SessionEnd, classify_refusal, link_lost, own_fault, stopped_by_user
from convaid.protocol.to_agent import UserMessage
from convaid.recording import RecordedSession, Recorder, open_recording
from convaid.rest import fetch_signed_url, mint_signed_url
from convaid.session import Session, Tools
from convaid.session.initiation import build_initiation
from convaid.session.late import LateResults
from convaid.session.speech import OpenSound
from convaid.transport import open_link

__all__ = ["Conversation", "NotConnected", "keep_conversing"]

log = logging.getLogger(__name__)


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
    open_sound: OpenSound | None
    stop: trio.Event
    """Set to ask for the end, after which running tools have ``last_words`` seconds."""
    last_words: float
    recorder: Recorder | None = None
    """Where sessions are recorded, if they are."""
    late_results: LateResults = field(init=False, factory=LateResults)
    session: Session | None = field(init=False, default=None)
    """The session that is open now."""

    def say(self, text: str) -> None:
        """Say ``text`` as the user. Raises `NotConnected` between sessions."""
        if self.session is None or self.session.side.metadata is None or self.session.end is not None:
            raise NotConnected(f"conversation {self.name} is not connected")
        self.session.say(UserMessage(text))


async def keep_conversing(conversation: Conversation) -> SessionEnd:
    """Hold one session after another until the conversation is over, and return how the last one ended.

    It is over when ``stop`` is set, or when ``start = "once"`` and a session came to a normal end. Nothing that the
    network or the platform does raises; what does is a bug.
    """
    backoff = Backoff(conversation.settings.limits.stable_after)
    while True:
        began = trio.current_time()
        end = await hold_session(conversation)
        lived = trio.current_time() - began
        is_over = end.retry is Retry.NO and conversation.settings.start == "once"
        if conversation.stop.is_set() or is_over:
            return end
        delay = backoff.find_delay(end.retry, lived)
        conversation.publish(events.RetryPlanned(conversation.name, delay, end))
        with trio.move_on_after(delay):
            await conversation.stop.wait()
            return end


async def hold_session(conversation: Conversation) -> SessionEnd:
    """Connect, converse until the session ends, and close; every ending is published and returned as a value."""
    began = trio.current_time()
    end, session = stopped_by_user("cut off without a goodbye"), None
    async with open_recording(conversation.recorder) as recording:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop_connecting, conversation, nursery.cancel_scope)
                end = await connect_and_converse(conversation, recording)
                nursery.cancel_scope.cancel()
            return end
        finally:
            session, conversation.session = conversation.session, None
            conversation_id = session.side.conversation_id if session else None
            counts = session.count_losses() if session else {}
            if recording is not None:
                recording.note_end(end, counts)
                counts |= {"frames not recorded": recording.lost} if recording.lost else {}
            seconds = trio.current_time() - began
            conversation.publish(events.Ended(conversation.name, conversation_id, end, seconds, counts))


async def stop_connecting(conversation: Conversation, connecting: trio.CancelScope) -> None:
    """When asked to stop before there is a session, give up connecting; a session sees to its own end."""
    await conversation.stop.wait()
    if conversation.session is None:
        connecting.cancel()


async def connect_and_converse(conversation: Conversation, recording: RecordedSession | None) -> SessionEnd:
    """Open a link and hold a session on it, which is in ``conversation.session`` from then on."""
    limits = conversation.settings.limits
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
                conversation.publish,
                conversation.open_sound,
                conversation.late_results,
            )
            end = await conversation.session.run(
                build_initiation(conversation.settings),
                conversation.settings.initiation,
                conversation.stop,
                conversation.last_words,
            )
            link.is_given_up = end.cause is Cause.LINK_LOST
            return end
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
    query = {
        name: value
        for name, value in (
            ("agent_id", settings.agent_id),
            ("environment", settings.environment),
            ("branch_id", settings.branch_id),
        )
        if value
    }
    match settings.auth:
        case "signed_url_from":
            return await fetch_signed_url(settings.signed_url_from, time_limit=settings.limits.connect), {}
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
