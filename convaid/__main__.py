"""``python -m convaid`` is ``convaid``."""

from convaid.cli import main

main()
