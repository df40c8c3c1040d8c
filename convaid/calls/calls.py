"""One answer for every tool call, in time, whatever the tool does (floor 5)."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import attrs
import trio

from convaid.calls.aftermath import Aftermath, Deliver
from convaid.calls.answers import Ending, describe_time_out
from convaid.calls.ended import RECENT, RESULT_LENGTH, EndedCall
from convaid.calls.gates import Approvals, Gate
from convaid.calls.offers import Offer, list_offered, make_offer
from convaid.calls.results import cut_text
from convaid.calls.room import MakeLoop, Room
from convaid.calls.run import Run
from convaid.calls.threads import Threads
from convaid.config.policy import ToolsConfig
from convaid.events import NOT_ERRORS, ApprovalRequest, Event, ToolAnswer
from convaid.plugins.activation import Activation
from convaid.plugins.loading import Plugin, Plugins
from convaid.plugins.tool import Tool
from convaid.protocol.from_agent import ClientToolCall, McpToolCall
from convaid.structuring import nearest

if TYPE_CHECKING:
    from convaid.calls.processes import Processes, ProcessesState
    from convaid.journal import Journal

__all__ = ["ToolCalls"]

logger = logging.getLogger(__name__)

QUEUE_LIMIT = 1000  # calls that may wait for a place; a flood of more is answered at once
NAME_LENGTH = 80  # characters of an unknown tool's name that an answer repeats
PLATFORM_LIMIT = 20.0  # seconds that the platform waits for a tool of which nothing else is known: its default
ANSWER_MARGIN = 2.0  # seconds that our answer needs at most to get there; half the limit where that is very short
MCP_APPROVAL_LIMIT = 300.0  # seconds that the platform waits for permission, if it does not say how many
FIXED = ("parallel", "quarantine_after", "journal")  # settings of [tools] that are looked at once
UNKNOWN_LENGTH = 2000  # characters of an answer that lists the tools there are


class ToolCalls:
    """Runs the tools of all plugins, for all conversations. Made by `open_tool_calls`."""

    def __init__(
        self,
        plugins: Plugins,
        config: ToolsConfig,
        *,
        nursery: trio.Nursery,
        journal: Journal | None,
        deliver: Deliver,
        is_dry: bool,
        hidden: Collection[str],
        make_loop: MakeLoop,
        activation: Activation | None = None,
    ) -> None:
        self.approvals = Approvals()
        self.aftermath = Aftermath(nursery, self._cancel, deliver, journal)
        self._config = config
        self._plugins = plugins
        self._journal = journal
        self._is_dry = is_dry
        self._activation = activation
        self._rooms = {
            plugin.name: Room(plugin, config.quarantine_after, make_loop, activation)
            for plugin in plugins.ready
            if _needs_room(plugin)
        }
        self.approvals.approvers.extend(room for room in self._rooms.values() if room.plugin.approve is not None)
        self._processes: dict[str, Processes] = {}
        self._threads = Threads()
        self._observers = [room for room in self._rooms.values() if room.plugin.observe is not None]
        self._places = trio.Semaphore(config.parallel)
        self._gates = {
            tool.name: Gate(make_offer(tool, plugin, config)) for tool, plugin in list_offered(plugins, config)
        }
        if not is_dry:
            self._make_processes(hidden)
        self._response_timeouts: dict[str, Mapping[str, float | None]] = {}
        self._awaited: set[Run] = set()
        self.recent: deque[EndedCall] = deque(maxlen=RECENT)
        """The latest calls that were answered, oldest first."""
        self._open_calls = 0

    @property
    def rooms(self) -> tuple[Room, ...]:
        return tuple(self._rooms.values())

    @property
    def places(self) -> tuple[Room | Processes, ...]:
        """Where tools run, but for worker threads."""
        return (*self._rooms.values(), *self._processes.values())

    @property
    def running(self) -> list[Run]:
        """The calls that are not over: those that agents wait for, and those that may go on; oldest first."""
        return sorted({*self._awaited, *self.aftermath.kept}, key=lambda run: run.began_at)

    @property
    def journal_trouble(self) -> str:
        """Why calls cannot be recorded; "" while they can, and where they are not."""
        return self._journal.trouble if self._journal is not None else ""

    def find_offer(self, tool: str) -> Offer | None:
        """The tool of this name as agents may call it, if there is one."""
        return gate.offer if (gate := self._gates.get(tool)) is not None else None

    @property
    def offers(self) -> list[Offer]:
        """All tools that agents may call."""
        return [gate.offer for gate in self._gates.values()]

    def find_processes(self, plugin: str) -> ProcessesState | None:
        """The state of a plugin's processes; None where it has no tool that runs in them."""
        return self._processes[plugin].state if plugin in self._processes else None

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """All plugins as they are now: one whose lifespan has failed is broken."""
        failures = {name: room.failure for name, room in self._rooms.items() if room.failure}
        return tuple(
            attrs.evolve(plugin, status="broken", reason=failures[plugin.name]) if plugin.name in failures else plugin
            for plugin in self._plugins
        )

    def configure(self, config: ToolsConfig) -> list[str]:
        """Take on another configuration of tools, for calls that come from now on.

        Returns the settings that only a restart takes on. A tool whose policy is as before keeps its state: how often
        it was called, and who runs.
        """
        needs_restart = [f"[tools] {name}" for name in FIXED if getattr(config, name) != getattr(self._config, name)]
        gates = {}
        for tool, plugin in list_offered(self._plugins, config):
            offer, gate = make_offer(tool, plugin, config), self._gates.get(tool.name)
            if offer.runs == "process" and plugin.name not in self._processes and not self._is_dry:
                needs_restart.append(f"[tools.{tool.name}] runs")
                if gate is not None:
                    gates[tool.name] = gate
            elif gate is not None and gate.offer.policy == offer.policy:
                gates[tool.name] = gate
            else:
                gates[tool.name] = Gate(offer)
        self._gates, self._config = gates, config
        return needs_restart

    def learn_response_timeouts(self, conversation: str, timeouts: Mapping[str, float | None]) -> None:
        """Note how many seconds the platform waits for the tools of a conversation's agent; None: for ever.

        The platform's ``response_timeout_secs``; a tool of which nothing is known has its default, 20 s.
        """
        self._response_timeouts[conversation] = timeouts

    async def call(self, call: ClientToolCall, conversation: str, conversation_id: str) -> ToolAnswer:
        """Run the tool that the agent asks for and return the one answer that it is owed.

        Always answers, within the tool's time limit and before the platform stops waiting; both include waiting for a
        free place. Raises nothing but `trio.Cancelled`. A tool that is given up is asked to end, and nobody waits until
        it does. One that the policy lets go on is kept: what it returns is delivered later, or dropped.
        """
        begin = trio.current_time()
        if self._open_calls >= self._config.parallel + QUEUE_LIMIT:
            text = f'Too many calls wait here for the tool "{call.tool_name[:NAME_LENGTH]}" to run. Try again later.'
            return ToolAnswer(text, True, "overloaded", 0.0)
        self._open_calls += 1
        try:
            outcome, text = await self._see_to_its_end(call, conversation, conversation_id)
        finally:
            self._open_calls -= 1
        seconds = trio.current_time() - begin
        self.recent.append(
            EndedCall(
                call.tool_name[:NAME_LENGTH],
                conversation,
                conversation_id,
                call.tool_call_id,
                outcome,
                text[:RESULT_LENGTH],
                seconds,
                time.time(),
            )
        )
        return ToolAnswer(text, outcome not in NOT_ERRORS, outcome, seconds)

    async def approve(self, call: McpToolCall, conversation: str, conversation_id: str) -> bool:
        """Whether the platform may have a server of the agent's run a call: asks whoever decides on our own tools.

        Fails closed: what nobody allows in the platform's time is denied. Raises nothing but `trio.Cancelled`.
        """
        limit = call.approval_timeout_secs or MCP_APPROVAL_LIMIT
        deadline = time.monotonic() + limit - min(ANSWER_MARGIN, limit / 2)
        decision = await self.approvals.decide(ApprovalRequest(conversation, conversation_id, call, deadline))
        if not decision:
            why = "nobody allowed it" if decision is None else "permission was denied"
            logger.warning('the MCP tool "%s" of the agent\'s was denied: %s', call.tool_name, why)
        return bool(decision)

    def interrupt(self, conversation_id: str) -> None:
        """The user has interrupted the agent: stop the tools that are not to go on then."""
        for run in (*self._awaited, *self.aftermath.kept):
            if run.conversation_id == conversation_id and run.offer.policy.on_interrupt == "cancel":
                text = f'The tool "{run.call.tool_name}" was stopped, because the user interrupted.'
                run.dismiss(("stopped", text))

    def stop(self, tool_call_id: str) -> list[Run]:
        """Stop the calls of this id that are not over, as an operator wishes; returns them."""
        stopped = [run for run in self.running if run.call.tool_call_id == tool_call_id]
        for run in stopped:
            text = f'The tool "{run.call.tool_name}" was stopped by the operator of this machine.'
            run.dismiss(("stopped", text))
        return stopped

    def observe(self, event: Event) -> None:
        """Hand an event to the plugins that observe; never waits, never raises."""
        for room in self._observers:
            room.observe(event)

    def _make_processes(self, hidden: Collection[str]) -> None:
        offers = [gate.offer for gate in self._gates.values() if gate.offer.runs == "process"]
        if offers:
            from convaid.calls.processes import Processes, make_environment

            environment = make_environment(hidden)
            self._processes = {offer.plugin.name: Processes(offer.plugin, environment) for offer in offers}

    # --- from the call to its answer --------------------------------------------------------------------------------

    async def _see_to_its_end(self, call: ClientToolCall, conversation: str, conversation_id: str) -> Ending:
        gate = self._gates.get(call.tool_name)
        if gate is None:
            return "unknown", self._describe_unknown(call.tool_name)
        offer = gate.offer
        room = self._rooms.get(offer.plugin.name)
        if room is not None and room.failure:
            return "error", f'The tool "{call.tool_name}" is out of service. Do not call it again in this conversation.'
        if room is not None and room.is_stuck:
            return "error", f'The tool "{call.tool_name}" is stuck and cannot be run now. Try again in a few minutes.'
        patience = min(offer.time_limit, self._find_patience(offer.tool, conversation))
        run = Run(
            offer,
            call,
            conversation,
            conversation_id,
            room.state if room is not None else None,
            time.monotonic() + patience,
            trio.lowlevel.current_trio_token(),
            trio.current_time(),
            self._journal,
            self._is_dry,
            self._activation,
        )
        run.limit.deadline = run.began_at + patience
        self._awaited.add(run)
        try:
            with run.limit:
                return await self._pass_gate(run, gate) or await self._take_places(run, room)
        finally:
            self._awaited.discard(run)
        return run.verdict or describe_time_out(run, patience)

    def _find_patience(self, tool: Tool, conversation: str) -> float:
        """Return the seconds in which the agent must have its answer."""
        known = self._response_timeouts.get(conversation)
        if known is not None and tool.name in known:
            limit = known[tool.name]
        else:
            settings = tool.platform_settings
            is_awaited = settings["expects_response"] and settings["execution_mode"] != "async"
            limit = PLATFORM_LIMIT if is_awaited else None
        return math.inf if limit is None else limit - min(ANSWER_MARGIN, limit / 2)

    async def _pass_gate(self, run: Run, gate: Gate) -> Ending | None:
        """Wait for permission and the tool's turn; returns the answer if it is not to run."""
        name, permission = run.call.tool_name, gate.find_permission(run.call.parameters)
        if permission == "deny":
            logger.warning('the tool "%s" was not run: its permission is "deny" for these arguments', name)
            return "denied", f'The tool "{name}" is not permitted with these arguments. Do not call it so again.'
        if refusal := gate.count_call():
            return refusal
        if permission == "ask" and (refusal := await self.approvals.ask(run)):
            return refusal
        return await gate.take_turn(run)

    async def _take_places(self, run: Run, room: Room | None) -> Ending:
        try:
            await _take_place(run.offer.places)
            try:
                await _take_place(self._places)
            except trio.Cancelled:
                run.offer.places.release()
                raise
        except trio.Cancelled:
            if run.turn is not None:
                run.turn.release()
            raise
        try:
            return await self._wait_for(run, room)
        finally:
            self._places.release()

    async def _wait_for(self, run: Run, room: Room | None) -> Ending:
        """Begin a run that has its places, and wait for its ending, or for the tool to put the agent off."""
        run.has_begun = True
        run.waiting = trio.lowlevel.current_task()
        self._find_place(run).start(run)

        def stop_waiting(_: object) -> trio.lowlevel.Abort:
            run.waiting = None
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            ending: Ending = await trio.lowlevel.wait_task_rescheduled(stop_waiting)
        except trio.Cancelled:
            if run.may_go_on():
                self.aftermath.keep(run)
            else:
                self.aftermath.give_up(run)
            raise
        if run.is_deferred:
            if run.ending is not None:  # so soon that the agent need not be put off
                return run.ending
            self.aftermath.keep(run)
        return ending

    def _cancel(self, run: Run) -> None:
        """Ask a run's code to end, where there is a way."""
        self._find_place(run).cancel(run)

    def _find_place(self, run: Run) -> Threads | Room | Processes:
        """Return where a run's code runs; in a rehearsal all that runs is the reading of arguments."""
        if self._is_dry or run.offer.runs == "thread":
            return self._threads
        places: Mapping[str, Room | Processes] = self._rooms if run.offer.runs == "room" else self._processes
        return places[run.offer.plugin.name]

    def _describe_unknown(self, name: str) -> str:
        name = name[:NAME_LENGTH]
        found = nearest(name, self._gates, 3)
        hint = f"Did you mean {' or '.join(found)}?" if found else f"There are: {', '.join(self._gates) or 'none'}."
        return cut_text(f'There is no tool named "{name}" here. {hint}', UNKNOWN_LENGTH)


def _needs_room(plugin: Plugin) -> bool:
    hooks = (plugin.lifespan, plugin.observe, plugin.approve, plugin.activate)
    is_needed = any(hook is not None for hook in hooks) or bool(plugin.devices)
    return is_needed or any(tool.is_async for tool in plugin.tools)


async def _take_place(places: trio.Semaphore) -> None:
    """Wait for a place; it is not taken for a call that has been given up when its turn comes."""
    try:
        places.acquire_nowait()  # saves a turn of the loop
    except trio.WouldBlock:
        await places.acquire()
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled:
        places.release()
        raise
