"""The tools of the plugins under test, called as an agent calls them (floor 6)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from attrs import define, field

from convaid.calls import ToolCalls, list_offered, open_tool_calls
from convaid.calls.room import Room
from convaid.config import ToolsConfig
from convaid.events import ToolAnswer
from convaid.matching.view import find_response_timeout
from convaid.plugins import Plugins
from convaid.protocol.from_agent import ClientToolCall
from convaid.session.late import LateResult, LateResults
from convaid.testing.clock import Clock
from convaid.testing.pending import KitError, Pending
from convaid.testing.stage import Stage
from convaid.testing.subjects import Subjects
from convaid.wording import nearest

__all__ = ["CONVERSATION", "CONVERSATION_ID", "CallTool", "Toolbox", "find_own_timeouts", "open_toolbox"]

CONVERSATION = "test"
CONVERSATION_ID = "conv_test"


@define(eq=False)
class Toolbox:
    """The open plugins, on a stage's loop. Made by `open_toolbox`."""

    tool_calls: ToolCalls
    late_results: LateResults
    """For the agent of the conversation."""
    names: tuple[str, ...]
    _numbers: count[int] = field(factory=lambda: count(1), init=False)

    def make_call(self, name: str, arguments: Mapping[str, Any] | None) -> ClientToolCall:
        """Return a new call as it comes from an agent. Raises KitError for a tool that is not there."""
        __tracebackhide__ = True
        if name not in self.names:
            found = nearest(name, self.names, 3)
            hint = f"did you mean {' or '.join(found)}?" if found else f"there are: {', '.join(self.names) or 'none'}"
            raise KitError(f'no plugin under test has a tool "{name}"; {hint}')
        try:
            parameters = json.loads(json.dumps({} if arguments is None else arguments))
        except TypeError as error:
            raise KitError(f"an agent sends its arguments as JSON: {error}") from None
        return ClientToolCall(name, f"call_{next(self._numbers)}", parameters)


def find_own_timeouts(plugins: Plugins, config: ToolsConfig) -> dict[str, float | None]:
    """Return how long a platform waits for each tool that knows them all as they are."""
    return {
        tool.name: find_response_timeout(tool.describe(config.find_time_limit(tool.name, plugin.name, tool.time_limit)))
        for tool, plugin in list_offered(plugins, config)
    }


@asynccontextmanager
async def open_toolbox(subjects: Subjects, clock: Clock) -> AsyncIterator[Toolbox]:
    """Open the plugins as the daemon opens them, without a journal; the platform knows their tools as they are."""
    late_results = LateResults()

    def deliver(_: str, late: LateResult) -> None:
        late_results.put(late)

    config = subjects.configuration.tools
    async with open_tool_calls(subjects.plugins, config, deliver=deliver, make_loop=clock.make_loop) as tool_calls:
        processes = [place for place in tool_calls.places if not isinstance(place, Room)]
        clock.respect(lambda: any(each.is_changing for each in processes))
        timeouts = find_own_timeouts(subjects.plugins, config)
        tool_calls.learn_response_timeouts(CONVERSATION, timeouts)
        yield Toolbox(tool_calls, late_results, tuple(timeouts))


@define(eq=False, repr=False)
class CallTool:
    """The fixture ``call_tool``: calls the tools of the plugins under test as an agent would.

    With strict arguments, the plugin's lifespan, time limits and the configuration's policy; the journal is off. Raises
    KitError for a tool that is not there: an agent would be told which there are.
    """

    _stage: Stage
    _toolbox: Toolbox

    def __call__(self, name: str, arguments: Mapping[str, Any] | None = None) -> ToolAnswer:
        """Call a tool and wait for its answer."""
        __tracebackhide__ = True
        return self.start(name, arguments).wait()

    def start(self, name: str, arguments: Mapping[str, Any] | None = None) -> Pending[ToolAnswer]:
        """Call a tool; what is returned can be waited for, awaited, or left until something else has happened."""
        __tracebackhide__ = True
        call = self._toolbox.make_call(name, arguments)
        return self._stage.start(self._toolbox.tool_calls.call, call, CONVERSATION, CONVERSATION_ID)
