"""The socket: its file, its permissions, who may have it, and peers with bad manners."""

from __future__ import annotations

import grp
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import quantiles

import pytest
import trio

from convaid.config import ControlConfig, parse_configuration
from convaid.control import serving
from convaid.control.calling import DaemonAbsent, RequestFailed, call_daemon, find_socket
from convaid.control.listening import open_socket
from convaid.control.peers import read_peer
from convaid.control.places import find_socket_place
from convaid.errors import ConfigurationError

from .serving import LISTEN, on_demand, open_api, open_control


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def test_it_has_its_permissions_from_the_beginning_and_goes_at_the_end(folder: Path) -> None:
    path = folder / "new" / "control.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    with open_socket(ControlConfig(path=path, mode="0660", group=group)) as listener:
        found = path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert found.st_gid == os.getgid()
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(path))
            accepted, _ = listener.accept()
            with accepted:
                peer = read_peer(accepted)
            assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert not path.exists()
    with open_socket(ControlConfig(path=path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_stale_socket_is_removed_and_one_in_use_is_not(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    with open_socket(ControlConfig(path=path)):
        refusal = rf"another daemon \(process {os.getpid()}\) answers at {path}: stop that one"
        with pytest.raises(ConfigurationError, match=refusal), open_socket(ControlConfig(path=path)):
            pass
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(path))


def test_the_next_daemons_socket_is_left_alone(folder: Path) -> None:
    path = folder / "control.sock"
    with open_socket(ControlConfig(path=path)):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as another:
            another.bind(str(path))
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("a" * 120, "longer than the 107 bytes"), ("file", "is no socket"), ("file/control.sock", "cannot be a socket")],
)
def test_a_place_that_cannot_be_is_refused_with_the_reason(folder: Path, name: str, words: str) -> None:
    (folder / "file").write_text("mine")
    with pytest.raises(ConfigurationError, match=words), open_socket(ControlConfig(path=folder / name)):
        pass
    assert (folder / "file").read_text() == "mine"


def test_a_group_that_is_not_there_is_refused(folder: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="nosuchgroup"),
        open_socket(ControlConfig(path=folder / "c.sock", group="nosuchgroup")),
    ):
        pass
    assert not (folder / "c.sock").exists()


def test_a_mode_is_what_chmod_takes() -> None:
    text = '[conversations.main]\nagent_id = "agent_test"\n[control]\nmode = "rw-rw----"\n'
    with pytest.raises(
        ConfigurationError, match=r'control\.mode: expected the permissions as chmod has them, such as "0660"'
    ):
        parse_configuration(text, "test")


def test_where_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    assert find_socket_place() == folder / "state/convaid/control.sock"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder / "user"))
    assert find_socket_place() == folder / "user/convaid/control.sock"
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{folder}/system:/other")
    assert find_socket_place() == folder / "system/control.sock"


def test_where_commands_look_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_socket(folder / "given") == folder / "given"
    with pytest.raises(DaemonAbsent, match=r"there is no socket at .* start one with `convaid run`"):
        find_socket(None, (folder / "absent.toml",))
    (folder / "config.toml").write_text('[control]\npath = "mine.sock"\n')
    assert find_socket(None, (folder / "absent.toml", folder / "config.toml")) == folder / "mine.sock"
    (folder / "config.toml").write_text("not toml")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    (folder / "convaid").mkdir()
    (folder / "convaid/control.sock").touch()
    assert find_socket(None, (folder / "config.toml",)) == folder / "convaid/control.sock"


async def test_without_a_socket_there_is_none() -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "control.sock")
        from ..daemon.holding import hold

        text = f'{on_demand("kitchen")}[control]\nenabled = false\npath = "{path}"\n'
        async with hold(LISTEN, configuration=text, services=[serving.serve_control]) as held:
            while held.daemon.keeper is None:
                await trio.sleep(0.001)
            await trio.testing.wait_all_tasks_blocked()
            assert not await trio.Path(path).exists()


# --- peers with bad manners ------------------------------------------------------------------------------------------


