"""Conversations at random, faults of the catalogue mixed in, that a seed makes the same each time.

What a seed makes is what the simulator does: what it says, calls and breaks, and at which byte. What others do at the
same time is theirs: two runs of one seed differ where the answers do.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import attrs
from attrs import field, frozen

from convaid.simulator.agent import Agent, Voice
from convaid.simulator.faults import FAULTS, GROUPS, Fault
from convaid.simulator.scenario import (
    Call,
    Close,
    Drop,
    End,
    Fail,
    Frame,
    Freeze,
    Interrupt,
    Raw,
    Rule,
    Say,
    Scenario,
    Silence,
    Step,
)
from convaid.simulator.server import Simulator, SimulatorSettings, open_simulator
from convaid.simulator.wire import Wire, WirePlan, open_wire
from convaid.simulator.workspace import Workspace

__all__ = ["Chaos", "ChaosTool", "RandomConversation", "derive_seed", "make_conversation", "open_chaos"]

SEED_BITS = 32  # short enough to be typed
KEPT = 8  # conversations that are not made again when they are asked for
LONGEST_FRAME = 20_000  # characters: what is longer would take most of the time
LONGEST = 3.0  # seconds that a conversation lasts at most
SAYINGS = ("Well.", "One moment, please.", "Let me see what I can do about that.", "Größe, 大きさ, 🎉!", "x" * 200)
PLAIN = (Raw, Frame, Freeze, Interrupt, Silence)


@frozen
class ChaosTool:
    """A tool to be called: its name, and its parameters as the platform is told of them."""

    name: str
    parameters: Mapping[str, Any] = field(factory=dict)


CLOCK = ChaosTool(
    "current_time", {"type": "object", "properties": {"zone": {"type": "string", "enum": ["UTC", "Europe/Berlin"]}}}
)


def list_mixable() -> Sequence[Fault]:
    """The faults that can happen in any conversation, and leave it as it is."""
    return [
        fault
        for fault in FAULTS.values()
        if fault.cause is None and fault.steps and not (fault.is_heavy or fault.extra_results or fault.stops)
        if fault.wire == WirePlan() and not fault.agent and all(isinstance(step, PLAIN) for step in fault.steps)
        if all(len(step.text) < LONGEST_FRAME for step in fault.steps if isinstance(step, Raw))
    ]


def list_endings() -> Sequence[Fault]:
    """The faults that end any conversation."""
    ends = (*PLAIN, Fail, Close, Drop)
    return [
        fault
        for name in ("Below the messages", "Errors of the platform's", "Closes")
        for fault in GROUPS[name]
        if fault.cause is not None and not fault.stops and all(isinstance(step, ends) for step in fault.steps)
    ]


MIXABLE = list_mixable()
ENDINGS = list_endings()
REFUSALS = GROUPS["Refusals"]
FIRST_FRAMES = [fault for fault in GROUPS["The first frames"] if "first_frames" in fault.agent and not fault.cause]


@frozen
class RandomConversation:
    """What a seed has made. ``ending`` is the fault that ends it, if nothing else does before."""

    seed: int
    scenario: Scenario
    wire: WirePlan
    ending: Fault | None


def derive_seed(seed: int, number: int) -> int:
    """The seed of the conversation of this number, of all that a seed makes; the first has the seed itself."""
    return seed if number == 0 else random.Random(f"{seed}/{number}").getrandbits(SEED_BITS)


def make_conversation(seed: int, tools: Sequence[ChaosTool] = (CLOCK,)) -> RandomConversation:
    """Make the conversation of a seed, in which these tools are called."""
    return Maker(random.Random(seed), tools).make(seed)


@frozen
class Maker:
    """Makes one conversation; every choice is one of ``chance``."""

    chance: random.Random
    tools: Sequence[ChaosTool]

    def make(self, seed: int) -> RandomConversation:
        """Make all of it."""
        name = f"chaos-{seed}"
        if self.happens(0.06):
            refusal = self.chance.choice(REFUSALS)
            return RandomConversation(seed, Scenario(name, steps=refusal.steps), WirePlan(), refusal)
        agent = self.make_agent()
        steps = [step for _ in range(self.chance.randint(1, 8)) for step in self.make_steps()]
        ending = self.chance.choice(ENDINGS) if self.happens(0.35) else None
        if ending is not None:
            steps += ending.steps
        elif self.happens(0.85):
            steps.append(End())
        rules = [Rule(call=self.make_call(), say="There you are."), Rule(say="I see.")][self.chance.randint(0, 1) :]
        scenario = Scenario(name, agent, Voice(pace=400, speed=5), steps, rules)
        return RandomConversation(seed, scenario, self.make_wire(), ending)

    def happens(self, probability: float) -> bool:
        """Whether something happens that does so often."""
        return self.chance.random() < probability

    def make_agent(self) -> Agent:
        """Somebody to talk to, who may begin oddly."""
        agent = Agent(
            text_only=self.happens(0.6),
            first_message=self.chance.choice(["", "Hello!", SAYINGS[2]]),
            ping_interval=self.chance.choice([0.05, 0.2, 1.0, 2.0]),
            metadata_delay=self.chance.choice([0.0] * 8 + [0.05, 0.3]) if self.happens(0.98) else LONGEST,
            first_frames=self.chance.choice(FIRST_FRAMES).agent["first_frames"] if self.happens(0.1) else [],
            max_duration=self.chance.uniform(0.2 * LONGEST, LONGEST),
        )
        if self.happens(0.2):
            events = self.chance.sample(agent.client_events, self.chance.randint(0, len(agent.client_events)))
            agent = attrs.evolve(agent, client_events=events)
        return agent

    def make_steps(self) -> Sequence[Step]:
        """Something that the agent does, be it foolish."""
        kind = self.chance.choices(
            ("call", "calls", "say", "fault", "silence", "freeze", "interrupt", "unknown tool"),
            (8, 2, 4, 4, 2, 0.5, 1, 0.5),
        )[0]
        match kind:
            case "call":
                return [self.make_call()]
            case "calls":
                calls = [attrs.evolve(self.make_call(), wait=False) for _ in range(self.chance.randint(2, 12))]
                return [*calls, Silence(self.chance.uniform(0.01, 0.2))]
            case "say":
                return [Say(self.chance.choice(SAYINGS))]
            case "fault":
                return self.chance.choice(MIXABLE).steps
            case "silence":
                return [Silence(self.chance.uniform(0.01, 0.2))]
            case "freeze":
                return [Freeze(self.chance.uniform(0.05, 0.3))]
            case "interrupt":
                return [Say(SAYINGS[2]), Interrupt()]
        return [Call("tool_that_nobody_has", {"why": "not"})]

    def make_call(self) -> Call:
        """A call, most often a right one; the agent may be too impatient to hear its answer."""
        tool = self.chance.choice(self.tools)
        return Call(
            tool.name,
            self.make_arguments(tool),
            response_timeout_secs=self.chance.choice([0.05, 0.3, 1.0, 20.0]),
            expects_response=self.happens(0.9),
            copies=self.chance.choice([1] * 9 + [2, 5]),
        )

    def make_arguments(self, tool: ChaosTool) -> dict[str, Any]:
        """Arguments that fit, one time in ten but for something."""
        arguments = self.make_value(dict(tool.parameters) | {"type": "object"})
        assert isinstance(arguments, dict)
        if self.happens(0.1):
            name = self.chance.choice([*arguments, "surprise"])
            arguments[name] = self.chance.choice([None, True, -1, 1e300, "", "x" * 500, [], {"a": [1]}])
        return arguments

    def make_value(self, node: Mapping[str, Any]) -> Any:
        """A value for a node of the platform's dialect of JSON Schema."""
        if node.get("enum"):
            return self.chance.choice(node["enum"])
        if node.get("constant_value") not in ("", None):  # the platform writes "" where there is none
            return node["constant_value"]
        kinds = node.get("type", "string")
        match kinds if isinstance(kinds, str) else kinds[0]:
            case "integer":
                return self.chance.randint(-5, 100)
            case "number":
                return round(self.chance.uniform(0, 10), 3)
            case "boolean":
                return self.happens(0.5)
            case "array":
                return [self.make_value(node.get("items", {})) for _ in range(self.chance.randint(0, 3))]
            case "object":
                required = node.get("required") or ()
                return {
                    name: self.make_value(inner)
                    for name, inner in (node.get("properties") or {}).items()
                    if name in required or self.happens(0.5)
                }
        return self.chance.choice(SAYINGS[:3])

    def make_wire(self) -> WirePlan:
        """What happens on the way, if anything does."""
        plan = WirePlan(seed=self.chance.getrandbits(SEED_BITS))
        if self.happens(0.1):
            plan = attrs.evolve(plan, latency=self.chance.uniform(0, 0.05), jitter=self.chance.uniform(0, 0.05))
        if self.happens(0.75):
            return plan
        return attrs.evolve(
            plan,
            trouble=self.chance.choice(["stall", "mute", "deaf", "reset", "close", "drip"]),
            after=self.chance.choice([0, self.chance.randint(0, 300), self.chance.randint(0, 6000)]),
            lasts=self.chance.choice([0.2, 0.5, LONGEST]),
            rate=self.chance.choice([200.0, 5000.0, 50_000.0]),
        )


