"""The part of the control API that is about conversations (floor 6)."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from convaid import events
from convaid.control.exchange import Exchange, Query, Route
from convaid.control.failures import ControlError
from convaid.control.forms import Answer, Ask, Context, Dropped, FeedbackForm, Say, Sent, Start, Stop
from convaid.control.status import ConversationStatus, describe_conversation
from convaid.keeper import Keeping
from convaid.protocol.to_agent import ContextualUpdate, Feedback, FileInput, MultimodalMessage, ToAgent, UserMessage
from convaid.supervisor import NotConnected
from convaid.turn import GREETING, Turn

__all__ = ["CONVERSATION_ROUTES"]

UPLOAD_LIMIT = 60.0  # seconds for a file to get to the platform
LOOK_INTERVAL = 0.02  # seconds between two looks at a state, where no event tells of its change


async def list_conversations(exchange: Exchange) -> list[ConversationStatus]:
    return [describe_conversation(keeping) for keeping in exchange.keeper]


async def show_conversation(exchange: Exchange) -> ConversationStatus:
    return describe_conversation(exchange.find_conversation())


async def start(exchange: Exchange) -> ConversationStatus:
    keeping = exchange.find_conversation()
    keeping.start()
    give_up_at = trio.current_time() + exchange.body.wait
    await wait_until(
        lambda: keeping.state == "connected" or not may_connect(keeping, give_up_at),
        exchange.body.wait,
    )
    return describe_conversation(keeping)


async def stop(exchange: Exchange) -> ConversationStatus:
    keeping = exchange.find_conversation()
    keeping.stop()
    await wait_until(lambda: keeping.state == "closed", exchange.body.wait)
    return describe_conversation(keeping)


async def say(exchange: Exchange) -> Sent:
    return send(exchange.find_conversation(), UserMessage(exchange.body.text))


async def tell_context(exchange: Exchange) -> Sent:
    return send(exchange.find_conversation(), ContextualUpdate(exchange.body.text, exchange.body.context_id))


async def mute(exchange: Exchange) -> ConversationStatus:
    keeping = exchange.find_conversation()
    keeping.conversation.mute(True)
    return describe_conversation(keeping)


async def unmute(exchange: Exchange) -> ConversationStatus:
    keeping = exchange.find_conversation()
    keeping.conversation.mute(False)
    return describe_conversation(keeping)


async def interrupt(exchange: Exchange) -> Dropped:
    return Dropped(exchange.find_conversation().conversation.interrupt())


async def give_feedback(exchange: Exchange) -> Sent:
    keeping, form = exchange.find_conversation(), exchange.body
    event_id = form.event_id
    if event_id is None:
        session = keeping.conversation.session
        event_id = session.side.last_response if session is not None else None
    if event_id is None:
        words = f"the agent of {keeping.name} has said nothing yet in this conversation"
        raise ControlError(409, "nothing_said", words, "Wait until it has, or give the event_id.")
    return send(keeping, Feedback(event_id, form.score))


async def send_file(exchange: Exchange) -> Sent:
    from convaid.rest.files import upload_file

    keeping, name = exchange.find_conversation(), exchange.query["name"][0]
    conversation, session = keeping.conversation, keeping.conversation.session
    if session is None or session.side.conversation_id is None or not conversation.is_connected:
        raise NotConnected(f"conversation {keeping.name} is not connected")
    kind = mimetypes.guess_type(name)[0] or exchange.content_type or "application/octet-stream"
    file_id = await upload_file(
        conversation.base_url,
        conversation.api_key,
        session.side.conversation_id,
        name=name,
        kind=kind,
        content=exchange.content,
        time_limit=UPLOAD_LIMIT,
    )
    if conversation.session is not session:
        raise NotConnected(f"conversation {keeping.name} has ended meanwhile")
    text = exchange.query.get("text", [""])[0]
    file = FileInput(file_id)
    return send(keeping, MultimodalMessage(UserMessage(text) if text else None, file, [file]))


async def ask(exchange: Exchange) -> Answer:
    keeping, form = exchange.find_conversation(), exchange.body
    began, sent, is_complete = trio.current_time(), None, False
    turn = Turn(is_connected=keeping.state == "connected")
    with listen(exchange, keeping.name, turn.observe), trio.move_on_after(form.time_limit):
        if not turn.is_connected:
            keeping.start()
            give_up_at = began + form.time_limit
            await wait_until(lambda: turn.is_connected or not may_connect(keeping, give_up_at), form.time_limit)
        session = keeping.conversation.session
        if session is not None and keeping.conversation.is_connected:
            if session.side.last_response is None:  # the greeting is not to be taken for the answer
                await turn.wait_answered(max(0.0, keeping.since + GREETING - trio.current_time()))
            turn.begin(session.side.last_response)
            sent = send(keeping, UserMessage(form.text))
            is_complete = await turn.wait_answered(form.time_limit)
    if sent is None:
        end = keeping.conversation.last_end
        words = f"{keeping.name} could not be connected in time" + (f": {end.cause}: {end.detail}" if end else "")
        raise ControlError(504, "not_connected", words, end.remedy if end else "Give it more time (time_limit).")
    if not turn.said:
        words = f"the agent of {keeping.name} did not answer within {form.time_limit:g} s, or hung up"
        raise ControlError(504, "no_answer", words, "Ask again, or give it more time (time_limit).")
    text = "\n".join(said for _, said in turn.said)
    seconds = trio.current_time() - began
    return Answer(sent.conversation, sent.conversation_id, text, is_complete, seconds)


@contextmanager
def listen(exchange: Exchange, name: str, observe: Callable[[events.Event], None]) -> Iterator[None]:
    """Have the events of one conversation observed."""

    def observe_its(event: events.Event) -> None:
        if event.conversation == name:
            observe(event)

    observers = exchange.daemon.announcer.observers
    observers.append(observe_its)
    try:
        yield
    finally:
        observers.remove(observe_its)


async def wait_until(is_so: Callable[[], bool], limit: float) -> None:
    """Wait until something is so, at most ``limit`` seconds, and at least for the tasks that see to it to be told."""
    with trio.move_on_after(max(limit, LOOK_INTERVAL)):
        while not is_so():  # noqa: ASYNC110 - not every change of a state is an event
            await trio.sleep(LOOK_INTERVAL)


def may_connect(keeping: Keeping, before: float) -> bool:
    """Whether it is wanted, and tried again soon enough if it has just failed: nobody is to wait for nothing."""
    retry, failed_at = keeping.conversation.retry, keeping.conversation.changed_at
    return keeping.is_wanted and (retry is None or failed_at + retry.delay < before)


def send(keeping: Keeping, message: ToAgent) -> Sent:
    """Send a message of the user's side. Raises `NotConnected`."""
    keeping.conversation.send(message)
    session = keeping.conversation.session
    return Sent(keeping.name, session.side.conversation_id if session is not None else None)


