"""How much of everything is measured."""

from __future__ import annotations

from attrs import frozen

__all__ = ["FULL", "QUICK", "Scale"]


@frozen
class Scale:
    """The defaults take about a quarter of an hour on two cores."""

    rounds: int = 5
    slow_rounds: int = 3
    """Of what takes seconds."""
    calls: int = 300
    """One after the other, in one block."""
    paced_calls: int = 25
    flood: int = 1000
    parallel: int = 500
    speech: float = 120.0
    """Seconds of agent speech in one block."""
    chunks: tuple[float, ...] = (0.1, 0.25, 1.0)
    """Seconds of speech in one frame, where it is interrupted."""
    settling: float = 1.0
    """Seconds after the connection, for what is loaded late."""
    listening: float = 4.0
    """Seconds for which idle and speaking processes are watched."""
    crowd: int = 100
    load: int = 500
    """Conversations with the simulator."""
    call_interval: float = 5.0
    """Seconds between two calls on each of them."""
    watching: float = 5.0
    """Seconds for which they are watched in a round."""
    work: float = 5.0
    """Seconds that a tool works while its daemon is stopped, and that a rude plugin blocks."""
    patience: float = 12.0
    """Seconds for which a dead link is watched."""
    tones: int = 30
    """Spoken into a microphone in one block."""
    turns: int = 15
    """The agent's, beside them."""
    cuts: int = 3
    """Interruptions in one block."""
    healing: float = 10.0
    """Seconds for which is watched what becomes of a conversation whose sound server has come back."""
    wake_ups: int = 500
    """Blocks that a thread gives to a loop."""


FULL = Scale()
QUICK = Scale(
    rounds=1,
    slow_rounds=1,
    calls=50,
    paced_calls=5,
    flood=100,
    parallel=20,
    speech=10.0,
    chunks=(0.1,),
    settling=0.2,
    listening=0.5,
    crowd=3,
    load=5,
    call_interval=0.1,
    watching=1.0,
    work=0.4,
    patience=0.5,
    tones=5,
    turns=3,
    cuts=1,
    healing=3.0,
    wake_ups=100,
)
