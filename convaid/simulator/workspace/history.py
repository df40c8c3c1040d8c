"""The REST calls of conversations: what the simulator has recorded, as the platform tells it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from convaid.protocol.bodies import is_deeper
from convaid.simulator.answers import Answer, Request, Route, refuse
from convaid.simulator.record import CallRecord, ConversationRecord, Line
from convaid.simulator.workspace.checks import (
    DEEPEST,
    Faults,
    choice,
    fields,
    nullable,
    optional,
    read_body,
    refuse_faults,
    text,
    whole,
)
from convaid.simulator.workspace.files import FileRoutes
from convaid.simulator.workspace.paging import answer_page, read_whole
from convaid.simulator.workspace.workspace import Workspace

__all__ = ["HistoryRoutes"]

check_feedback = fields(
    {
        "feedback": optional(nullable(choice("like", "dislike"))),
        "rating": optional(nullable(whole(1, 5))),
        "comment": optional(nullable(text())),
    }
)


class HistoryRoutes:
    """``/v1/convai/conversations``. A conversation that was refused is none."""

    def __init__(self, workspace: Workspace, conversations: Iterable[ConversationRecord]) -> None:
        self._workspace = workspace
        self._conversations = conversations

    @property
    def routes(self) -> Sequence[Route]:
        conversations = "/v1/convai/conversations"
        conversation = f"{conversations}/([^/]+)"
        return [
            Route("GET", conversations, self.list_conversations),
            Route("GET", conversation, self.tell_conversation),
            Route("GET", f"{conversation}/audio", self.refuse_audio),
            *FileRoutes(self._find_record, conversation_not_found).routes,
            Route("DELETE", conversation, self.delete_conversation),
            # The official JavaScript client sends no key here.
            Route("POST", f"{conversation}/feedback", self.take_feedback, needs_key=False),
        ]

    def list_conversations(self, request: Request) -> Answer:
        """A page of the conversations, the newest first; of one agent, or of a time, where the request says so."""
        faults: Faults = []
        after = read_whole(request, "call_start_after_unix", faults, -math.inf)
        before = read_whole(request, "call_start_before_unix", faults, math.inf)
        if faults:
            return refuse_faults(faults)
        agent_id = request.query.get("agent_id")
        return answer_page(
            request,
            "conversations",
            [
                record
                for record in self._list_records()
                if agent_id in (None, record.agent_id) and after <= int(record.started_at_unix) <= before
            ],
            self._summarize,
            identify=lambda record: record.conversation_id,
            sort_keys={"started_at": lambda record: record.started_at_unix},
        )

    def tell_conversation(self, request: Request, conversation_id: str) -> Answer:
        record = self._find_record(conversation_id)
        return Answer(200, self._describe(record)) if record else conversation_not_found(conversation_id)

    def delete_conversation(self, request: Request, conversation_id: str) -> Answer:
        record = self._find_record(conversation_id)
        if record is None:
            return conversation_not_found(conversation_id)
        record.is_deleted = True
        return Answer(200, {})

    def refuse_audio(self, request: Request, conversation_id: str) -> Answer:
        """There is no recording: what the agent sounds like is a tone, and nobody is to be recorded unasked."""
        if self._find_record(conversation_id) is None:
            return conversation_not_found(conversation_id)
        return refuse(404, "audio_not_found", f"The simulator keeps no audio, of {conversation_id} neither.")

    def take_feedback(self, request: Request, conversation_id: str) -> Answer:
        record = self._find_record(conversation_id)
        if record is None:
            return conversation_not_found(conversation_id)
        feedback = read_body(request, check_feedback)
        if isinstance(feedback, Answer):
            return feedback
        record.feedback = feedback
        return Answer(200, {})

    def _list_records(self) -> Iterator[ConversationRecord]:
        for record in self._conversations:
            if not record.is_deleted and (record.sent or not record.ended.is_set()):
                yield record

    def _find_record(self, conversation_id: str) -> ConversationRecord | None:
        return next((each for each in self._list_records() if each.conversation_id == conversation_id), None)

    def _find_name(self, record: ConversationRecord) -> str | None:
        agent = self._workspace.agents.get(record.agent_id)
        return None if agent is None else agent.name

    def _summarize(self, record: ConversationRecord) -> dict[str, Any]:
        """A conversation as it stands in a list."""
        return {
            "agent_id": record.agent_id,
            "agent_name": self._find_name(record),
            "conversation_id": record.conversation_id,
            "start_time_unix_secs": int(record.started_at_unix),
            "call_duration_secs": round(record.seconds),
            "message_count": len(record.transcript),
            "status": find_status(record),
            "termination_reason": tell_termination(record),
            "call_successful": "unknown",  # nobody judges it
            "tool_names": sorted({call.tool for call in record.calls}),
        }

    def _describe(self, record: ConversationRecord) -> dict[str, Any]:
        """A conversation as the platform answers it."""
        error = record.ending and record.ending.error
        is_spoken = bool(record.received["user_audio_chunk"])
        has_voice = bool(record.sent["audio"])
        return {
            "agent_id": record.agent_id,
            "agent_name": self._find_name(record),
            "conversation_id": record.conversation_id,
            "status": find_status(record),
            "user_id": record.initiation and record.initiation.user_id,
            "branch_id": record.initiation and record.initiation.branch_id,
            "environment": find_environment(record),
            "metadata": {
                "start_time_unix_secs": int(record.started_at_unix),
                "call_duration_secs": round(record.seconds),
                "queue_wait_secs": record.queue_wait,
                "termination_reason": tell_termination(record),
                "error": error and {"code": error.code, "reason": error.message},
                "authorization_method": "signed_url" if "conversation_signature" in record.query else "public",
                "feedback": describe_feedback(record),
                "text_only": not (is_spoken or has_voice),
                "cost": 0,  # credits
                "cost_fiat": None,
            },
            "conversation_initiation_client_data": tell_initiation(record),
            "has_audio": False,  # none is kept
            "has_user_audio": False,
            "has_response_audio": False,
            "has_auxiliary_audio": False,
            "transcript": list_turns(record),
        }


def find_status(record: ConversationRecord) -> str:
    """How far a conversation has come, in the platform's words."""
    if record.ending is not None and record.ended.is_set():
        return "failed" if record.ending.error or record.ending.closed_by == "simulator" else "done"
    return "in-progress" if record.sent else "initiated"