class Chaos:
    """An endless supply of conversations, for a simulator behind a wire.

    Without ``tools``, those are called that the simulator's workspace knows, or else the bundled clock.
    """

    def __init__(self, seed: int, tools: Sequence[ChaosTool] = ()) -> None:
        self._seed = seed
        self._tools = tools
        self._wire: Wire | None = None
        self.make_conversation = lru_cache(KEPT)(self._make_conversation)
        """The conversation of a number, counted from 0."""

    def make_scenario(self, number: int) -> Scenario:
        return self.make_conversation(number).scenario

    def begin(self, number: int, port: int) -> None:
        passage = self._wire and self._wire.passages.get(port)
        if passage:
            passage.follow(self.make_conversation(number).wire)

    def connect(self, simulator: Simulator, wire: Wire) -> None:
        """Have what happens on the way happen there, and call the simulator's tools."""
        self._wire = wire
        self._tools = self._tools or list_tools(simulator.workspace) or [CLOCK]

    def _make_conversation(self, number: int) -> RandomConversation:
        return make_conversation(derive_seed(self._seed, number), self._tools)


def list_tools(workspace: Workspace) -> list[ChaosTool]:
    """The client tools that a workspace knows."""
    configs = [dict(tool.config) for tool in workspace.tools.values()]
    tools = [ChaosTool(each["name"], each.get("parameters") or {}) for each in configs if each.get("type") == "client"]
    return sorted(tools, key=lambda tool: tool.name)


@asynccontextmanager
async def open_chaos(
    chaos: Chaos, settings: SimulatorSettings | None = None, *, port: int = 0
) -> AsyncIterator[tuple[Simulator, str]]:
    """Serve conversations at random; yields the simulator, and the address at which whoever talks to it finds it.

    The scenarios of ``settings`` are not played. Raises what `open_simulator` does.
    """
    settings = attrs.evolve(settings or SimulatorSettings([Scenario("chaos")]), supply=chaos)
    async with open_simulator(settings) as simulator, open_wire(simulator.base_url, port=port) as wire:
        chaos.connect(simulator, wire)
        yield simulator, wire.base_url
