"""Services are there before the first conversation."""

from __future__ import annotations

import pytest
import trio

from convaid.config import parse_configuration
from convaid.daemon import Daemon, run_daemon
from convaid.errors import ConfigurationError, Problem
from convaid.plugins import Plugins
from convaid.reloading import reload
from convaid.simulator import open_simulator

from .holding import LIMIT, MAIN


async def test_a_service_that_cannot_be_had_costs_no_conversation() -> None:
    async def refuse(daemon: Daemon, *, task_status: trio.TaskStatus[None]) -> None:
        assert not daemon.conversations
        with pytest.raises(ConfigurationError, match="is not read again: the daemon starts"):
            await reload(daemon)
        await trio.testing.wait_all_tasks_blocked(0.02)
        raise ConfigurationError("config.toml", [Problem("control.path", "is taken")])

    async with open_simulator() as simulator:
        text = f'{MAIN}\n[platform]\nbase_url = "{simulator.base_url}"\n'
        configuration = parse_configuration(text, "test")
        daemon = Daemon(lambda: configuration)
        with (
            trio.fail_after(LIMIT),
            pytest.RaisesGroup(ConfigurationError, flatten_subgroups=True, allow_unwrapped=True),
        ):
            await run_daemon(configuration, Plugins(()), observe=lambda _: None, daemon=daemon, services=[refuse])
        assert not simulator.conversations
