"""The journal: a call that has begun once never begins again, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from convaid import journal as module
from convaid.calls.arguments import ARGUMENTS_SIZE, DEPTH_LIMIT, write_arguments
from convaid.errors import JournalError
from convaid.journal import Entry, Journal, find_journal_path, open_journal

LIMIT = 20.0  # seconds for a process to do its part

BEGIN_AND_WAIT = """
import sys
from pathlib import Path
from convaid.journal import open_journal

with open_journal(Path(sys.argv[1])) as journal:
    assert journal.begin("conv_1", "call_over", "add", "main") is None
    journal.end("conv_1", "call_over", "ok", late="It was 3.")
    assert journal.begin("conv_1", "call_open", "pay", "main", "{}") is None
    print("begun", flush=True)
    sys.stdin.read()
"""
BEGIN_MANY = """
import sys
from pathlib import Path
from convaid.journal import open_journal

with open_journal(Path(sys.argv[1])) as journal:
    print("open", flush=True)
    sys.stdin.readline()
    print(sum(journal.begin("conv_1", f"call_{number}", "add", "main") is None for number in range(500)))
"""
FILL_THE_DISK = """
import resource, signal, sys
from pathlib import Path
from convaid.errors import JournalError
from convaid.journal import open_journal

with open_journal(Path(sys.argv[1])) as journal:
    journal.begin("conv_1", "call_open", "add", "main")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        journal.begin("conv_1", "call_refused", "add", "main")
    except JournalError as error:
        print(error)
    journal.end("conv_1", "call_open", "ok")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


