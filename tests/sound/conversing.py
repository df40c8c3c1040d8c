"""A voice conversation as the simulator plays the agent's part of it, for tests with real sound servers.

The agent greets, is asked something and calls a tool, tells a long tale that the user cuts short, and says goodbye when
it is spoken to once more.
"""

from __future__ import annotations

import numpy as np

from ..soundservers import LOUD, RATE, STEP, find_sounds

__all__ = ["GOODBYE", "GREETING", "TALE", "is_over", "measure_speech", "reckon_seconds", "write_scenario"]

PACE = 15  # characters a second, of the simulator's voice
QUIET_POWER = (32768 * 10 ** (LOUD / 20)) ** 2

GREETING = "Hello there!"
TALE = "It is noon in Berlin, and there is a long story to be told about that, which nobody wants to hear to its end."
GOODBYE = "Goodbye, it was nice."


def write_scenario(call: str) -> str:
    """The scenario; ``call`` is the inline table of the tool call."""
    return f"""
steps = [
    {{expect_audio = {{within_ms = 30000}}}},
    {{call = {call}}},
    {{say = "{TALE}"}},
    {{expect_audio = {{within_ms = 30000}}}},
    {{expect_audio = {{within_ms = 30000}}}},
    {{say = "{GOODBYE}"}},
    {{end = {{}}}},
]
[agent]
first_message = "{GREETING}"
"""


def reckon_seconds(text: str) -> float:
    """How long the simulator takes to say it."""
    return len(text) / PACE


def measure_speech(pcm: bytes) -> float:
    """How many seconds of the simulator's voice, a tone, are in a recording: by their energy, whatever the gaps.

    How loud the tone is in the recording is the sound server's affair: it is what most of the loud parts have.
    """
    size = round(STEP * RATE)
    samples = np.frombuffer(pcm, "<i2")[: len(pcm) // 2 // size * size].astype(np.float64)
    power = np.square(samples.reshape(-1, size)).mean(axis=1)
    loud = power[power > QUIET_POWER]
    return round(float(loud.sum() / np.percentile(loud, 75)) * STEP, 3) if loud.size else 0.0


def is_over(pcm: bytes, seconds: float) -> bool:
    """Whether the agent has spoken for nearly so long, and been silent for half a second."""
    return measure_speech(pcm) >= seconds - 0.3 and not find_sounds(pcm[-RATE:])
