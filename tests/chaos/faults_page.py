"""The page «What convaid does for each fault»: its rows, from what was observed, and back again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from convaid.simulator.faults import GROUPS, Fault

__all__ = ["PAGE", "SDK_VERSION", "read_rows", "write_page"]

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
SDK_VERSION = re.compile(r"version ([\d.]+) of the official")

INTRODUCTION = """\
# What convaid does for each fault

Everything on this page was played over real sockets, against convaid and against version {version} of the official
Python SDK (its `Conversation`, with the same two tools), and the page was written from what was observed: `make faults`
does it again, and `make test` fails where convaid does anything else. Faults of the platform's come from the simulator,
faults of the link from its TCP proxy, so that they are real: a reset is a reset, and a dead link is one that carries
nothing.

In each conversation the agent calls a tool, then the fault happens, then the agent calls a tool once more and hangs up.
«Goes on» means that the second call had its answer and the conversation came to its end. Where convaid's session ends,
it says why, and when it connects again: «at once» (within half a second, then with growing pauses), «in a while» or
«hardly ever» (somebody has to repair something), as in the table of endings in the [README](../README.md). «And goes
on» there means that the next conversation came to its end. «Counted» is what the log tells of when the session is over.

- **Calls**: how many calls of the first conversation had their answer, of all that were made. None had two. What has
  none is a call that was cut off with its conversation.
- **Noticed by**: the limit in `[conversations.NAME.limits]` after which convaid gives up. To save time, here
  {limits}. As shipped,
  {defaults}.
- **The SDK** has no such limits but those of its WebSocket library, 10 s for a handshake and 40 s for a dead link.
  «Still waits» is what it did when it was looked at for the last time. It connects only once, but it asks for a signed
  URL again after some errors. «Ends» is what `callback_disconnect` was told: the reason, and the close code if there
  was one.

To play some of them to a program of your own: `convaid.simulator.faults.FAULTS` has them all, each with the scenario
and the plan of the wire by which it is played, for `open_simulator` and `convaid.simulator.wire.open_wire`.
`convaid simulate --chaos 17` mixes them at random.
"""

HEAD = "| what happens | convaid | calls | official SDK |\n|---|---|---|---|\n"


def write_page(version: str, limits: str, defaults: str, rows: Mapping[str, tuple[str, str, str]]) -> str:
    """The page, from what was observed of each fault, by name: convaid, its calls, the SDK."""
    parts = [INTRODUCTION.format(version=version, limits=limits, defaults=defaults)]
    for title, faults in GROUPS.items():
        table = "".join(f"| {write_words(fault)} | {' | '.join(rows[fault.name])} |\n" for fault in faults)
        parts.append(f"## {title}\n\n{HEAD}{table}")
    return "\n".join(parts)


def write_words(fault: Fault) -> str:
    """What happens in a fault, as a cell."""
    return fault.words.replace("|", "\\|")


def read_rows(page: str) -> dict[str, tuple[str, str, str]]:
    """What the page says of each fault, by name."""
    names = {write_words(fault): fault.name for faults in GROUPS.values() for fault in faults}
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        if line.startswith("|") and len(cells) == 4 and cells[0] in names:
            rows[names[cells[0]]] = (cells[1], cells[2], cells[3])
    return rows
