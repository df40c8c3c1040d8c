"""What a starting daemon learns of the platform, and that nothing of it stands in the way of conversations."""

from __future__ import annotations

import logging
from pathlib import Path

import attrs
import pytest
import trio

from convaid.config import Configuration, Secret, parse_configuration
from convaid.daemon import Daemon, run_daemon
from convaid.errors import ConfigurationError
from convaid.matching import observing
from convaid.matching.observing import match_at_start
from convaid.matching.snapshot import write_snapshot
from convaid.plugins import Plugins

from ..transport.servers import serve_http, serve_raw
from .workspace import LIMIT, MAIN, TOOLS, Bench, make_plugins, open_bench

KEY = Secret("sk_0123456789abcdef")
PLUGINS = make_plugins(*TOOLS)
TIMEOUTS = {"main": {"set_lamps": 20, "find_lamps": 35, "blink": 20}}


def make_configuration(bench: Bench, tools: str = "") -> Configuration:
    text = f'{MAIN}\n[platform]\nbase_url = "{bench.simulator.base_url}"\n[tools]\n{tools}'
    return parse_configuration(text, "test")


async def test_with_a_key_the_platform_is_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_bench(tmp_path) as bench:
        match = await match_at_start(make_configuration(bench), PLUGINS, KEY)
        assert (match.findings, match.response_timeouts) == ((), TIMEOUTS)
        assert not caplog.records
        await bench.edit_tool("blink", expects_response=False, description="Blink.")
        with caplog.at_level(logging.INFO, "convaid"):
            match = await match_at_start(make_configuration(bench), PLUGINS, KEY)
    assert match.response_timeouts["main"]["blink"] is None
    assert [(record.levelname, record.message.split(":")[0]) for record in caplog.records] == [
        ("WARNING", 'tool "blink"'),
        ("INFO", 'tool "blink"'),
    ]
    assert "`convaid tools push`" in caplog.records[0].message


async def test_strict_makes_findings_fatal_but_not_notes(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        configuration = make_configuration(bench, "strict = true")
        await bench.edit_tool("blink", description="Blink.")
        await match_at_start(configuration, PLUGINS, KEY)
        await bench.edit_tool("blink", expects_response=False)
        with pytest.raises(ConfigurationError, match=r'tools\.strict: tool "blink": .*thrown away'):
            await match_at_start(configuration, PLUGINS, KEY)


async def test_without_a_key_nobody_is_asked(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        bench.simulator.requests.clear()
        match = await match_at_start(make_configuration(bench), PLUGINS, None)
        assert not bench.simulator.requests
    assert match == observing.Match()


async def test_a_simulator_that_remembers_is_asked_without_a_key(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        configuration = make_configuration(bench)
        file = tmp_path / "simulator.json"
        platform = attrs.evolve(configuration.platform, simulator_file=file)
        configuration = attrs.evolve(configuration, platform=platform)
        assert await match_at_start(configuration, PLUGINS, None) == observing.Match()  # nothing was pushed yet
        file.touch()
        match = await match_at_start(configuration, PLUGINS, None)
    assert match.response_timeouts == TIMEOUTS


@pytest.mark.parametrize("key", [None, KEY])
async def test_a_snapshot_stands_in_where_the_platform_cannot_be_asked(
    key: Secret | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "snapshot.json"
    async with open_bench(tmp_path) as bench:
        write_snapshot(path, await bench.look())
        configuration = make_configuration(bench, f'snapshot = "{path}"')
    with trio.fail_after(LIMIT):  # the simulator is gone
        match = await match_at_start(configuration, PLUGINS, key)
    assert match.response_timeouts == TIMEOUTS
    assert ["not held against the platform" in record.message for record in caplog.records] == ([True] if key else [])


async def test_a_snapshot_that_is_none_is_a_warning_or_fatal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "snapshot.json"
    path.write_text("{}")
    configuration = parse_configuration(f'{MAIN}\n[tools]\nsnapshot = "{path}"\n', "test")
    assert await match_at_start(configuration, PLUGINS, None) == observing.Match()
    assert "is not a snapshot" in caplog.text
    strict = attrs.evolve(configuration, tools=attrs.evolve(configuration.tools, strict=True))
    with pytest.raises(ConfigurationError, match="is not a snapshot"):
        await match_at_start(strict, PLUGINS, None)


@pytest.mark.parametrize("strict", ["", "strict = true"])
async def test_trouble_on_the_network_is_a_warning(
    strict: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def stall(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(observing, "PATIENCE", 0.2)
    text = MAIN + '[platform]\nbase_url = "http://127.0.0.1:{}"\n[tools]\n' + strict
    with trio.fail_after(LIMIT):
        async with serve_raw(stall) as port:
            configuration = parse_configuration(text.replace("{}", str(port)), "test")
            assert await match_at_start(configuration, PLUGINS, KEY) == observing.Match()
        async with serve_http(200, b'{"tools": [{"id": []}]}') as port:
            configuration = parse_configuration(text.replace("{}", str(port)), "test")
            assert await match_at_start(configuration, PLUGINS, KEY) == observing.Match()
    assert "did not answer in 0.2 s" in caplog.messages[0]
    assert "no id" in caplog.messages[1]


async def run(configuration: Configuration, plugins: Plugins, daemon: Daemon) -> None:
    await run_daemon(configuration, plugins, observe=lambda event: None, daemon=daemon)


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY.reveal())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.usefixtures("_key")
async def test_a_strict_daemon_does_not_start_conversations(tmp_path: Path) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        daemon = Daemon()
        with pytest.RaisesGroup(ConfigurationError, flatten_subgroups=True, allow_unwrapped=True):
            await run(make_configuration(bench, "strict = true"), PLUGINS, daemon)
        assert not bench.simulator.conversations
    assert not daemon.conversations


@pytest.mark.usefixtures("_key")
async def test_a_daemon_converses_while_it_matches(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench, trio.open_nursery() as nursery:
        daemon = Daemon()
        nursery.start_soon(run, make_configuration(bench), PLUGINS, daemon)
        while 'tool "blink"' not in caplog.text or not bench.simulator.conversations:
            await trio.sleep(0.01)
        daemon.stop.set()
    assert daemon.endings["main"].cause == "ended by the user"
