"""Playing the agent with a language model: what it says, which tools it calls, and being interrupted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import trio

from convaid.protocol.to_agent import ContextualUpdate
from convaid.simulator.brain.chunks import Answer, AskedCall
from convaid.simulator.brain.functions import END_CALL, make_function
from convaid.simulator.brain.history import History, Spoken
from convaid.simulator.brain.model import Model, ModelFailed
from convaid.simulator.conversation import Conversation
from convaid.simulator.hearing import Hearing
from convaid.simulator.record import CallRecord
from convaid.simulator.scenario import Fail, Voice
from convaid.simulator.speaking import Mouth
from convaid.simulator.speech import Speech
from convaid.simulator.starting import Terms

__all__ = ["BrainActor"]

log = logging.getLogger(__name__)

NO_RESULT = "The tool has not answered in time."
TOO_MANY_ROUNDS = "I have called tools again and again, and still have no answer."


class BrainActor:
    """Lets a model play the agent in one conversation. ``tools`` are the configurations of those that it can call."""

    def __init__(
        self, conversation: Conversation, voice: Voice, speech: Speech, model: Model, tools: Sequence[Mapping[str, Any]]
    ) -> None:
        self._conversation = conversation
        self._voice = voice
        self._speech = speech
        self._model = model
        self._tools = tools
        self._hearing = Hearing(conversation)
        self._known: list[ContextualUpdate] = []
        self._said: dict[int, Spoken] = {}  # by event_id
        self._background: list[CallRecord] = []
        conversation.record.place = "brain"

    async def act(self, terms: Terms) -> None:
        """Greet, then answer each turn of the user's, until somebody hangs up."""
        mouth = Mouth(self._conversation, self._voice, self._speech, is_text_only=terms.is_text_only)
        history = History(write_prompt(terms))
        if terms.first_message:
            text = terms.fill_in(terms.first_message)
            self._said[await mouth.say(text)] = history.add_agent(text)
        name = ""
        while True:
            turn = await self._conversation.await_turn()
            history.add_user(turn.text)
            try:
                name = name or await self._model.find_name()
                await self._answer(self._write_settings(name), history, mouth, terms)
            except ModelFailed as failure:
                log.warning("%s: the brain has failed: %s", self._conversation.record.conversation_id, failure)
                await self._conversation.fail(Fail(1002, failure.error_type, str(failure)))

    async def hear(self, audio: bytes) -> None:
        """Listen to the user, who may speak over the agent."""
        await self._hearing.hear(audio)

    async def _answer(self, settings: dict[str, Any], history: History, mouth: Mouth, terms: Terms) -> None:
        """Answer the user's turn, calling tools so many times at most; an interruption ends that."""
        for rounds_left in reversed(range(self._model.brain.tool_rounds + 1)):
            functions = [make_function(tool, terms.fill_in) for tool in self._tools if tool["type"] == "client"]
            functions += [END_CALL] * any(tool["name"] == "end_call" for tool in self._tools)
            self._catch_up(history)
            body = settings | {"messages": history.list_messages()}
            if functions:
                body |= {"tools": functions, "tool_choice": "auto" if rounds_left else "none"}
            answer: Answer | None = None
            with mouth.open_stream() as stream:
                answer = await self._model.ask(body, stream.add)
                await stream.finish()
            calls = answer.calls if answer is not None and rounds_left else []
            if stream.text or calls:
                spoken = history.add_agent(stream.text, calls)
                if stream.text:
                    self._said[stream.event_id] = spoken
            if not calls:
                if answer is not None and stream.event_id:
                    await mouth.complete(stream.event_id)
                if answer is not None and answer.calls:
                    await self._refuse_calls(history, mouth, is_silent=not stream.text)
                return
            await self._call_tools(calls, {function["function"]["name"] for function in functions}, history)
            if any(call.name == END_CALL["function"]["name"] for call in calls):
                await self._conversation.hang_up()

    async def _refuse_calls(self, history: History, mouth: Mouth, *, is_silent: bool) -> None:
        """The model calls tools where it was to answer without; if that is all, the agent says that it is stuck."""
        rounds, conversation_id = self._model.brain.tool_rounds, self._conversation.record.conversation_id
        log.warning(
            "%s: the brain goes on calling tools after brain.tool_rounds = %d for one turn", conversation_id, rounds
        )
        if is_silent:
            self._said[await mouth.say(TOO_MANY_ROUNDS)] = history.add_agent(TOO_MANY_ROUNDS)

    def _write_settings(self, name: str) -> dict[str, Any]:
        """What every request has, in the platform's words where the user has something to say to the server."""
        settings: dict[str, Any] = {"model": name}
        if self._model.brain.temperature is not None:
            settings["temperature"] = self._model.brain.temperature
        initiation = self._conversation.record.initiation
        if initiation is not None and initiation.custom_llm_extra_body:
            settings["elevenlabs_extra_body"] = initiation.custom_llm_extra_body
        return settings

    def _catch_up(self, history: History) -> None:
        """Let the model know what has come to be known meanwhile: what was really heard, and what it was told."""
        record = self._conversation.record
        for event_id, spoken in self._said.items():
            spoken.text = record.corrections.get(event_id, spoken.text)
        for update in record.context:
            if not any(update is known for known in self._known):
                history.add_context(update.text, update.context_id)
        self._known = list(record.context)
        for call in [call for call in self._background if call.answered.is_set()]:
            self._background.remove(call)
            history.add_context(f"the tool {call.tool} has answered: {call.heard}", None)

    async def _call_tools(self, calls: Sequence[AskedCall], known: set[str], history: History) -> None:
        """Call tools, all at once, and wait for their results."""
        results = [""] * len(calls)

        async def call_one(number: int, call: AskedCall) -> None:
            results[number] = await self._call_tool(call, known)

        async with trio.open_nursery() as nursery:
            for number, call in enumerate(calls):
                nursery.start_soon(call_one, number, call, name=f"call {call.name}")
        for call, result in zip(calls, results, strict=True):
            history.add_result(call.id, result)

    async def _call_tool(self, call: AskedCall, known: set[str]) -> str:
        arguments = call.read_arguments()
        if call.name not in known:
            return f"There is no tool {call.name}; there is {', '.join(sorted(known))}."
        if arguments is None:
            return "The arguments are not a JSON object."
        if call.name == END_CALL["function"]["name"]:
            return "The call is over."
        return await self._make_call(call.name, arguments)

    async def _make_call(self, tool: str, arguments: dict[str, Any]) -> str:
        calls = self._conversation.calls
        made = await calls.make(tool, arguments)
        if not made.expects_response:
            return "The tool was called; it does not answer."
        if calls.is_in_background(made):
            self._background.append(made)
            return "The tool runs; its result comes later."
        await calls.wait(made)
        heard = await calls.conclude(made)
        return NO_RESULT if heard is None else heard


def write_prompt(terms: Terms) -> str:
    """Who the agent is, in the language that it speaks."""
    prompt, language = terms.fill_in(terms.agent.prompt), terms.agent.language
    return f"{prompt}\n\nSpeak the language {language!r}.".strip() if language else prompt
