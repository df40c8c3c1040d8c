"""Plays every fault, against convaid and the official Python SDK, and writes docs/faults.md: `make faults`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.util import find_spec

import trio

from convaid.config import LimitsConfig
from convaid.logs import set_up_logging
from convaid.simulator.faults import FAULTS

from .faults_page import PAGE, write_page
from .playing import LIMITS, play_faults
from .playing_sdk import play_sdk_faults

NAMED = ("connect", "handshake", "disconnect", "link_silence", "answer")


def main() -> None:
    if find_spec("elevenlabs") is None:
        sys.exit("the official SDK is not installed; this brings it: pip install 'convaid[strangers]'")
    set_up_logging("error")
    sys.exit(trio.run(write))


async def write() -> int:
    """Play, write, and return the exit code: 1 where something was not as the catalogue says."""
    faults = list(FAULTS.values())
    observed = await play_faults(faults)
    told = await play_sdk_faults(faults)
    rows = {
        seen.fault.name: (seen.describe(), seen.describe_calls(), told[seen.fault.name].describe()) for seen in observed
    }
    PAGE.write_text(write_page(version("elevenlabs"), write_limits(LIMITS), write_limits(LimitsConfig()), rows))
    slips = [f"{seen.fault.name}: {slip}" for seen in observed for slip in seen.find_slips()]
    print("\n".join(slips) or f"{len(faults)} faults: written to {PAGE}", file=sys.stderr if slips else sys.stdout)
    return 1 if slips else 0


def write_limits(limits: LimitsConfig) -> str:
    """Those that notice faults, in words."""
    return ", ".join(f"`{name}` is {getattr(limits, name):g} s" for name in NAMED)


if __name__ == "__main__":
    main()
