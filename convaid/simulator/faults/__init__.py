"""The catalogue of what can go wrong between the platform and whoever talks to it: data, for whoever plays it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convaid.simulator.faults.endings import CLOSES, ERRORS, REFUSALS
from convaid.simulator.faults.fault import COUNT, WAIT, Fault
from convaid.simulator.faults.frames import CALLS, FRAMES, MESSAGES, WEBSOCKET
from convaid.simulator.faults.links import AMOUNTS, LINKS, TIMES
from convaid.simulator.faults.starts import BEGINNINGS, CONNECTIONS, MINTING

__all__ = ["COUNT", "FAULTS", "GROUPS", "WAIT", "Fault"]

GROUPS: Mapping[str, Sequence[Fault]] = {
    "Fetching a signed URL": MINTING,
    "Connecting": CONNECTIONS,
    "Refusals": REFUSALS,
    "The first frames": BEGINNINGS,
    "Frames that are no messages": FRAMES,
    "Messages that are not as they should be": MESSAGES,
    "Tool calls that are not as they should be": CALLS,
    "Below the messages": WEBSOCKET,
    "Too much": AMOUNTS,
    "Too late, too early": TIMES,
    "The link": LINKS,
    "Errors of the platform's": ERRORS,
    "Closes": CLOSES,
}
"""All faults, by what they have in common."""

FAULTS: Mapping[str, Fault] = {fault.name: fault for faults in GROUPS.values() for fault in faults}
"""All faults, by name."""

assert len(FAULTS) == sum(map(len, GROUPS.values())), "each name stands for one fault"
