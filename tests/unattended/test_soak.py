"""A small dose of the soak: two short rounds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from .soak import run_soak


@pytest.mark.timeout(120)  # it takes about 20 s, ten of them until threads without work end
def test_what_a_daemon_uses_stays_flat() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's are too long for a socket
        soak = run_soak(Path(name), seed=1, rounds=[3.0, 3.0], conversations=6)
    assert soak.slips == []
    assert soak.sessions >= 6
    assert len(soak.quiet) == 2
