"""What all these tests need: servers' listings must not end up in the user's own folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .serving import PlainServer, SdkServer, start_sdk_server


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def plain(tmp_path: Path) -> PlainServer:
    return PlainServer(tmp_path / "tools.json")


@pytest.fixture
async def sdk() -> AsyncIterator[SdkServer]:
    async with start_sdk_server() as server:
        yield server
