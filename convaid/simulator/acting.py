"""Playing the agent: a scenario's steps and rules, turned into what is said, called and broken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

import trio

from convaid.audio import AudioFormat
from convaid.protocol.from_agent import AgentToolRequest, AgentToolResponse
from convaid.simulator.conversation import Conversation, UserTurn
from convaid.simulator.expecting import find_argument_failure, find_result_failure
from convaid.simulator.filling import Filler
from convaid.simulator.reciting import Reciter, order_rules
from convaid.simulator.record import CallRecord, Ending, Failure
from convaid.simulator.scenario import (
    STEPS,
    Branch,
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
    Rule,
    Say,
    Scenario,
    Silence,
    Step,
)
from convaid.simulator.speaking import Mouth
from convaid.simulator.speech import Ear, Speech, SpeechBegan
from convaid.simulator.starting import Terms
from convaid.transport import ABNORMAL

__all__ = ["ScenarioActor"]

UNRECOGNISED = "(speech of {:.1f} s; the simulator does not recognise words)"
NO_RESULT = "(no result in time)"
PATIENCE_MS = 60_000.0  # milliseconds for what is recited to come back
NAMES = {cls: name for name, cls in STEPS.items()}


class ScenarioActor:
    """Plays one scenario in one conversation.

    An expectation that is not met goes into the record and ends the conversation with 1008: a fault that a program
    cannot mend by trying again.
    """

    def __init__(
        self, conversation: Conversation, scenario: Scenario, speech: Speech, reciter: Reciter | None = None
    ) -> None:
        self._conversation = conversation
        self._scenario = scenario
        self._speech = speech
        self._ear = Ear(AudioFormat.parse(scenario.agent.user_input_audio_format))
        self._mouth: Mouth | None = None
        self._reciter = reciter
        self._record = conversation.record
        self._record.place = "agent.first_message"
        self._result = NO_RESULT
        self._open_calls: list[tuple[Call, CallRecord, str]] = []

    async def act(self, terms: Terms) -> None:
        """Greet, work through the steps, then follow the rules; with none of them left, say nothing any more.

        Where the user's part is recited, the rules are tried by their examples, and then the agent hangs up.
        """
        self._mouth = mouth = Mouth(
            self._conversation, self._scenario.voice, self._speech, is_text_only=terms.is_text_only
        )
        if terms.first_message:
            await mouth.say(terms.fill_in(terms.first_message))
        await self._play(self._scenario.steps, "steps", mouth, Filler(terms))
        if self._reciter is not None:
            await self._try_rules(self._reciter, mouth, terms)
            await self._hang_up(mouth)
        while self._scenario.rules:
            await self._follow_rule(await self._conversation.await_turn(), mouth, terms)

    async def hear(self, audio: bytes) -> None:
        """Listen to the user, who may speak over the agent."""
        mouth = self._mouth
        for heard in self._ear.listen(audio):
            if not isinstance(heard, SpeechBegan):
                await self._conversation.take_turn(UserTurn(UNRECOGNISED.format(heard.seconds), is_spoken=True))
            elif mouth and "interruption" in self._scenario.agent.client_events:  # leaving it out forbids interrupting
                await mouth.interrupt()

    async def _play(self, steps: Sequence[Step], path: str, mouth: Mouth, filler: Filler) -> None:
        for number, step in enumerate(steps):
            place = f"{path}[{number}].{NAMES[type(step)]}"
            await trio.sleep(step.after_ms / 1000)
            await self._perform(step, place, mouth, filler)

    async def _perform(self, step: Step, place: str, mouth: Mouth, filler: Filler) -> None:
        self._record.place = place
        match step:
            case Say(text):
                await self._say(text, mouth, filler)
            case ExpectText():
                await self._expect_text(step)
            case ExpectAudio():
                await self._expect_audio(step)
            case Branch():
                await self._take_branch(step, place, mouth, filler)
            case Call():
                await self._make_call(step, mouth, filler)
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
        self._record.is_played = isinstance(step, Fail | Close | Drop)
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

    async def _take_branch(self, step: Branch, place: str, mouth: Mouth, filler: Filler) -> None:
        planned = self._reciter.plan_branch(step.among) if self._reciter else []
        for turn_number in range(step.rounds):
            self._record.place = place
            plan = planned[turn_number] if turn_number < len(planned) else None
            turn = await self._listen("text", step.within_ms, plan.example if plan else "")
            for number, alternative in enumerate(step.among):  # noqa: B007 - the one that fits
                if found := re.search(alternative.when, turn.text, re.IGNORECASE):
                    break
            else:
                known = ", ".join(repr(alternative.when) for alternative in step.among)
                await self._give_up(f"no alternative fits {turn.text!r}", f"one of {known}", turn.text)
            if plan is not None and plan is not alternative:
                await self._give_up(f"{plan.example!r}, the example of {plan.when!r}, fits {alternative.when!r} first")
            await self._play(alternative.steps, f"{place}.among[{number}].steps", mouth, Filler(filler.terms, found))
            if not alternative.again:
                return
        self._record.place = place
        await self._give_up(f"the user has chosen {step.rounds} times, and is still here")

    async def _try_rules(self, reciter: Reciter, mouth: Mouth, terms: Terms) -> None:
        """Have each rule's example said, which no other rule may take."""
        for rule in order_rules(self._scenario.rules):
            self._record.place = f"rules[{self._scenario.rules.index(rule)}]"
            turn = await self._listen("text", PATIENCE_MS, rule.example)
            taken = next((other for other in self._scenario.rules if fits(other, turn)), None)
            if taken is not rule:
                other = "no rule" if taken is None else f"the rule for {taken.when!r} first"
                await self._give_up(f"{turn.text!r}, the example of {rule.when!r}, fits {other}")
            await self._follow_rule(turn, mouth, terms)

    async def _follow_rule(self, turn: UserTurn, mouth: Mouth, terms: Terms) -> None:
        for number, rule in enumerate(self._scenario.rules):  # noqa: B007 - the one that fits
            if found := fits(rule, turn):
                break
        else:
            return
        filler = Filler(terms, found)
        self._record.place = f"rules[{number}]"
        if rule.call is not None:
            self._record.place += ".call"
            await trio.sleep(rule.call.after_ms / 1000)
            if not await self._make_call(rule.call, mouth, filler):
                return
        if rule.say:
            await self._say(rule.say, mouth, filler)
        if rule.end:
            await self._hang_up(mouth)

    async def _say(self, text: str, mouth: Mouth, filler: Filler) -> None:
        await mouth.say(filler.fill_text(text).replace("{result}", self._result))

    # --- what the user says ----------------------------------------------------------------------------------------

    async def _listen(self, wanted: str, within_ms: float, example: str) -> UserTurn:
        """Wait for the user's next turn; where the user's part is recited, this is the moment to say ``example``."""
        if self._reciter is not None:
            if not example:
                await self._give_up("there is no example: what does the user say here?")
            self._reciter.say(example)
        with trio.move_on_after(within_ms / 1000) as limit:
            turn = await self._conversation.await_turn()
        if limit.cancelled_caught:
            budget = f"within {within_ms / 1000:g} s"
            await self._give_up(f"no {wanted} {budget}", f"{wanted} {budget}", "none")
        return turn

    async def _expect_text(self, step: ExpectText) -> None:
        turn = await self._listen("text", step.within_ms, step.example)
        if turn.is_spoken:
            await self._give_up(f"expected text, the user came with {turn.text!r}", "text", turn.text)
        if not re.search(step.matches, turn.text, re.IGNORECASE):
            wanted = f"a text that matches {step.matches!r}"
            await self._give_up(f"expected {wanted}, got {turn.text!r}", wanted, turn.text)

    async def _expect_audio(self, step: ExpectAudio) -> None:
        if self._reciter is not None:
            await self._give_up("expects speech, and here the user can only write")
        turn = await self._listen("speech", step.within_ms, "")
        if not turn.is_spoken:
            await self._give_up(f"expected speech, the user came with {turn.text!r}", "speech", turn.text)

    # --- tools -----------------------------------------------------------------------------------------------------

    async def _make_call(self, step: Call, mouth: Mouth, filler: Filler) -> bool:
        """Call a tool; False where what the user wants it called with cannot be, which the agent says."""
        place = self._record.place
        try:
            step = filler.fill_call(step)
        except ValueError as error:
            await mouth.say(f"What you want it called with is not a JSON object: {error}.")
            return False
        if failure := find_argument_failure(step, place):
            await self._conversation.break_off(failure)
        call = await self._conversation.call_tool(step.tool, step.parameters, expects_response=step.expects_response)
        if not step.expects_response:
            return True
        if step.wait:
            with trio.move_on_after(step.patience):
                await call.answered.wait()
            await self._take_result(step, call, place)
        else:
            self._open_calls.append((step, call, place))
        return True

    async def _expect_results(self, step: ExpectResults) -> None:
        with trio.move_on_after(step.within_ms / 1000) as limit:
            for _, call, _ in self._open_calls:
                await call.answered.wait()
        if limit.cancelled_caught:
            late = ", ".join(call.tool for _, call, _ in self._open_calls if not call.answered.is_set())
            budget = f"within {step.within_ms / 1000:g} s"
            await self._give_up(f"no result {budget} from: {late}", f"all results {budget}", f"none from {late}")
        for call_step, call, place in self._open_calls:
            await self._take_result(call_step, call, place)
        self._open_calls.clear()

    async def _take_result(self, step: Call, call: CallRecord, place: str) -> None:
        """Take what has come of a call, or that nothing has."""
        if not call.answered.is_set():
            self._conversation.give_up_call(call)
        self._result = NO_RESULT if call.result is None else call.result
        is_error = call.is_error is not False
        await self._conversation.send(
            AgentToolResponse(
                call.tool, call.tool_call_id, "client", is_error, True, self._conversation.next_event_id()
            )
        )
        if failure := find_result_failure(step, call, place):
            await self._conversation.break_off(failure)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _hang_up(self, mouth: Mouth) -> NoReturn:
        self._record.is_played = True
        event_id = self._conversation.next_event_id()
        call_id = f"end_{event_id}"
        await self._conversation.send(AgentToolRequest("end_call", call_id, "system", event_id))
        await self._conversation.send(AgentToolResponse("end_call", call_id, "system", False, True, event_id))
        await mouth.finish()
        await self._conversation.end(Ending("agent", 1000))

    async def _give_up(self, problem: str, expected: str = "", got: str = "") -> NoReturn:
        await self._conversation.break_off(Failure(self._record.place, problem, expected, got))


def fits(rule: Rule, turn: UserTurn) -> re.Match[str] | None:
    """What a rule finds in what the user has said."""
    return re.search(rule.when, turn.text, re.IGNORECASE)
