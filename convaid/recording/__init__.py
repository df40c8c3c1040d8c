"""Recordings: what has passed over the link of a session, line by line in a file (floor 2).

What it handles for you: both directions in their order, with the seconds since the session began; frames that break the
protocol; how the session ended; no audio, but its length and hash; secrets and the values of dynamic variables, which
are taken out before anything is written; files of their owner's, complete lines, a bound for one and for all together.

What it will not: hold up the link, the conversation or the end of either for long; end a conversation because nothing
can be written; take out what people say.

``docs/recordings.md`` tells of the file.
"""

from __future__ import annotations

from convaid.recording.file import find_recordings_folder
from convaid.recording.lines import CloseLine, EndLine, FrameLine, Header, LostLine, Recording, read_recording
from convaid.recording.redaction import Redactor
from convaid.recording.tap import RecordedSession, Recorder, open_recording

__all__ = [
    "CloseLine",
    "EndLine",
    "FrameLine",
    "Header",
    "LostLine",
    "RecordedSession",
    "Recorder",
    "Recording",
    "Redactor",
    "find_recordings_folder",
    "open_recording",
    "read_recording",
]
