"""``convaid doctor`` as a user runs it, and docs/doctor.md, which cannot lie."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from convaid.doctor.platform import CHECKS
from tests.cli.running import run_convaid

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text()


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Where nothing of the developer's is found."""
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


def test_the_example_of_the_page(tmp_path: Path, places: dict[str, str]) -> None:
    (configuration,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (output,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "config.toml").write_text(configuration)
    done = run_convaid("doctor", folder=tmp_path, **places)
    assert done.returncode == 1, done.stderr
    printed = done.stdout.replace(f"{tmp_path}/", "")
    for line in output.splitlines():
        assert line in printed.splitlines(), printed
    assert printed.endswith("errors: 2, warnings: 0\n")


def test_the_table_of_the_page_has_every_check() -> None:
    told = {name for cell in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)}
    source = "".join(path.read_text() for path in (ROOT / "convaid" / "doctor").glob("*.py"))
    named = set(re.findall(r'\b(?:ok|warning|error|tell)\(\s*"([a-z][A-Za-z ]*)",', source)) | set(CHECKS.values())
    assert told - {"check"} == named | {"configuration", "journal", "budget", "history"}


def test_the_shipped_configuration_is_well_and_scripts_get_json(tmp_path: Path, places: dict[str, str]) -> None:
    (tmp_path / "config.toml").write_text((ROOT / "config.toml").read_text())
    done = run_convaid("doctor", "--json", "--conversation", "main", folder=tmp_path, **places)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["level"] == "ok"
    assert told["findings"][0] == {
        "check": "configuration",
        "level": "ok",
        "message": "config.toml is in order",
        "fix": "",
        "conversation": "",
    }
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "simulator.json").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "code", "words"),
    [
        ("[platfrm]\n", [], 1, 'platfrm: is not known; did you mean "platform"? -> correct the file'),
        (
            "[conversations.main]\nagent_id = 'a'\n[plugins.nottes]\n",
            [],
            1,
            "no plugin of this name is installed; did you",
        ),
        (
            "[conversations.main]\nagent_id = 'a'\n",
            ["--conversation", "mian"],
            2,
            "no conversation 'mian'; there is main",
        ),
        (None, [], 0, "there is no file: what is looked at is the built-in conversation"),
        (None, ["--config", "gone.toml"], 1, "gone.toml: cannot be read"),
    ],
)
def test_wrong_configurations(
    text: str | None, arguments: list[str], code: int, words: str, places: dict[str, str]
) -> None:
    folder = Path(places["HOME"])
    if text is not None:
        (folder / "config.toml").write_text(text)
    done = run_convaid("doctor", *arguments, folder=folder, **places)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    if code != 2:
        assert "state" in done.stdout
