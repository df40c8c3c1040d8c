"""Events in words, one line each: for the log and the terminal (floor 6)."""

from __future__ import annotations

import logging
from reprlib import Repr

from convaid import events
from convaid.protocol.endings import Retry
from convaid.protocol.from_agent import (
    AgentResponse,
    AgentResponseCorrection,
    ClientError,
    Error,
    QueueStatus,
    UserTranscript,
)
from convaid.protocol.to_agent import ContextualUpdate, ToAgent, UserMessage

__all__ = ["describe_end", "describe_event", "find_fields", "log_event", "shorten"]

log = logging.getLogger("convaid")

SHORT = Repr()
SHORT.maxdict = SHORT.maxlist = 20
SHORT.maxstring = SHORT.maxother = 200
SELF_HEARD_REMEDY = 'set another echo, such as "gate"; convaid audio test finds one that does'
SHOWN_LENGTH = 300  # characters of parameters and results that a line shows
QUIET = {Retry.NO: logging.INFO, Retry.SOON: logging.WARNING, Retry.LATER: logging.WARNING, Retry.REPAIR: logging.ERROR}


def log_event(event: events.Event) -> None:
    """Write an event to the log: a line per change of state at info, what is said at debug."""
    level = logging.INFO
    match event:
        case events.MessageReceived() | events.MessageSent() | events.ToolCallStarted() | events.AgentSpeaking():
            level = logging.DEBUG
        case events.ToolCallEnded(answer=answer) if answer.is_error:
            level = logging.WARNING
        case events.SelfHeard():
            level = logging.WARNING
        case events.DeviceChanged(is_repeated=True):
            level = logging.DEBUG
        case events.DeviceChanged(state="lost" | "silent"):
            level = logging.WARNING
        case events.Ended(end=end):
            level = QUIET[end.retry]
    if log.isEnabledFor(level):
        line = describe_event(event)
        if line:
            log.log(level, "%s: %s", event.conversation, line, extra={"fields": find_fields(event)})


def find_fields(event: events.Event) -> dict[str, object]:
    """Return what the journal is to be searched by: ``conversation``, ``close_code``, and the like."""
    fields: dict[str, object] = {
        "conversation": event.conversation,
        "conversation_id": getattr(event, "conversation_id", None),
    }
    match event:
        case events.Connecting():
            fields["host"] = event.host
        case events.ToolCallStarted(call=call):
            fields |= {"tool": call.tool_name, "tool_call_id": call.tool_call_id}
        case events.ToolCallEnded(call=call, answer=answer):
            fields |= {"tool": call.tool_name, "tool_call_id": call.tool_call_id, "outcome": answer.outcome}
            fields["error_type"] = answer.outcome if answer.is_error else None
        case events.Ended(end=end):
            fields |= {"close_code": end.code, "cause": end.cause}
            fields["error_type"] = end.error_type or (end.cause if end.retry is not Retry.NO else None)
        case events.DeviceChanged():
            fields |= {"role": event.role, "device": event.device, "state": event.state}
        case events.MessageReceived(message=Error() | ClientError() as message):
            fields["error_type"] = message.error_type if isinstance(message, Error) else message.error_name
    return fields


def describe_event(event: events.Event) -> str:
    """One line that says what happened; empty for what is of no interest to a person."""
    match event:
        case events.Connecting():
            return f"connecting to {event.host}"
        case events.Connected():
            return f"connected, conversation {event.conversation_id}"
        case events.Ended():
            return describe_end(event)
        case events.RetryPlanned():
            return f"connecting again in {event.delay:.1f} s"
        case events.MessageSent(message=message) | events.MessageReceived(message=message):
            return describe_message(message)
        case events.AgentSpeaking(is_speaking=is_speaking):
            return "the agent speaks" if is_speaking else "the agent is silent"
        case events.Muted(is_muted=is_muted):
            return "muted" if is_muted else "not muted any more"
        case events.SpeechInterrupted():
            after = f" after {sum(cut.seconds for cut in event.heard):.1f} s" if event.heard else ""
            return f"the user cut in{after}; {event.seconds:.1f} s of speech dropped"
        case events.DeviceChanged():
            return describe_device(event)
        case events.SelfHeard():
            return f"the agent hears itself: {shorten(event.text)} -> {SELF_HEARD_REMEDY}"
        case _:
            return describe_call(event)


def describe_device(event: events.DeviceChanged) -> str:
    """What has become of a microphone or a speaker."""
    name = f'the {event.role} "{event.device}"' if event.device else f"the {event.role}"
    words = {
        "open": "is open",
        "lost": "is lost; it is tried again",
        "silent": "is silent; it is opened anew at times",
    }
    return f"{name} {words[event.state]}" + (f": {event.detail}" if event.detail else "")


def describe_call(
    event: events.ToolCallStarted | events.ToolCallEnded | events.ApprovalAsked | events.ApprovalAnswered,
) -> str:
    """What a tool call has come to."""
    name, parameters = event.call.tool_name, shorten(event.call.parameters)
    match event:
        case events.ToolCallStarted():
            return f"tool {name} called with {parameters}"
        case events.ToolCallEnded(answer=answer):
            lost = "" if event.is_delivered else " (the link was lost before the agent heard it)"
            return f"tool {name} {answer.outcome} in {answer.seconds:.3f} s: {shorten(answer.result)}{lost}"
        case events.ApprovalAsked():
            return f"permission {event.id} is asked for: tool {name} with {parameters}"
        case events.ApprovalAnswered():
            words = {True: f"allowed by {event.by}", False: f"denied by {event.by}", None: "not decided in time"}
            return f"permission {event.id}, tool {name}: {words[event.is_allowed]}"


def describe_end(event: events.Ended) -> str:
    """How a session ended, with its code, and what to do about it."""
    end = event.end
    code = f" (code {end.code})" if end.code else ""
    which = f"conversation {event.conversation_id} " if event.conversation_id else ""
    losses = ", ".join(f"{count} {what}" for what, count in event.losses.items())
    remedy = f" -> {end.remedy}" if end.remedy else ""
    noted = f" (noted on the way: {losses})" if losses else ""
    unheard = sum(cut.unheard for cut in event.heard)
    cut_off = f" (the agent's last {unheard:.1f} s were not heard)" if unheard else ""
    return f"{which}{end.cause}{code} after {event.seconds:.1f} s: {end.detail}{remedy}{cut_off}{noted}"


def describe_message(message: object) -> str:
    """What was said, or what the platform complains of."""
    match message:
        case UserTranscript(user_transcript=text) | UserMessage(text=str(text)):
            return f"user: {text}"
        case ContextualUpdate(text=text):
            return f"context: {text}"
        case ToAgent():
            return f"sent: {message}"
        case AgentResponse():
            return f"agent: {message.agent_response}"
        case AgentResponseCorrection():
            return f"agent, heard according to the platform: {message.corrected_agent_response}"
        case Error() | ClientError():
            return f"the platform reports: {message}"
        case QueueStatus():
            return f"queue: {message.status}"
        case _:
            return ""


def shorten(value: object) -> str:
    """``value`` as text, cut where it would fill the screen; however deep it is nested."""
    text = value if isinstance(value, str) else SHORT.repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}… ({len(text)} characters)"
