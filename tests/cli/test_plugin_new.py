"""``convaid plugin new``: what it writes, pip installs into an environment of its own, and it works there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from .running import LIMIT, find_environment, run_convaid


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a new environment, which sees what is installed in ours."""
    if importlib.util.find_spec("hatchling") is None or importlib.util.find_spec("pip") is None:
        reason = "builds a package without the network: pip install pip hatchling"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    # Not the bare paths: ours has .pth files of its own, that of an editable convaid among them.
    (site / "ours.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    return python


def run(python: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=LIMIT,
        env=find_environment(PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONDONTWRITEBYTECODE="1"),
        check=False,
    )


def test_a_new_plugin_installs_passes_its_tests_and_works(python: Path, tmp_path: Path) -> None:
    result = run_convaid("plugin", "new", "living-room", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    plugin = tmp_path / "convaid-living-room"
    assert sorted(file.name for file in plugin.iterdir()) == [
        "README.md",
        "convaid_living_room.py",
        "pyproject.toml",
        "scenarios",
        "test_convaid_living_room.py",
    ]
    assert not any("$" in file.read_text() for file in plugin.rglob("*") if file.is_file())

    quiet = ("--no-build-isolation", "--no-deps", "--quiet")
    installed = run(python, "pip", "install", *quiet, str(plugin), folder=tmp_path)
    assert installed.returncode == 0, installed.stderr
    tests = run(python, "pytest", "-q", str(plugin), "-W", "error", folder=tmp_path)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "5 passed" in tests.stdout

    held = run(python, "convaid", "test", "--json", folder=plugin)
    assert held.returncode == 0, held.stdout + held.stderr
    told = json.loads(held.stdout)
    assert [report["name"] for report in told["scenarios"]] == ["scenarios/greet.toml"]
    outcomes = {tool["tool"]: tool["outcomes"] for tool in told["tools"]}
    assert outcomes["living_room_greet"] == {"ok": 1, "invalid": 1}

    listed = run(python, "convaid", "plugins", "--json", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    plugins = {row["plugin"]: row for row in json.loads(listed.stdout)}
    assert plugins["living-room"] == {
        "plugin": "living-room",
        "status": "ready",
        "tools": ["living_room_greet"],
        "devices": [],
        "package": "convaid-living-room 0.1.0",
        "reason": "",
    }
    *_, call, push = result.stdout.splitlines()
    called = run(python, *shlex.split(call), folder=tmp_path)
    assert (called.returncode, called.stdout) == (0, "Hello, Ada!\n"), called.stderr
    assert push.split() == ["convaid", "tools", "push"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "convaid-lamp"
    mine.mkdir()
    (mine / "README.md").write_text("mine")
    result = run_convaid("plugin", "new", "lamp", folder=tmp_path)
    assert result.returncode == 1
    assert "convaid-lamp is there already, nothing was written; --folder names another place" in result.stderr
    assert [file.read_text() for file in mine.iterdir()] == ["mine"]
    elsewhere = run_convaid("plugin", "new", "lamp", "--folder", "deep/er", folder=tmp_path)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert (tmp_path / "deep" / "er" / "convaid_lamp.py").exists()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Lamp", "use small letters, digits and hyphens"),
        ("1amp", "begin with a letter"),
        ("la mp", "use small letters"),
        ("../lamp", "use small letters"),
        ("lamp-", "use small letters"),
        ("lämp", "use small letters"),
        ("", "use small letters"),
        ("l" * 41, "use 40 characters at most"),
        ("convaid-lamp", "leave the beginning out"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, complaint: str, tmp_path: Path) -> None:
    result = run_convaid("plugin", "new", name, folder=tmp_path)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_five_commands_of_the_readme_lead_from_a_function_to_a_call(python: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    section = (root / "README.md").read_text().partition("## From a function to a tool that the agent calls")[2]
    commands = section.partition("```bash\n")[2].partition("```")[0].splitlines()
    assert len(commands) == 5
    for name in ("pip", "convaid"):  # those of the new environment
        script = python.with_name(name)
        script.write_text(f'#!/bin/sh\nexec "{python}" -m {name} "$@"\n')
        script.chmod(0o755)
    shutil.copy(root / "config.toml", tmp_path)
    environment = find_environment(
        PATH=f"{python.parent}:{os.environ['PATH']}",
        PIP_NO_INDEX="1",
        PIP_NO_DEPS="1",
        PIP_NO_BUILD_ISOLATION="0",  # it means that there is none
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    outcomes = []
    for command in commands:
        result = subprocess.run(
            ["bash", "-c", command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=LIMIT,
            check=False,
        )
        outcomes.append((result.returncode, result.stdout, result.stderr))
    assert [code for code, _, _ in outcomes] == [0, 0, 1, 0, 0], outcomes
    assert re.search(r"^lamp_greet +- +the platform does not have this tool", outcomes[2][1], re.MULTILINE)
    assert "lamp_greet: created" in outcomes[3][1]
    assert "lamp_greet(name='Ada') -> Hello, Ada!" in outcomes[4][1]
