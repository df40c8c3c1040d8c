"""Checking and pushing tools, exporting and snapshots, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convaid import cli
from convaid.cli.printing import print_table

from .running import run_convaid

MAIN = '[conversations.main]\nagent_id = "agent_demo"\n'
REMEMBERING = MAIN + '[platform]\nsimulator_file = "simulator.json"\n'
KEY = "sk_0123456789abcdef"


def configure(folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text)


def test_what_does_not_fit_is_a_table_and_what_would_change_a_diff(tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING)
    result = run_convaid("tools", "check", folder=tmp_path)
    assert result.returncode == 1, result.stderr
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("current_time ")]
    assert "the platform does not have this tool" in row
    assert "`convaid tools push` creates it" in row

    dry = run_convaid("tools", "push", "--dry-run", folder=tmp_path)
    assert dry.returncode == 0, dry.stderr
    assert '+  "name": "current_time",' in dry.stdout
    assert "nothing was changed" in dry.stdout
    assert not (tmp_path / "config.tools.json").exists()


def test_after_a_push_everything_fits_and_nothing_is_left_to_do(tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING)
    pushed = run_convaid("tools", "push", folder=tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert "current_time: created (tool_" in pushed.stdout
    assert (tmp_path / "config.tools.json").exists()

    again = run_convaid("tools", "push", folder=tmp_path)
    assert (again.returncode, again.stdout) == (0, "nothing to do for 5 tools and 1 agent\n")
    result = run_convaid("tools", "check", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, "everything fits: 5 tools, 1 agent\n")


def test_a_snapshot_stands_in_for_the_platform(tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING)
    result = run_convaid("tools", "snapshot", "snapshot.json", folder=tmp_path)
    assert (result.returncode, result.stdout) == (0, "snapshot.json: 0 tools, 1 agent\n")
    result = run_convaid("tools", "check", "--snapshot", "snapshot.json", "--json", folder=tmp_path)
    assert result.returncode == 1
    findings = json.loads(result.stdout)
    assert {finding["kind"] for finding in findings} == {"missing_on_platform", "client_events"}
    assert findings[0]["tool"] == "current_time"


def test_an_exported_folder_stands_in_for_the_platform(tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING)
    result = run_convaid("tools", "export", "agents", folder=tmp_path)
    assert result.returncode == 0
    assert "current_time: added (tool_configs/current_time.json)" in result.stdout
    result = run_convaid("tools", "check", "--folder", "agents", folder=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "(note) the folder does not have the agent agent_demo" in result.stdout


def test_a_simulator_that_forgets_is_not_pushed_to(tmp_path: Path) -> None:
    configure(tmp_path, MAIN)
    result = run_convaid("tools", "push", folder=tmp_path)
    assert result.returncode == 78
    assert "forgets" in result.stderr
    assert "simulator_file" in result.stderr
    assert run_convaid("tools", "push", "--dry-run", folder=tmp_path).returncode == 0


@pytest.mark.parametrize("command", [["check"], ["push"], ["snapshot", "x.json"]])
def test_the_platform_is_not_asked_without_a_key(command: list[str], tmp_path: Path) -> None:
    configure(tmp_path, MAIN + '[platform]\nbase_url = "global"\n')
    result = run_convaid("tools", *command, folder=tmp_path)
    assert result.returncode == 78
    assert "ELEVENLABS_API_KEY" in result.stderr


def test_a_platform_out_of_reach_is_one_line_without_the_key(tmp_path: Path) -> None:
    configure(tmp_path, MAIN + '[platform]\nbase_url = "http://127.0.0.1:9"\n')
    result = run_convaid("tools", "check", folder=tmp_path, ELEVENLABS_API_KEY=KEY)
    assert result.returncode == 69
    assert len(result.stderr.splitlines()) == 1
    assert "cannot list the tools of 127.0.0.1" in result.stderr
    assert KEY not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["check", "--conversation", "nobody"], 2, "there is main"),
        (["check", "--folder", ".", "--snapshot", "x"], 2, "exclude each other"),
        (["check", "--folder", "."], 78, "has no tools.json"),
        (["check", "--snapshot", "config.toml"], 78, "is not JSON"),
        (["push", "--adopt", "curent_time"], 2, 'did you mean "current_time"?'),
        (["export"], 2, "FOLDER"),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], code: int, complaint: str, tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING)
    result = run_convaid("tools", *arguments, folder=tmp_path)
    assert (result.returncode, "Traceback" in result.stderr) == (code, False)
    assert complaint in result.stderr


def test_prune_waits_until_no_plugin_is_broken(tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING)
    package = tmp_path / "broken-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[convaid]\nbroken = nowhere_to_be_found\n")
    result = run_convaid("tools", "push", "--prune", "--dry-run", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 78
    assert "plugin broken" in result.stderr


def test_a_strict_daemon_does_not_run_where_something_does_not_fit(tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING + "[tools]\nstrict = true\n")
    result = run_convaid("run", folder=tmp_path, XDG_STATE_HOME=str(tmp_path / "state"))
    assert result.returncode == 78
    assert 'tools.strict: tool "current_time": the platform does not have this tool' in result.stderr
    assert "Traceback" not in result.stderr


def test_on_a_terminal_a_table_is_as_wide_as_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"of": "blink", "finding": "the platform hides its errors; `convaid tools push --adopt blink`"}]
    print_table(rows)
    assert capsys.readouterr().out.splitlines()[1] == f"blink  {rows[0]['finding']}"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "44")
    print_table([*rows, {"of": "x", "finding": ""}])
    assert capsys.readouterr().out.replace("\x1b[0m", "").splitlines() == [
        "OF     FINDING",
        "blink  the platform hides its errors;",
        "       `convaid tools push --adopt blink`",
        "x",
    ]


def test_what_others_wrote_steers_no_terminal(tmp_path: Path) -> None:
    configure(tmp_path, REMEMBERING)
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "a.json").write_text(json.dumps({"type": "client", "name": "a\x1b[2J"}))
    (tmp_path / "agents" / "b.json").write_text(json.dumps({"type": "client", "name": "a\x1b[2J"}))
    entries = [{"config": "a.json"}, {"config": "b.json"}]
    (tmp_path / "agents" / "tools.json").write_text(json.dumps({"tools": entries}))
    result = run_convaid("tools", "export", "agents", folder=tmp_path)
    assert result.returncode == 78
    assert '"a\\x1b[2J" twice' in result.stderr


def test_an_interruption_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**settings: object) -> int:
        raise BaseExceptionGroup("", [BaseExceptionGroup("", [KeyboardInterrupt()])])

    monkeypatch.setattr(cli, "convaid", interrupt)
    assert cli.run_command_line() == 130
