"""Tool calls: the wall between plugins' code and the conversations (floor 5).

Plugin code never runs on the conversations' loop. A sync tool runs in a worker thread; async tools, lifespans,
observers and approvers run in their plugin's `Room`, a thread with a loop of its own; a `process` tool in one of its
plugin's `Processes`. Time limits and owed answers stay on our side of the wall: whatever a plugin does,
`ToolCalls.call` returns one `ToolAnswer`, in time.

What this does not do: it cannot end a thread. A tool that ignores its end goes on as long as it likes; it keeps its
place among the tool's parallel calls meanwhile, and the log says where it is. Code that holds Python's global lock (a C
function that does not return) stops everything, unless it runs in a process.
"""

from convaid.calls.aftermath import note_told
from convaid.calls.calls import ToolCalls
from convaid.calls.offers import list_offered
from convaid.calls.opening import open_tool_calls

__all__ = ["ToolCalls", "list_offered", "note_told", "open_tool_calls"]
