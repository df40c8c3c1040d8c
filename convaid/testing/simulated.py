"""The simulator on a real port, for tests of whatever talks to the platform (floor 6)."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, frozen

from convaid.simulator import Scenario, Simulator, SimulatorSettings, load_scenario, open_simulator
from convaid.testing.pending import Pending
from convaid.testing.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convaid.simulator import ConversationRecord, RequestRecord

__all__ = ["SimulatedPlatform", "StartSimulator"]


@frozen(eq=False, repr=False)
class SimulatedPlatform:
    """A running simulator. It runs in a thread of its own, so that sync code can talk to it, too."""

    _stage: Stage
    _simulator: Simulator

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:…``; a WebSocket's address begins with ``ws`` instead."""
        return self._simulator.base_url

    @property
    def conversations(self) -> Sequence[ConversationRecord]:
        """What was said and called in each conversation, in the order in which they began."""
        return tuple(self._simulator.conversations)

    @property
    def requests(self) -> Sequence[RequestRecord]:
        """The REST calls so far."""
        return tuple(self._simulator.requests)

    def wait_conversation(self, number: int = 0) -> Pending[ConversationRecord]:
        """Return the record of a conversation, counted from 0, once it has ended."""
        return self._stage.start(self._simulator.wait_conversation, number)


@define(eq=False, repr=False)
class StartSimulator:
    """The fixture ``simulator``: starts one, or several, which end with the test."""

    _stage: Stage
    _open: ExitStack

    def __call__(self, *scenarios: Scenario | str | Path, api_key: str | None = None) -> SimulatedPlatform:
        """Start a simulator whose conversations play these scenarios in turn, the last one for all the rest.

        A scenario may be the name of a bundled one, or a file's path. Raises ConfigurationError for one that cannot be.
        """
        __tracebackhide__ = True
        played = [each if isinstance(each, Scenario) else load_scenario(each) for each in scenarios or ("default",)]
        opened = self._stage.hold(open_simulator(SimulatorSettings(played, api_key)))
        return SimulatedPlatform(self._stage, self._open.enter_context(opened))