async def test_a_flood_of_connections_is_bounded_and_disturbs_no_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 10)
    async with open_control(LISTEN, configuration=on_demand("kitchen")) as (held, path):
        idle = [await trio.open_unix_socket(str(path)) for _ in range(30)]
        refused = 0

        async def look(stream: trio.SocketStream) -> None:
            nonlocal refused
            answer = await stream.receive_some(12)
            refused += answer == b"HTTP/1.1 503"

        async with trio.open_nursery() as nursery:
            for stream in idle:
                nursery.start_soon(look, stream)
            while refused < 20:
                await trio.sleep(0.005)
            await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        assert refused == 20
        assert held.daemon.keeper is not None
        held.daemon.keeper.find("kitchen").start()
        while not held.daemon.conversations["kitchen"].is_connected:
            await trio.sleep(0.005)
        for stream in idle:
            await stream.aclose()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\xff" * 100,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
        b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/conversations/kitchen/say HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nConnection: upgrade\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HEAD /v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/conversations/%00%ff/../.. HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_senseless_requests_cost_their_own_connection(request_bytes: bytes) -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        stream = await trio.open_unix_socket(str(api.socket))
        try:
            with trio.move_on_after(0.2):
                await stream.send_all(request_bytes)
                while await stream.receive_some(4096):
                    pass
        except trio.BrokenResourceError:
            pass
        await stream.aclose()
        assert (await api.get("/v1/status"))["state"] == "ready"


async def test_a_request_that_never_comes_to_its_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from convaid.control import application

    monkeypatch.setattr(application, "READ_LIMIT", 0.05)
    monkeypatch.setattr(serving, "IDLE_LIMIT", 0.05)
    async with open_control(LISTEN, configuration=on_demand("kitchen")) as (_, path):
        for begun in (
            b"",
            b"GET /v1/st",
            b"POST /v1/conversations/kitchen/say HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        ):
            stream = await trio.open_unix_socket(str(path))
            with suppress(trio.BrokenResourceError):
                await stream.send_all(begun)
                while await stream.receive_some(4096):
                    pass
            await stream.aclose()


def test_a_daemon_that_takes_no_more_connections_is_not_taken_for_none(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as other:
        busy.bind(str(path))
        busy.listen(0)
        other.connect(str(path))
        with pytest.raises(RequestFailed, match=r"does not answer within 0\.2 s"):
            call_daemon(path, "GET", "/v1/status", time_limit=0.2)


async def test_a_request_that_breaks_off_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async with open_api(LISTEN, configuration=on_demand("kitchen")) as api:
        async with await trio.open_unix_socket(str(api.socket)) as stream:
            await stream.send_all(
                b"POST /v1/conversations/kitchen/say HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
            )
            await trio.sleep(0.05)
        await trio.sleep(0.1)
    assert "ASGI" not in caplog.text


def test_several_instances_are_told_apart_by_their_sockets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convaid.control import calling

    places = [folder / "convaid-a/control.sock", folder / "convaid-b/control.sock"]
    monkeypatch.setattr(calling, "list_instances", lambda: places[:1])
    assert find_socket() == places[0]
    monkeypatch.setattr(calling, "list_instances", lambda: places)
    with pytest.raises(
        calling.RequestFailed, match=r"several daemons run here; say which one by --socket: .*convaid-b"
    ):
        find_socket()


async def test_a_flood_of_requests_lets_the_conversations_go_on() -> None:
    names = [f"c{number}" for number in range(50)]
    async with open_control(LISTEN, configuration=on_demand(*names)) as (held, path), trio.open_nursery() as nursery:
        answered = 0

        async def flood() -> None:
            nonlocal answered
            async with await trio.open_unix_socket(str(path)) as stream:
                while True:
                    await stream.send_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
                    for _ in range(5):
                        await stream.receive_some(65536)
                        answered += 1

        for _ in range(20):
            nursery.start_soon(flood)
        assert held.daemon.keeper is not None
        held.daemon.keeper.find("c7").start()
        lateness: list[float] = []
        while answered <= 50 or len(lateness) < 30 or not held.daemon.conversations["c7"].is_connected:
            due = trio.current_time() + 0.005
            await trio.sleep_until(due)
            lateness.append(trio.current_time() - due)
        nursery.cancel_scope.cancel()
        # On a busy machine, which may stand still now and then; the flood's own peers are in the same loop.
        assert quantiles(lateness, n=10)[-1] < 0.5


async def test_a_connection_ends_when_its_peer_has_closed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 3)
    async with open_control(LISTEN, configuration=on_demand("kitchen")) as (_, path):
        for _ in range(20):  # each by a connection of its own, as commands do it
            assert (await trio.to_thread.run_sync(call_daemon, path, "GET", "/v1/status"))["state"] == "ready"
