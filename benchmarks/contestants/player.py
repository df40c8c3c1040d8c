"""A program that plays what it reads, as `aplay` does, on the card of this folder. Argument: the card's record."""

from __future__ import annotations

import sys
from pathlib import Path

from sound_card import PERIOD_BYTES, SoundCard


def main() -> None:
    card = SoundCard(Path(sys.argv[1]))
    with open(0, "rb", buffering=PERIOD_BYTES) as samples:
        while period := samples.read(PERIOD_BYTES):
            card.write(period)


if __name__ == "__main__":
    main()