ONE = "/v1/conversations/{name}"
BUSY = (404, 409)

CONVERSATION_ROUTES = (
    Route(
        "GET",
        "/v1/conversations",
        "listConversations",
        "All conversations of the configuration, and how each is.",
        list[ConversationStatus],
        list_conversations,
    ),
    Route("GET", ONE, "showConversation", "How one is.", ConversationStatus, show_conversation, failures=(404,)),
    Route(
        "POST",
        f"{ONE}/start",
        "startConversation",
        "Have it opened, if it is not; it may have to wait for a place in the pool.",
        ConversationStatus,
        start,
        Start,
        failures=BUSY,
    ),
    Route(
        "POST",
        f"{ONE}/stop",
        "stopConversation",
        "Have it closed, with a goodbye; it stays closed until it is started, or its hours begin.",
        ConversationStatus,
        stop,
        Stop,
        failures=(404,),
    ),
    Route("POST", f"{ONE}/say", "say", "Say something as the user.", Sent, say, Say, failures=BUSY),
    Route(
        "POST",
        f"{ONE}/ask",
        "ask",
        "Say something as the user and wait for the answer; opens the conversation, if it is closed.",
        Answer,
        ask,
        Ask,
        failures=(*BUSY, 504),
    ),
    Route(
        "POST",
        f"{ONE}/context",
        "tellContext",
        "Tell the agent something that it need not answer.",
        Sent,
        tell_context,
        Context,
        failures=BUSY,
    ),
    Route(
        "POST",
        f"{ONE}/mute",
        "mute",
        "Let the agent hear silence, in this session and the next.",
        ConversationStatus,
        mute,
        failures=(404,),
    ),
    Route(
        "POST",
        f"{ONE}/unmute",
        "unmute",
        "Let the agent hear the microphone again.",
        ConversationStatus,
        unmute,
        failures=(404,),
    ),
    Route(
        "POST",
        f"{ONE}/interrupt",
        "interrupt",
        "Silence the agent at once, here alone: the platform goes on with its turn, which is not played.",
        Dropped,
        interrupt,
        failures=BUSY,
    ),
    Route(
        "POST",
        f"{ONE}/feedback",
        "giveFeedback",
        "Say what the user thinks of what the agent has said.",
        Sent,
        give_feedback,
        FeedbackForm,
        failures=BUSY,
    ),
    Route(
        "POST",
        f"{ONE}/files",
        "sendFile",
        "Upload a file to the platform, and show it to the agent: an image or a PDF.",
        Sent,
        send_file,
        takes_bytes=True,
        failures=(*BUSY, 502),
        query=(
            Query("name", "The name of the file; its ending says what it is.", is_required=True),
            Query("text", "What the user says about it."),
        ),
    ),
)
