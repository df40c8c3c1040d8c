"""`convaid doctor`: everything that conversations need, looked at, with one fix for whatever is wrong (floor 6).

What it handles: the API key, agents, tools, signed URLs; the way to the platform, its certificate, the clock; plugins,
sound, the service, the state folder and its files, a running daemon. Everything at once, each within a time limit.

What it will not: change anything, hold a conversation, run a tool or a plugin's lifespan, open a sound device.
"""

from convaid.doctor.examining import examine
from convaid.doctor.findings import Finding
from convaid.doctor.subject import Subject

__all__ = ["Finding", "Subject", "examine"]
