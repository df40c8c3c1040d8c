"""Scenarios: what the simulated agent does in a conversation, as value classes.

An agent works through its ``steps`` in order; after the last one its ``rules`` answer whatever the user says, until
somebody hangs up. Failures are steps like any other. Durations are seconds, but for those whose names end in ``_ms``:
``within_ms`` is the time that an expectation has, ``after_ms`` how long a step waits after the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from attrs import Factory, frozen

from convaid.simulator.agent import Agent, Voice
from convaid.simulator.brain.settings import Brain
from convaid.simulator.fields import pattern_field
from convaid.simulator.steps import (
    EXAMPLE,
    STEPS,
    Alternative,
    Branch,
    Call,
    Close,
    Drop,
    End,
    ExpectAudio,
    ExpectResults,
    ExpectText,
    Fail,
    Frame,
    Freeze,
    Interrupt,
    McpCall,
    Raw,
    Refuse,
    Say,
    Send,
    Silence,
    Step,
    find_short_field,
)

__all__ = [
    "STEPS",
    "Agent",
    "Alternative",
    "Branch",
    "Call",
    "Close",
    "Drop",
    "End",
    "ExpectAudio",
    "ExpectResults",
    "ExpectText",
    "Fail",
    "Frame",
    "Freeze",
    "Interrupt",
    "McpCall",
    "Raw",
    "Refuse",
    "Rule",
    "Say",
    "Scenario",
    "Send",
    "Silence",
    "Step",
    "Voice",
    "find_short_field",
]


@frozen
class Rule:
    """What the agent does when the user says something that fits: call a tool, say something, hang up, in this order.

    The first rule that fits is followed. In the call's tool, its parameters and its ``parameters_json``, ``$1`` stands
    for what the first group matched, and ``#1``, alone in a parameter, for the same as a number.
    """

    when: Annotated[str, "a regular expression; left out, it fits whatever the user says"] = pattern_field()
    call: Call | None = None
    say: str = ""
    end: Annotated[bool, "the agent hangs up"] = False
    example: Annotated[str, EXAMPLE] = ""


@frozen
class Scenario:
    """One conversation's worth of agent."""

    name: str = "scenario"
    agent: Agent = Factory(Agent)
    voice: Voice = Factory(Voice)
    steps: Sequence[Step] = ()
    rules: Sequence[Rule] = ()
    brain: Brain | None = None

    @property
    def refusal(self) -> Refuse | None:
        """How the conversation is refused, where it is."""
        return self.steps[0] if self.steps and isinstance(self.steps[0], Refuse) else None

    @property
    def examples(self) -> list[str]:
        """What a user may write to get through the steps, where they do not branch."""
        return [step.example for step in self.steps if isinstance(step, ExpectText)]
