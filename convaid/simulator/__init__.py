"""A simulator of the platform on one loopback port: its WebSocket and the REST calls that a conversation needs.

It is what the platform is on the wire, and frank about the rest: there is no speech recognition, no language model and
no speech synthesis. What the agent says and does is written down in a scenario.
"""

from __future__ import annotations

from convaid.simulator.reciting import Reciter
from convaid.simulator.record import CallRecord, ConversationRecord, Ending, Failure, Line, RequestRecord
from convaid.simulator.scenario import Agent, Rule, Scenario, Step, Voice
from convaid.simulator.scenario_file import load_scenario, parse_scenario
from convaid.simulator.server import Simulator, SimulatorSettings, open_simulator

__all__ = [
    "Agent",
    "CallRecord",
    "ConversationRecord",
    "Ending",
    "Failure",
    "Line",
    "Reciter",
    "RequestRecord",
    "Rule",
    "Scenario",
    "Simulator",
    "SimulatorSettings",
    "Step",
    "Voice",
    "load_scenario",
    "open_simulator",
    "parse_scenario",
]
