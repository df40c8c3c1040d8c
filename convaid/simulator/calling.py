"""The platform's side of tool calls: what is sent, how long the agent waits, and what a result changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from convaid.protocol.codec import encode
from convaid.protocol.from_agent import (
    AgentToolRequest,
    AgentToolResponse,
    AgentToolResponseFullPayload,
    ClientToolCall,
)
from convaid.protocol.to_agent import ClientToolResult
from convaid.simulator.record import CallRecord
from convaid.simulator.tool_settings import ToolSettings, find_mock

if TYPE_CHECKING:
    from convaid.simulator.conversation import Conversation

__all__ = ["Calls"]

log = logging.getLogger(__name__)

HIDDEN = "(the tool failed; its tool_error_handling_mode keeps the reason from the agent)"
FULL_RESULT_LENGTH = 64 * 1024  # characters of a result that agent_tool_response_full_payload has room for


class Calls:
    """The tool calls of one conversation. ``tools`` are those that the platform knows, by name."""

    def __init__(self, conversation: Conversation, tools: Mapping[str, ToolSettings]) -> None:
        self._conversation = conversation
        self._tools = tools
        self._open: dict[str, CallRecord] = {}
        self._is_turn_protected = False

    @property
    def required_variables(self) -> set[str]:
        """The dynamic variables without which the tools cannot be called."""
        return set().union(*(settings.required_variables for settings in self._tools.values()))

    @property
    def forbid_interruption(self) -> bool:
        """Is the user not to cut in now, or for the rest of the agent's turn, because a tool's settings say so?"""
        modes = (call.settings.interruption_mode for call in self._open.values())
        return self._is_turn_protected or any(mode != "allow" for mode in modes)

    @property
    def run_in_background(self) -> bool:
        """Is there a result that the agent has gone on without, and still expects?"""
        return any(map(self.is_in_background, self._open.values()))

    def is_in_background(self, call: CallRecord) -> bool:
        """Does the agent go on without the result, which it hears when it comes?"""
        is_later = self._conversation.agent.guesses.async_result == "later"
        return is_later and call.settings.execution_mode == "async"

    def fill_parameters(self, tool: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters with those that the platform fills in itself."""
        settings = self._tools.get(tool)
        return settings.fill_parameters(parameters, self._conversation.variables) if settings else parameters

    async def make(
        self,
        tool: str,
        parameters: dict[str, Any],
        *,
        expects_response: bool | None = None,
        response_timeout: float | None = None,
        copies: int = 1,
    ) -> CallRecord:
        """Send a call, ``copies`` times; its record's ``answered`` is set when the result comes.

        What is None is as the tool's settings have it.
        """
        conversation, settings = self._conversation, self._tools.get(tool, ToolSettings())
        if settings.execution_mode == "post_tool_speech" and conversation.mouth is not None:
            await conversation.mouth.finish()
        event_id = conversation.next_event_id()
        call = CallRecord(
            tool,
            f"call_{event_id}_{conversation.record.conversation_id}",
            self.fill_parameters(tool, parameters),
            trio.current_time(),
            expects_response=settings.expects_response if expects_response is None else expects_response,
            patience=settings.response_timeout if response_timeout is None else response_timeout,
            settings=settings,
        )
        conversation.record.calls.append(call)
        self._open[call.tool_call_id] = call
        self._is_turn_protected |= settings.interruption_mode == "disable_during_tool_and_turn"
        await conversation.send(
            AgentToolRequest(
                tool,
                call.tool_call_id,
                "client",
                event_id,
                call.expects_response,
                settings.interruption_mode != "allow",
                -1 if call.patience == float("inf") else max(1, round(call.patience)),
                settings.execution_mode,
            )
        )
        initiation = conversation.record.initiation
        if mock := find_mock(
            tool, call.parameters, settings.mocks, initiation.tool_mock_config if initiation else None
        ):
            call.is_mocked = True
            await self.take(ClientToolResult(call.tool_call_id, mock.result, mock.is_error))
            return call
        message = ClientToolCall(tool, call.tool_call_id, call.parameters, event_id, call.expects_response)
        await conversation.send(message)
        for _ in range(copies - 1):
            await conversation.send_raw(encode(message))
        return call

    async def take(self, result: ClientToolResult) -> None:
        """A result has come; one of a call that was sent by hand changes nothing."""
        call = self._open.pop(result.tool_call_id, None)
        if call is None:
            return
        call.answered_at, call.result = trio.current_time(), result.result
        call.error_type, call.is_error = result.error_type, result.is_error or result.error_type is not None
        call.answered.set()
        log.info(
            "%s tool %s %s: %s %s (%.1f ms)",
            self._conversation.record.conversation_id,
            call.tool,
            call.parameters,
            "error" if call.is_error else "result",
            call.result,
            (call.answered_at - call.asked_at) * 1000,
        )
        if self.is_in_background(call):
            await self.conclude(call)

    async def wait(self, call: CallRecord) -> None:
        """Wait for the result for as long as the agent does, which may say something meanwhile."""
        silences, mouth = self._conversation.agent.silences, self._conversation.mouth
        with trio.move_on_after(call.patience):
            if silences.soft_timeout is not None and mouth is not None:
                with trio.move_on_after(silences.soft_timeout):
                    await call.answered.wait()
                    return
                await mouth.say(silences.soft_timeout_message)
            await call.answered.wait()

    async def conclude(self, call: CallRecord) -> str | None:
        """Tell how a call has ended, also that nothing came in time; returns what the agent hears of the result.

        A result sets the dynamic variables that the tool's settings assign it to.
        """
        conversation = self._conversation
        if call.is_concluded:
            return call.heard
        call.is_concluded = True
        if not call.answered.is_set():
            self.give_up(call)
        is_error, heard = call.is_error is not False, call.result
        if call.result is not None and not is_error:
            values, heard = call.settings.assign(call.result)
            conversation.variables.update(values)
        elif call.result is not None and call.settings.hides_errors and not call.is_mocked:
            heard = HIDDEN
        call.heard = heard
        is_called, event_id = call.error_type != "user_rejected", conversation.next_event_id()
        told = (call.tool, call.tool_call_id, "client", is_error, is_called, event_id)
        full = heard or ""
        await conversation.send(AgentToolResponse(*told))
        await conversation.send(
            AgentToolResponseFullPayload(*told, full[:FULL_RESULT_LENGTH], truncated=len(full) > FULL_RESULT_LENGTH)
        )
        return heard

    def give_up(self, call: CallRecord) -> None:
        """A result that still comes is late, and ignored."""
        self._conversation.forget_call(call.tool_call_id)
        self._open.pop(call.tool_call_id, None)

    def end_turn(self) -> None:
        """The user has the word: what protected the agent's turn is over."""
        self._is_turn_protected = False
