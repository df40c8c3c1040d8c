"""A recording written anew with what a replay has come to (floor 6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from convaid.files import write_file
from convaid.recording.lines import Recording, write_line
from convaid.testing.replaying import Difference

__all__ = ["accept_differences"]


def accept_differences(recording: Recording, differences: Sequence[Difference]) -> list[Difference]:
    """Write the recording's file anew, at once or not at all, and return the differences that it still has.

    Lines that do not differ stay as they are, to the letter; so does what is expected in the place of a result, which
    is for its author to change. OSError where the file cannot be written.
    """
    before: defaultdict[int, bytes] = defaultdict(bytes)
    instead: dict[int, bytes] = {}
    for difference in differences:
        if difference.accepted is not None:
            lines = b"".join(map(write_line, difference.accepted))
            if difference.is_addition:
                before[difference.line] += lines
            else:
                instead[difference.line] = lines
    if before or instead:
        kept = [text.encode() + b"\n" for text in recording.texts]
        numbers = range(1, len(kept) + 2)
        content = b"".join(
            before[number] + instead.get(number, kept[number - 1] if number <= len(kept) else b"") for number in numbers
        )
        path = Path(recording.source).resolve()  # a link stays one
        write_file(path, content.decode(), path.stat().st_mode & 0o777)
    return [difference for difference in differences if difference.accepted is None]