def tell_termination(record: ConversationRecord) -> str:
    """Why a conversation has ended; the platform's own sentences are not documented."""
    ending = record.ending
    if ending is None:
        return ""
    if ending.error is not None:
        return ending.error.message or ending.error.error_type or f"Error {ending.error.code}"
    who = {"agent": "Agent", "user": "Client", "link": "Connection", "simulator": "Simulator"}[ending.closed_by]
    return f"{who} ended the conversation: {ending.code} {ending.reason}".rstrip()


def find_environment(record: ConversationRecord) -> str:
    """Which set of variables was asked for."""
    return (record.initiation and record.initiation.environment) or record.query.get("environment") or "production"


def tell_initiation(record: ConversationRecord) -> dict[str, Any]:
    """What the user's side has asked for; nothing if that cannot be written again."""
    if record.initiation is None:
        return {}
    told = {
        "dynamic_variables": record.initiation.dynamic_variables or {},
        "conversation_config_override": record.initiation.conversation_config_override or {},
    }
    return {} if is_deeper(told, DEEPEST) else told


def describe_feedback(record: ConversationRecord) -> dict[str, Any]:
    """What the user thinks: of single turns, as was told in the conversation, and of it all, as was told by REST."""
    score = record.feedback.get("feedback")
    scores = [*record.scores.values(), *([score] if score else [])]
    return {
        "overall_score": score,
        "likes": scores.count("like"),
        "dislikes": scores.count("dislike"),
        "rating": record.feedback.get("rating"),
        "comment": record.feedback.get("comment"),
    }


def list_turns(record: ConversationRecord) -> list[dict[str, Any]]:
    """The transcript: what was said, and between it the tool calls with their results, in the order of time."""
    turns = [(line.at, describe_line(line, record)) for line in record.transcript]
    turns += [(call.asked_at - record.started_at, describe_call(call)) for call in record.calls]
    turns.sort(key=lambda turn: turn[0])
    return [turn | {"time_in_call_secs": int(at)} for at, turn in turns]


def describe_line(line: Line, record: ConversationRecord) -> dict[str, Any]:
    """Something that was said; where it was cut off, what was heard of it."""
    turn: dict[str, Any] = {"role": line.speaker, "message": line.text, "tool_calls": [], "tool_results": []}
    turn["source_event_id"] = line.event_id
    if line.speaker == "agent" and line.event_id in record.corrections:
        turn |= {"message": record.corrections[line.event_id], "original_message": line.text, "interrupted": True}
    if line.speaker == "agent" and line.event_id in record.scores:
        turn["feedback"] = {"score": record.scores[line.event_id], "time_in_call_secs": int(line.at)}
    return turn


def describe_call(call: CallRecord) -> dict[str, Any]:
    """A turn of the agent's in which it calls a tool."""
    parameters = write_parameters(call.parameters)
    common = {"request_id": call.tool_call_id, "tool_name": call.tool, "type": "client", "tool_has_been_called": True}
    result = {
        "result_value": call.result or "",
        "is_error": bool(call.is_error),
        "tool_latency_secs": call.seconds or 0.0,
    }
    return {
        "role": "agent",
        "message": None,
        "tool_calls": [
            common | {"params_as_json": parameters, "tool_details": {"type": "client", "parameters": parameters}}
        ],
        "tool_results": [] if call.result is None else [common | result],
    }


def write_parameters(parameters: dict[str, Any]) -> str:
    """What a tool was called with, as JSON text; a scenario's file has whole numbers of more than 64 bits, too."""
    try:
        return orjson.dumps(parameters).decode()
    except TypeError:
        return json.dumps(parameters, default=str, ensure_ascii=False, separators=(",", ":"))


def conversation_not_found(conversation_id: str) -> Answer:
    return refuse(404, "document_not_found", f"Document with id {conversation_id} not found.")
