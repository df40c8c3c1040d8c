"""Playing the agent: a scenario's steps and rules, turned into what is said, called and broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import attrs
import orjson
import trio

from convaid.audio import AudioFormat
from convaid.protocol.bodies import is_deeper
from convaid.protocol.from_agent import AgentToolRequest, AgentToolResponse
from convaid.simulator.conversation import Conversation, UserTurn
from convaid.simulator.record import CallRecord, Ending
from convaid.simulator.scenario import (
    STEPS,
    Call,
    Close,
    Drop,
    End,
    ExpectAudio,
    ExpectResults,
    ExpectText,
    Fail,
    Freeze,
    Interrupt,
    Raw,
    Say,
    Scenario,
    Silence,
    Step,
)
from convaid.simulator.speaking import Mouth
from convaid.simulator.speech import Ear, Speech, SpeechBegan
from convaid.simulator.starting import Terms
from convaid.simulator.workspace.checks import DEEPEST
from convaid.transport import ABNORMAL

__all__ = ["ScenarioActor"]

UNRECOGNISED = "(speech of {:.1f} s; the simulator does not recognise words)"
NO_RESULT = "(no result in time)"
NUMBER = r"\d{1,18}"  # what fits into 64 bits
NAMES = {cls: name for name, cls in STEPS.items()}

Fill = Callable[[str], str]


class ScenarioActor:
    """Plays one scenario in one conversation.

    An expectation that is not met goes into the record and ends the conversation with 1008: a fault that a program
    cannot mend by trying again.
    """

    def __init__(self, conversation: Conversation, scenario: Scenario, speech: Speech) -> None:
        self._conversation = conversation
        self._scenario = scenario
        self._speech = speech
        self._ear = Ear(AudioFormat.parse(scenario.agent.user_input_audio_format))
        self._mouth: Mouth | None = None
        self._where = "first_message"
        self._result = NO_RESULT
        self._open_calls: list[tuple[Call, CallRecord]] = []

    async def act(self, terms: Terms) -> None:
        """Greet, work through the steps, then follow the rules; with none of them left, say nothing any more."""
        self._mouth = mouth = Mouth(
            self._conversation, self._scenario.voice, self._speech, is_text_only=terms.is_text_only
        )
        if terms.first_message:
            await mouth.say(terms.fill_in(terms.first_message))
        for number, step in enumerate(self._scenario.steps):
            self._where = f"steps[{number}].{NAMES[type(step)]}"
            await self._perform(step, mouth, terms.fill_in)
        while self._scenario.rules:
            turn = await self._conversation.await_turn()
            await self._follow_rule(turn, mouth, terms.fill_in)

    async def hear(self, audio: bytes) -> None:
        """Listen to the user, who may speak over the agent."""
        mouth = self._mouth
        for heard in self._ear.listen(audio):
            if not isinstance(heard, SpeechBegan):
                await self._conversation.take_turn(UserTurn(UNRECOGNISED.format(heard.seconds), is_spoken=True))
            elif mouth and "interruption" in self._scenario.agent.client_events:  # leaving it out forbids interrupting
                await mouth.interrupt()

    async def _perform(self, step: Step, mouth: Mouth, fill_in: Fill) -> None:
        match step:
            case Say(text):
                await self._say(text, mouth, fill_in)
            case ExpectText() | ExpectAudio():
                await self._expect_turn(step)
            case Call():
                call = await self._call(attrs.evolve(step, parameters=fill_texts(step.parameters, fill_in)))
                if step.expects_response and step.wait:
                    await self._await_result(step, call)
                elif step.expects_response:
                    self._open_calls.append((step, call))
            case ExpectResults():
                await self._expect_results(step)
            case Interrupt():
                await mouth.interrupt()
            case Silence(seconds):
                await trio.sleep(seconds)
            case End():
                await self._hang_up(mouth)
            case _:
                await self._disturb(step)

    async def _disturb(self, step: Step) -> None:
        """Perform a step that no agent means well with."""
        conversation = self._conversation
        match step:
            case Freeze(seconds):
                await conversation.flush()
                conversation.peer.freeze()
                await trio.sleep(seconds)
                conversation.peer.thaw()
            case Fail():
                await conversation.fail(step)
            case Close(code, reason):
                await conversation.end(Ending("agent", code, reason))
            case Drop():
                await conversation.end(Ending("agent", ABNORMAL, is_reset=True))
            case Raw(text):
                await conversation.send_raw(text)
            case _:
                raise AssertionError(f"{step} is for the server, before a conversation begins")

    async def _follow_rule(self, turn: UserTurn, mouth: Mouth, fill_in: Fill) -> None:
        for rule in self._scenario.rules:
            if found := re.search(rule.when, turn.text, re.IGNORECASE):
                break
        else:
            return
        self._where = f"the rule for {rule.when!r}"

        def fill_groups(text: str) -> str:
            return fill_in(re.sub(r"\$(\d)", lambda place: pick_group(found, place[1]), text))

        def fill_parameter(text: str) -> str | int:
            if not re.fullmatch(r"#\d", text):
                return fill_groups(text)
            group = pick_group(found, text[1])
            return int(group) if re.fullmatch(NUMBER, group) else group

        if rule.call is not None:
            try:
                call = fill_call(rule.call, fill_groups, fill_parameter)
            except ValueError as error:
                await self._say(f"What you want it called with is not a JSON object: {error}.", mouth, str)
                return
            await self._await_result(call, await self._call(call))
        if rule.say:
            await self._say(rule.say, mouth, fill_groups)
        if rule.end:
            await self._hang_up(mouth)

    async def _say(self, text: str, mouth: Mouth, fill_in: Fill) -> None:
        await mouth.say(fill_in(text).replace("{result}", self._result))

    async def _expect_turn(self, step: ExpectText | ExpectAudio) -> None:
        wanted = "speech" if isinstance(step, ExpectAudio) else "text"
        with trio.move_on_after(step.within) as limit:
            turn = await self._conversation.await_turn()
        if limit.cancelled_caught:
            await self._give_up(f"no {wanted} within {step.within:g} s")
        if turn.is_spoken != isinstance(step, ExpectAudio):
            await self._give_up(f"expected {wanted}, the user came with {turn.text!r}")
        if isinstance(step, ExpectText) and not re.search(step.matches, turn.text, re.IGNORECASE):
            await self._give_up(f"expected a text that matches {step.matches!r}, got {turn.text!r}")

    async def _expect_results(self, step: ExpectResults) -> None:
        with trio.move_on_after(step.within) as limit:
            for _, call in self._open_calls:
                await call.answered.wait()
        if limit.cancelled_caught:
            late = ", ".join(call.tool for _, call in self._open_calls if not call.answered.is_set())
            await self._give_up(f"no result within {step.within:g} s from: {late}")
        for call_step, call in self._open_calls:
            await self._check_result(call_step, call)
        self._open_calls.clear()

    async def _call(self, step: Call) -> CallRecord:
        return await self._conversation.call_tool(step.tool, step.parameters, expects_response=step.expects_response)

    async def _await_result(self, step: Call, call: CallRecord) -> None:
        with trio.move_on_after(step.within):
            await call.answered.wait()
        await self._check_result(step, call)

    async def _check_result(self, step: Call, call: CallRecord) -> None:
        if not call.answered.is_set():
            self._conversation.give_up_call(call)
        self._result = NO_RESULT if call.result is None else call.result
        is_error = call.is_error is not False
        await self._conversation.send(
            AgentToolResponse(
                call.tool, call.tool_call_id, "client", is_error, True, self._conversation.next_event_id()
            )
        )
        if call.result is None:
            if step.expect_result is not None or step.expect_error is not None:
                await self._give_up(f"{call.tool} did not answer within {step.within:g} s")
        elif step.expect_error not in (None, call.is_error):
            kind = "an error" if step.expect_error else "a result"
            await self._give_up(f"expected {kind} of {call.tool}, got {call.result!r}")
        elif step.expect_result is not None and not re.search(step.expect_result, call.result, re.IGNORECASE):
            await self._give_up(f"expected {call.tool} to answer {step.expect_result!r}, got {call.result!r}")

    async def _hang_up(self, mouth: Mouth) -> NoReturn:
        event_id = self._conversation.next_event_id()
        call_id = f"end_{event_id}"
        await self._conversation.send(AgentToolRequest("end_call", call_id, "system", event_id))
        await self._conversation.send(AgentToolResponse("end_call", call_id, "system", False, True, event_id))
        await mouth.finish()
        await self._conversation.end(Ending("agent", 1000))

    async def _give_up(self, problem: str) -> NoReturn:
        await self._conversation.break_off(f"{self._where}: {problem}")


def pick_group(found: re.Match[str], number: str) -> str:
    """What a group of a rule's pattern matched; nothing where there is no such group."""
    return (found[int(number)] or "") if int(number) <= found.re.groups else ""


def fill_call(call: Call, fill_groups: Fill, fill_parameter: Callable[[str], str | int]) -> Call:
    """Fill in what a rule has matched; ValueError where that is no JSON object but should be one."""
    parameters = fill_texts(call.parameters, fill_parameter)
    if call.parameters_json:
        parameters = orjson.loads(fill_groups(call.parameters_json))
        if not isinstance(parameters, dict) or is_deeper(parameters, DEEPEST):
            raise ValueError("it is something else")
    return attrs.evolve(call, tool=fill_groups(call.tool), parameters=parameters)


def fill_texts(value: Any, fill_in: Callable[[str], str | int]) -> Any:
    """Fill in every text of a call's parameters, however deep."""
    match value:
        case dict():
            return {name: fill_texts(item, fill_in) for name, item in value.items()}
        case list():
            return [fill_texts(item, fill_in) for item in value]
        case str():
            return fill_in(value)
    return value