@contextmanager
def run_program(program: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program that is given the path, until it ends, or is killed at the end."""
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def get_identity(entry: Entry) -> tuple[str, str, str]:
    return entry.conversation_id, entry.tool_call_id, entry.tool


def read_row(path: Path, tool_call_id: str) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return dict(connection.execute("SELECT * FROM calls WHERE tool_call_id = ?", (tool_call_id,)).fetchone())


def test_a_call_begins_once(path: Path) -> None:
    with open_journal(path) as journal:
        assert journal.lost == ()
        assert journal.begin("conv_1", "call_1", "add", "main", '{"a":1}') is None
        running = journal.begin("conv_1", "call_1", "add", "main", '{"a":1}')
        assert running is not None
        assert (running.tool, running.outcome, running.ended) == ("add", None, None)
        journal.end("conv_1", "call_1", "ok")
        ended = journal.begin("conv_1", "call_1", "add", "main", '{"a":1}')
        assert ended is not None
        assert ended.outcome == "ok"
        assert ended.ended is not None
        assert ended.begun <= ended.ended
        assert journal.begin("conv_2", "call_1", "add", "main") is None  # ids are a conversation's own
    row = read_row(path, "call_1")
    assert (row["conversation"], row["arguments"], row["repeats"]) == ("main", '{"a":1}', 2)


def test_a_call_that_has_run_does_not_run_after_a_restart(path: Path) -> None:
    with open_journal(path) as journal:
        journal.begin("conv_1", "call_1", "add", "main")
        journal.end("conv_1", "call_1", "error")
    with open_journal(path) as journal:
        assert journal.lost == ()
        entry = journal.begin("conv_1", "call_1", "add", "main")
    assert entry is not None
    assert entry.outcome == "error"


def test_a_call_that_a_crash_cut_off_is_lost_and_does_not_run_again(path: Path) -> None:
    with run_program(BEGIN_AND_WAIT, path) as process:
        assert read_line(process) == "begun"
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT)
    with open_journal(path) as journal:
        assert [get_identity(entry) for entry in journal.lost] == [("conv_1", "call_open", "pay")]
        entry = journal.begin("conv_1", "call_open", "pay", "main", "{}")
        assert entry is not None
        assert (entry.outcome, entry.ended) == ("lost", None)
        assert [(late.tool_call_id, late.text) for late in journal.list_late("main")] == [("call_over", "It was 3.")]
    with open_journal(path) as journal:
        assert journal.lost == ()  # said once


def test_a_call_that_another_process_runs_is_not_lost(path: Path) -> None:
    with run_program(BEGIN_AND_WAIT, path) as process:
        assert read_line(process) == "begun"
        with open_journal(path) as journal:
            assert journal.lost == ()
            running = journal.begin("conv_1", "call_open", "pay", "main")
            assert running is not None
            assert running.outcome is None


def test_processes_share_a_file_and_each_call_begins_in_one_of_them(path: Path) -> None:
    with run_program(BEGIN_MANY, path) as first, run_program(BEGIN_MANY, path) as second:
        for process in (first, second):
            assert read_line(process) == "open"
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert sum(int(read_line(process)) for process in (first, second)) == 500


def test_threads_hammer_it_and_each_call_begins_in_one_of_them(path: Path) -> None:
    begun: Counter[str] = Counter()
    ready = threading.Barrier(8)

    def hammer(journal: Journal) -> None:
        ready.wait(LIMIT)
        for number in range(100):
            if journal.begin("conv_1", f"call_{number}", "add", "main") is None:
                begun[f"call_{number}"] += 1
                journal.end("conv_1", f"call_{number}", "ok")

    with open_journal(path) as journal:
        threads = [threading.Thread(target=hammer, args=(journal,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
    assert begun == {f"call_{number}": 1 for number in range(100)}


def test_late_results_are_kept_until_they_have_been_told(path: Path) -> None:
    with open_journal(path) as journal:
        for number, conversation in enumerate(("main", "other", "main")):
            journal.begin("conv_1", f"call_{number}", "add", conversation)
            journal.end("conv_1", f"call_{number}", "ok", late=f"It was {number}.")
    with open_journal(path) as journal:
        results = journal.list_late("main")
        assert [result.text for result in results] == ["It was 0.", "It was 2."]
        journal.mark_told(results[0].conversation_id, results[0].tool_call_id)
        assert [result.text for result in journal.list_late("main")] == ["It was 2."]
        assert [result.text for result in journal.list_late("other")] == ["It was 1."]


def test_rows_go_when_they_are_too_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_journal(path) as journal:
        journal.begin("conv_1", "call_1", "add", "main")
        journal.end("conv_1", "call_1", "ok")
    monkeypatch.setattr(module, "KEPT", 0.0)
    monkeypatch.setattr(module, "PRUNE_EVERY", 2)
    with open_journal(path) as journal:
        assert journal.begin("conv_1", "call_1", "add", "main") is None  # forgotten at the opening
        assert journal.begin("conv_1", "call_2", "add", "main") is None  # the second call: all are forgotten
        assert journal.begin("conv_1", "call_1", "add", "main") is None


def test_a_full_disk_refuses_what_begins_and_says_what_ends(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(path)], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    assert "see that its disk has room" in done.stdout
    assert 'the end of the tool call "call_open" is not recorded' in done.stderr
    with open_journal(path) as journal:
        assert journal.begin("conv_1", "call_refused", "add", "main") is None  # it has not begun
        assert [entry.tool_call_id for entry in journal.lost] == ["call_open"]


def test_after_it_is_closed_nothing_begins(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_journal(path) as journal:
        journal.begin("conv_1", "call_1", "add", "main")
    with pytest.raises(JournalError, match="cannot be used"):
        journal.begin("conv_1", "call_2", "add", "main")
    journal.end("conv_1", "call_1", "ok")  # by a tool that was left behind
    assert "is not recorded" in caplog.text


def test_closing_waits_for_one_at_most_of_those_that_wait_for_another_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_LIMIT", 0.5)
    refused: list[JournalError] = []

    def begin(number: int) -> None:
        try:
            journal.begin("conv_1", f"call_{number}", "add", "main")
        except JournalError as error:
            refused.append(error)

    with open_journal(path) as journal, closing(sqlite3.connect(path, isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        threads = [threading.Thread(target=begin, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        journal.close()
        assert time.monotonic() - begun < 5
        another.execute("ROLLBACK")
        for thread in threads:
            thread.join()
    assert len(refused) == 20


@pytest.mark.parametrize("how", ["file", "with what is beside it", "folder", "another in its place"])
def test_a_file_that_is_deleted_is_made_anew_with_what_it_held(
    how: str, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.0)
    path = path.parent / "state" / "journal.sqlite"
    with open_journal(path) as journal:
        for number in range(300):  # more than stays in the log beside it
            assert journal.begin("conv_1", f"call_{number}", "add", "main", "{}" * 500) is None
        journal.end("conv_1", "call_0", "ok", late="It was 3.")
        if how == "folder":
            shutil.rmtree(path.parent)
        elif how == "another in its place":
            with open_journal(path.with_name("other")) as other:
                assert other.begin("conv_1", "call_another", "add", "main") is None
                other.end("conv_1", "call_another", "ok")
            path.with_name("other").replace(path)
        else:
            for file in path.parent.glob("journal.sqlite*") if how != "file" else [path]:
                file.unlink()
        for number in (0, 299):
            assert journal.begin("conv_1", f"call_{number}", "add", "main") is not None
        assert journal.begin("conv_1", "call_new", "add", "main") is None
        journal.end("conv_1", "call_299", "ok")
        assert [late.text for late in journal.list_late("main")] == ["It was 3."]
    (told,) = [line for line in caplog.messages if "deleted or replaced" in line]
    assert str(path) in told
    with open_journal(path) as journal:
        assert {entry.tool_call_id for entry in journal.lost} == {"call_new", *(f"call_{n}" for n in range(1, 299))}
        if how == "another in its place":
            assert journal.begin("conv_1", "call_another", "add", "main") is not None


def test_processes_that_share_a_deleted_file_go_on_to_share_a_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.0)
    # In one process: what SQLite keeps beside the file is told apart by its name and inode, not by who has it open.
    with open_journal(path) as one, open_journal(path) as two:
        assert one.begin("conv_1", "call_1", "add", "main") is None
        for file in path.parent.glob("journal.sqlite*"):
            file.unlink()
        assert two.begin("conv_1", "call_2", "add", "main") is None
        assert one.begin("conv_1", "call_3", "add", "main") is None
        for journal in (one, two):
            for number in (1, 2, 3):
                assert journal.begin("conv_1", f"call_{number}", "add", "main") is not None
    with open_journal(path) as journal:
        assert len(journal.lost) == 3


def test_nothing_begins_while_a_deleted_file_cannot_be_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.0)
    with open_journal(path) as journal:
        assert journal.begin("conv_1", "call_1", "add", "main") is None
        for file in path.parent.glob("journal.sqlite*"):
            file.unlink()
        path.mkdir()
        for _ in range(2):
            with pytest.raises(JournalError, match=r"cannot be opened|cannot be used"):
                journal.begin("conv_1", "call_2", "add", "main")
        path.rmdir()
        assert journal.begin("conv_1", "call_2", "add", "main") is None
        assert journal.begin("conv_1", "call_1", "add", "main") is not None


def test_it_is_for_its_owner_alone(path: Path) -> None:
    with open_journal(path) as journal:
        journal.begin("conv_1", "call_1", "add", "main")
        files = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(files.values()) == {0o600}, files
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_no_journal_is_refused_with_the_remedy(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("Dear diary, " * 1000)
    with (
        pytest.raises(JournalError, match=r"journal\.sqlite is damaged, or none at all .* move it away"),
        open_journal(path),
    ):
        pass
    assert path.read_text().startswith("Dear diary")


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE calls (number)")
    with pytest.raises(JournalError, match="is the database of another program"), open_journal(path):
        pass


def test_a_newer_version_is_refused_also_beside_a_process_that_has_it_open(path: Path) -> None:
    with open_journal(path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 2")
        with pytest.raises(JournalError, match="written by a newer convaid"), open_journal(path):
            pass
    with pytest.raises(JournalError, match="written by a newer convaid"), open_journal(path):
        pass


def test_damage_inside_is_found_when_it_is_opened(path: Path) -> None:
    with open_journal(path) as journal:
        for number in range(200):
            journal.begin("conv_1", f"call_{number}", "add", "main", "x" * 100)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is damaged"), open_journal(path):
        pass


def test_a_place_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    problem = r"cannot be opened at .*; choose another place by `journal` in \[tools\]"
    with pytest.raises(JournalError, match=problem), open_journal(tmp_path / "file" / "journal.sqlite"):
        pass


def test_the_default_place_follows_systemd_and_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/convaid/den:/var/lib/other")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ada/state")
    assert find_journal_path() == Path("/var/lib/convaid/den/journal.sqlite")
    monkeypatch.delenv("STATE_DIRECTORY")
    assert find_journal_path() == Path("/home/ada/state/convaid/journal.sqlite")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert find_journal_path() == Path("~/.local/state/convaid/journal.sqlite")


@pytest.mark.parametrize(
    ("redact", "kept"),
    [
        ([], '{"pin":1,"card":{"number":2,"pin":3},"bags":[{"pin":4,"size":5}]}'),
        (["pin"], '{"pin":"***","card":{"number":2,"pin":"***"},"bags":[{"pin":"***","size":5}]}'),
        (["card.number", "bags.size"], '{"pin":1,"card":{"number":"***","pin":3},"bags":[{"pin":4,"size":"***"}]}'),
        (["card"], '{"pin":1,"card":"***","bags":[{"pin":4,"size":5}]}'),
        (["*"], '"***"'),
    ],
)
def test_arguments_are_redacted(redact: list[str], kept: str) -> None:
    parameters = {"pin": 1, "card": {"number": 2, "pin": 3}, "bags": [{"pin": 4, "size": 5}]}
    assert write_arguments(parameters, redact) == kept


def test_secrets_are_masked_without_being_named() -> None:
    parameters = {"api_key": "abc", "token": 12, "text": "use sk_0123456789abcdef"}
    assert json.loads(write_arguments(parameters)) == {"api_key": "***", "token": "***", "text": "use sk_***"}


def test_no_time_goes_into_more_arguments_than_are_written() -> None:
    looked_at = 0

    class Counted(list[str]):
        def __iter__(self) -> Iterator[str]:
            nonlocal looked_at
            for item in super().__iter__():
                looked_at += 1
                yield item

    text = write_arguments({"n" * 1_000_000: "hidden", "texts": Counted(["x" * 1000] * 1000)})
    assert looked_at < 10
    assert text.startswith('{"' + "n" * 200 + '":"***","texts":["xxx')
    assert text.endswith("[cut here]")


def test_arguments_are_bounded_in_size_and_depth() -> None:
    text = write_arguments({"text": "long " * 1_000_000, "key": "abc"})
    assert len(text) < ARGUMENTS_SIZE + 100
    assert text.endswith("… [cut here]")
    assert len(write_arguments([[1] * 1000] * 1000)) == len(text)
    deep: object = "bottom"
    for _ in range(5000):
        deep = [deep]
    assert write_arguments(deep).count("[") == DEPTH_LIMIT
    assert write_arguments("\ud800").isascii()  # half a character could not be stored
    assert write_arguments(None) == "null"
