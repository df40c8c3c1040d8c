"""Plugins, sound, the state folder, a daemon, the service; and all of it together."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from convaid import tool
from convaid.budget import FILE_NAME as BUDGET
from convaid.control.calling import DaemonAbsent, RequestFailed
from convaid.doctor import examine, examining, machine, state
from convaid.doctor.findings import Finding, ok
from convaid.doctor.machine import check_daemon, check_plugins, check_service
from convaid.doctor.state import check_state
from convaid.doctor.subject import Subject
from convaid.history.file import FILE_NAME as HISTORY
from convaid.journal import open_journal
from convaid.plugins import Plugin, Plugins
from convaid.service.findings import ServiceFinding
from convaid.simulator import open_simulator
from tests.control.serving import LISTEN, on_demand, open_control

from .subjects import MAIN, check, make_subject

NOBODY = 65534


def write(findings: list[Finding]) -> list[str]:
    return [f"{finding.level}: {finding}" for finding in findings]


@tool
def blink() -> None:
    """Blink once."""


# --- plugins ---------------------------------------------------------------------------------------------------------


def test_plugins() -> None:
    def make(name: str, status: str, reason: str = "", tools: tuple[object, ...] = ()) -> Plugin:
        return Plugin(name, name, f"convaid-{name}", "1", status, reason, tools=tools)  # type: ignore[arg-type]

    found = write(
        list(
            check_plugins(
                make_subject(
                    plugins=Plugins(
                        (
                            make("lamp", "ready", tools=(blink,)),
                            make("half", "ready", 'its tool "blink" is left out'),
                            make("off", "disabled", "plugins.off.enabled is false"),
                            make("bad", "broken", "ImportError: no module"),
                            make("twin", "refused", "its name is taken"),
                        )
                    )
                )
            )
        )
    )
    assert found == [
        "ok: lamp 1 is loaded, tools: blink",
        "ok: half 1 is loaded, tools: none",
        'warning: half 1: its tool "blink" is left out -> rename one of the two, or remove its plugin',
        "ok: off 1 is disabled: plugins.off.enabled is false",
        "error: bad 1 is broken: ImportError: no module -> correct or update it (pip install -U convaid-bad), or set "
        "enabled = false in [plugins.bad]",
        "error: twin 1 is refused: its name is taken -> remove one of the two, or set "
        "enabled = false in [plugins.twin]",
    ]
    assert write(list(check_plugins(make_subject()))) == ["ok: none is installed: the agents have no tools here"]


# --- state -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return tmp_path / "state"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Whom permissions are for: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_state_that_can_be_made_and_that_is_there(folder: Path) -> None:
    assert write(list(check_state(make_subject()))) == [f"ok: {folder} can be made, and has room"]
    assert not folder.exists()
    with open_journal(folder / "journal.sqlite"):
        found = write(list(check_state(make_subject())))
    assert found == [
        f"ok: {folder} can be written, and has room",
        f"ok: {folder}/journal.sqlite is in order",
    ]


def test_state_that_cannot_be_written(folder: Path) -> None:
    folder.mkdir(mode=0o500)
    with as_nobody():
        (line,) = write(list(check_state(make_subject())))
    assert line.startswith(f"error: nothing can be written in {folder}: Permission denied -> give it to the user"), line
    folder.rmdir()
    folder.write_text("in the way")
    (line, *_) = write(list(check_state(make_subject())))
    assert line.startswith(f"error: nothing can be written in {folder}: Not a directory")


@pytest.mark.parametrize(("left", "level"), [(1, "error"), (50, "warning"), (500, "ok")])
def test_state_on_a_full_disk(left: int, level: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, left * 2**20))
    (line,) = write(list(check_state(make_subject())))
    assert line.startswith(f"{level}: ")
    assert (f"there are {left} MiB left for {folder} -> make room" in line) == (level != "ok")


def test_state_with_damaged_files(folder: Path) -> None:
    folder.mkdir()
    (folder / BUDGET).write_bytes(b"not a database" * 1000)
    with sqlite3.connect(folder / HISTORY) as connection:
        connection.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, words TEXT)")
        connection.executemany("INSERT INTO sessions VALUES (?, ?)", [(str(n), "x" * 500) for n in range(100)])
    connection.close()
    content = bytearray((folder / HISTORY).read_bytes())
    content[3 * 4096 : 4 * 4096] = b"\xff" * 4096
    (folder / HISTORY).write_bytes(content)
    _, *lines = write(list(check_state(make_subject())))
    assert [line.split(" ")[0] for line in lines] == ["error:", "error:"]
    assert f"{folder / BUDGET} cannot be used: file is not a database -> stop the daemon and put it aside" in lines[0]
    assert f"mv {folder / HISTORY} {folder / HISTORY}.broken" in lines[1]


def test_a_file_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    file = tmp_path / "journal.sqlite"
    file.touch()
    (line,) = write(list(state.check_file(file, "journal")))
    assert line.startswith(f"error: {file} cannot be used: it may not be written -> give it to the user who runs")


# --- the daemon and the service --------------------------------------------------------------------------------------


async def test_a_daemon_that_runs_is_asked_how_it_is() -> None:
    async with open_control(LISTEN, configuration=on_demand("kitchen")) as (_, path):
        subject = make_subject(f'{MAIN}[control]\npath = "{path}"\n', path=path.parent / "config.toml")
        (path.parent / "config.toml").write_text(f'[control]\npath = "{path}"\n')
        found = write(await trio.to_thread.run_sync(lambda: list(check_daemon(subject))))
        path.chmod(0o666)
        open_to_all = write(await trio.to_thread.run_sync(lambda: list(check_daemon(subject))))
    assert len(found) == 1
    assert found[0].startswith(f"ok: it runs (process {os.getpid()}): ")
    assert open_to_all[0].startswith("warning: everybody on this machine may control it, by ")
    (line,) = write(list(check_daemon(subject)))
    assert re.match("ok: no(ne| daemon) runs.*: there is no socket at ", line), line


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (RequestFailed(403, {"message": "not for you"}), "warning: not for you -> join the group"),
        (RequestFailed(504, {"message": "it hangs"}), "error: it does not say how it is: it hangs -> look at its log"),
        (DaemonAbsent("no daemon runs: nobody answers; start it"), "ok: no daemon runs: nobody answers"),
    ],
)
def test_a_daemon_that_does_not_say_how_it_is(
    failure: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(machine, "find_socket", lambda *_: tmp_path)
    monkeypatch.setattr(machine, "call_daemon", fail)
    (line,) = write(list(check_daemon(make_subject())))
    assert line.startswith(told), line


def test_a_daemon_without_an_api_is_not_looked_for() -> None:
    subject = make_subject(f"{MAIN}[control]\nenabled = false\n")
    assert write(list(check_daemon(subject))) == ["ok: it has no control API (enabled = false in [control])"]


def test_the_service_is_told_of_as_service_status_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    told = [ServiceFinding("it runs"), ServiceFinding("no linger", "enable it"), ServiceFinding("failed", "logs", True)]
    monkeypatch.setattr(machine, "find_service_findings", lambda _: told)
    units = tmp_path / ".config/systemd/user"
    units.mkdir(parents=True)
    (units / "convaid.service").touch()
    lines = write(list(check_service(make_subject())))
    assert lines[-3:] == ["ok: it runs", "warning: no linger -> enable it", "error: failed -> logs"]


# --- all of it -------------------------------------------------------------------------------------------------------


async def test_everything_at_once_keeps_its_order_and_its_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(subject: Subject) -> list[Finding]:
        await trio.sleep_forever()
        raise AssertionError

    async def look(subject: Subject) -> list[Finding]:
        return [ok("platform", subject.host)]

    monkeypatch.setattr(examining, "OF_CONVERSATIONS", {"network": hang, "platform": look})
    monkeypatch.setattr(examining, "OF_MACHINE", {"state": examining.OF_MACHINE["state"]})
    findings = await check(examine(make_subject(), time_limit=1.5))
    assert [(each.check, each.level) for each in findings] == [
        ("network", "error"),
        ("platform", "ok"),
        ("state", "ok"),
    ]
    assert "took longer than 1.5 s" in str(findings[0])
    findings = await check(examine(make_subject(has_configuration=False)))
    assert [each.check for each in findings] == ["state"]


async def test_all_is_well_with_the_simulator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    monkeypatch.setattr(machine, "list_installations", lambda _: [])
    async with open_simulator() as simulator:
        findings = await check(examine(make_subject(base_url=simulator.base_url, is_bundled=True)))
    assert {finding.level for finding in findings} == {"ok"}, write(findings)
    checks = [finding.check for finding in findings]
    assert checks == [
        *("network", "clock", "key", "agent", "overrides", "variables", "tools"),
        *("plugins", "sound", "money", "state", "daemon", "service"),
    ]
