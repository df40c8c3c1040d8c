"""The units, as systemd's own tools see them, and how they are filled in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from convaid.config import parse_configuration
from convaid.errors import ConfigurationError
from convaid.service.findings import find_service_findings
from convaid.service.installing import find_obstacles
from convaid.service.units import MARK, Installation
from convaid.service.watchdog import FEED_SHARE, PATIENCE_SHARE, USUAL_LIMIT

PYTHON = Path("/usr/bin/python3")
ROOT = Path(__file__).parents[2]
MOST_EXPOSED = 13  # tenths: «1.3 OK»


@pytest.fixture
def runtime() -> Iterator[str]:
    """A folder as $XDG_RUNTIME_DIR: of a short name, because other units of the machine would have sockets there."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def analyze(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, which needs no systemd that runs."""
    if shutil.which("systemd-analyze") is None:
        assert "CI" not in os.environ
        pytest.skip("there is no systemd-analyze: apt-get install systemd")
    environ = {"PATH": os.environ["PATH"], "SYSTEMD_PAGER": "cat", **variables}
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=20, check=False)


def write(installation: Installation, folder: Path) -> str:
    """Write a unit, named as one that can be started; returns its path."""
    path = folder / installation.unit
    path.write_text(installation.write_unit())
    return str(path)


@pytest.mark.parametrize("instance", ["", "kitchen"])
@pytest.mark.parametrize("is_users", [False, True])
def test_systemd_finds_nothing_wrong(is_users: bool, instance: str, tmp_path: Path, runtime: str) -> None:
    unit = write(Installation(is_users, instance, python=PYTHON), tmp_path)
    done = analyze("verify", "--man=no", *(["--user"] if is_users else []), unit, XDG_RUNTIME_DIR=runtime)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("instance", ["", "kitchen"])
def test_the_unit_of_the_system_is_hardly_exposed(instance: str, tmp_path: Path) -> None:
    unit = write(Installation(instance=instance, python=PYTHON), tmp_path)
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_each_has_its_own_places() -> None:
    kitchen, alone = Installation(instance="kitchen", python=PYTHON), Installation(python=PYTHON)
    assert (kitchen.unit, kitchen.unit_file.name) == ("convaid@kitchen.service", "convaid@.service")
    assert kitchen.configuration == Path("/etc/convaid/kitchen.toml")
    assert kitchen.credential == Path("/etc/credstore/convaid-kitchen.elevenlabs_api_key")
    assert "User=convaid-%i\nGroup=convaid\n" in kitchen.write_unit()
    assert "StateDirectory=convaid\n" in alone.write_unit()
    text = Installation(True, home=Path("/home/ada"), python=PYTHON).write_unit()
    assert "DynamicUser" not in text
    assert "run --config %E/convaid/config.toml" in text
    for installation in (kitchen, alone):
        assert all(text.startswith(MARK) or path.suffix == ".toml" for path, text in installation.write_files().items())
    assert "@" not in alone.write_unit().replace("@system-service", "").replace("@privileged @resources", "")


def test_what_a_starter_configuration_says_is_one() -> None:
    configuration = parse_configuration(Installation().write_starter(), "config.toml")
    assert configuration.platform.is_simulator
    assert configuration.control.mode == "0660"


@pytest.mark.parametrize("name", ["Kitchen", "a/b", "-x", "x" * 24, "a b"])
def test_an_instance_is_named_as_a_user_can_be(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--instance"):
        Installation(instance=name)


def test_paths_stand_in_the_unit_as_systemd_reads_them(tmp_path: Path, runtime: str) -> None:
    odd = tmp_path / "an env" / "50% $x" / "bin" / "python"
    odd.parent.mkdir(parents=True)
    odd.symlink_to(PYTHON)
    text = Installation(True, python=odd).write_unit()
    assert f'ExecStart="{tmp_path}/an env/50%% $x/bin/python" -P -m convaid run' in text
    unit = tmp_path / "convaid.service"
    unit.write_text(text)
    assert analyze("verify", "--man=no", "--user", str(unit), XDG_RUNTIME_DIR=runtime).stderr == ""


def test_the_drop_ins_of_the_documentation_are_good(tmp_path: Path) -> None:
    blocks = re.findall(r"```ini\n(.*?)```", (ROOT / "docs" / "service.md").read_text(), re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        unit = tmp_path / f"test{number}.service"
        unit.write_text(Installation(python=PYTHON).write_unit() + block)
        done = analyze("verify", "--man=no", str(unit))
        assert (done.returncode, done.stderr) == (0, "")


def test_what_the_documentation_says_of_the_unit_is_so() -> None:
    unit, text = Installation(python=PYTHON).write_unit(), (ROOT / "docs" / "service.md").read_text()
    for setting, words in {
        "RestartSec=3\n": "after 3 s",
        "StartLimitBurst=5\n": "at most 5 times",
        "StartLimitIntervalSec=300\n": "in 5 minutes",
        "TimeoutStopSec=30\n": "30 s at the latest",
        "WatchdogSec=30\n": "After 30 s of that",
    }.items():
        assert setting in unit
        assert words in text.replace("\n", " ").replace("  ", " ")
    assert USUAL_LIMIT * FEED_SHARE == 15
    assert USUAL_LIMIT * PATIENCE_SHARE == 10


def test_a_python_that_the_unit_cannot_see_is_refused(tmp_path: Path) -> None:
    package = PYTHON
    assert find_obstacles(PYTHON, package) == []
    (words,) = find_obstacles(Path("/opt/nothing/bin/python"), package)
    assert "is not there" in words
    hidden = tmp_path / "python"
    hidden.symlink_to(PYTHON)
    (words,) = find_obstacles(hidden, package)
    assert "is under /tmp, which the unit does not see" in words


def test_status_says_what_to_do_where_nothing_is_installed(tmp_path: Path) -> None:
    installation = Installation(True, home=tmp_path, python=PYTHON, root=tmp_path)
    findings = find_service_findings(installation)
    assert findings[0].fix.endswith("service install --user")
    assert all("\n" not in str(finding) for finding in findings)
