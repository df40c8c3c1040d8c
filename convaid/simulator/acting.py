"""Playing the agent: a scenario's steps and rules, turned into what is said, called and broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from convaid.errors import LocalProtocolError
from convaid.patterns import search_text
from convaid.protocol.from_agent import FromAgent
from convaid.simulator.approving import call_mcp_tool
from convaid.simulator.conversation import Conversation, UserTurn
from convaid.simulator.disturbing import disturb
from convaid.simulator.expecting import find_argument_failure, find_result_failure
from convaid.simulator.filling import Filler
from convaid.simulator.hearing import Hearing
from convaid.simulator.messages import number_message
from convaid.simulator.reciting import Reciter, order_rules
from convaid.simulator.record import CallRecord, Failure
from convaid.simulator.scenario import (
    STEPS,
    Branch,
    Call,
    End,
    ExpectAudio,
    ExpectResults,
    ExpectText,
    Interrupt,
    McpCall,
    Rule,
    Say,
    Scenario,
    Send,
    Silence,
    Step,
)
from convaid.simulator.speaking import Mouth
from convaid.simulator.speech import Speech
from convaid.simulator.starting import Terms

if TYPE_CHECKING:
    from regex import Match

__all__ = ["ScenarioActor"]

NO_RESULT = "(no result in time)"
NO_RESULT_YET = "(no result yet)"
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
        self._hearing = Hearing(conversation)
        self._reciter = reciter
        self._record = conversation.record
        self._record.place = "agent.first_message"
        self._result = NO_RESULT
        self._open_calls: list[tuple[Call, CallRecord, str]] = []

    async def act(self, terms: Terms) -> None:
        """Greet, work through the steps, then follow the rules; with none of them left, say nothing any more.

        Where the user's part is recited, the rules are tried by their examples, and then the agent hangs up.
        """
        mouth = Mouth(self._conversation, self._scenario.voice, self._speech, is_text_only=terms.is_text_only)
        if terms.first_message:
            await mouth.say(terms.fill_in(terms.first_message))
        await self._play(self._scenario.steps, "steps", mouth, Filler(terms))
        if self._reciter is not None:
            await self._try_rules(self._reciter, mouth, terms)
            await self._hang_up()
        while self._scenario.rules:
            await self._follow_rule(await self._conversation.await_turn(), mouth, terms)

    async def hear(self, audio: bytes) -> None:
        """Listen to the user, who may speak over the agent."""
        await self._hearing.hear(audio)

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
            case McpCall():
                self._result = await call_mcp_tool(self._conversation, step, place)
            case Send(message):
                await self._send(message)
            case Interrupt():
                await mouth.interrupt()
            case Silence(seconds):
                await trio.sleep(seconds)
            case End():
                await self._hang_up()
            case _:
                await disturb(self._conversation, step)

    async def _take_branch(self, step: Branch, place: str, mouth: Mouth, filler: Filler) -> None:
        planned = self._reciter.plan_branch(step.among) if self._reciter else []
        for turn_number in range(step.rounds):
            self._record.place = place
            plan = planned[turn_number] if turn_number < len(planned) else None
            turn = await self._listen("text", step.within_ms, plan.example if plan else "")
            for number, alternative in enumerate(step.among):  # noqa: B007 - the one that fits
                if found := search_text(alternative.when, turn.text):
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
        for number, rule in enumerate(self._scenario.rules):
            self._record.place = f"rules[{number}]"
            if found := fits(rule, turn):
                break
        else:
            self._record.place = "rules"
            return
        filler = Filler(terms, found)
        if rule.call is not None:
            self._record.place += ".call"
            await trio.sleep(rule.call.after_ms / 1000)
            if not await self._make_call(rule.call, mouth, filler):
                return
        if rule.say:
            await self._say(rule.say, mouth, filler)
        if rule.end:
            await self._hang_up()

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
            budget = f"within {within_ms:g} ms"
            await self._give_up(f"no {wanted} {budget}", f"{wanted} {budget}", "none")
        return turn

    async def _expect_text(self, step: ExpectText) -> None:
        turn = await self._listen("text", step.within_ms, step.example)
        if turn.is_spoken:
            await self._give_up(f"expected text, the user came with {turn.text!r}", "text", turn.text)
        if not search_text(step.matches, turn.text):
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
        """Call a tool; False where what the user wants it called with cannot be, which the agent says.

        Where the user's part is recited, it is the scenario that is wrong.
        """
        place = self._record.place
        try:
            step = filler.fill_call(step)
        except ValueError as error:
            if self._reciter is not None:
                given = filler.fill_text(step.parameters_json)
                await self._give_up(f"{step.tool} cannot be called with this: {error}", "a JSON object", given)
            await mouth.say(f"What you want it called with is not a JSON object: {error}.")
            return False
        calls = self._conversation.calls
        step = attrs.evolve(step, parameters=calls.fill_parameters(step.tool, step.parameters))
        if failure := find_argument_failure(step, place):
            await self._conversation.break_off(failure)
        call = await calls.make(
            step.tool,
            step.parameters,
            expects_response=step.expects_response,
            response_timeout=step.response_timeout_secs,
            copies=step.copies,
        )
        if step.within_ms is not None:
            call.patience = min(call.patience, step.within_ms / 1000)
        if not call.expects_response:
            if step.needs_result:
                await self._give_up(f"{step.tool} does not answer: expects_response is false, here or in its settings")
            return True
        if step.wait and not calls.is_in_background(call):
            await calls.wait(call)
            await self._take_result(step, call, place)
        else:
            self._result = NO_RESULT_YET
            self._open_calls.append((step, call, place))
        return True

    async def _expect_results(self, step: ExpectResults) -> None:
        with trio.move_on_after(step.within_ms / 1000) as limit:
            for _, call, _ in self._open_calls:
                await call.answered.wait()
        if limit.cancelled_caught:
            late = ", ".join(call.tool for _, call, _ in self._open_calls if not call.answered.is_set())
            budget = f"within {step.within_ms:g} ms"
            await self._give_up(f"no result {budget} from: {late}", f"all results {budget}", f"none from {late}")
        for call_step, call, place in self._open_calls:
            await self._take_result(call_step, call, place)
        self._open_calls.clear()

    async def _take_result(self, step: Call, call: CallRecord, place: str) -> None:
        """Take what has come of a call, or that nothing has."""
        heard = await self._conversation.calls.conclude(call)
        self._result = NO_RESULT if heard is None else heard
        if failure := find_result_failure(step, call, place):
            await self._conversation.break_off(failure)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _hang_up(self) -> NoReturn:
        self._record.is_played = True
        await self._conversation.hang_up()

    async def _send(self, message: FromAgent) -> None:
        try:
            await self._conversation.send_anyway(number_message(message, self._conversation.next_event_id()))
        except LocalProtocolError as error:
            await self._give_up(f"this cannot be sent now: {error}")

    async def _give_up(self, problem: str, expected: str = "", got: str = "") -> NoReturn:
        await self._conversation.break_off(Failure(self._record.place, problem, expected, got))


def fits(rule: Rule, turn: UserTurn) -> Match[str] | None:
    """What a rule finds in what the user has said."""
    return search_text(rule.when, turn.text)
