"""Units for the user, units removed again, and the way of somebody new, from `pip install` on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .box import Box, find_obstacle, open_box

ROOT = Path(__file__).parents[2]
CONVAID = "/opt/convaid/bin/convaid"


@pytest.mark.xdist_group("systemd")
def test_a_users_own_unit_runs_without_a_session(box: Box) -> None:
    box.run("useradd -m ada")
    uid = box.run("id -u ada").strip()
    session = {"XDG_RUNTIME_DIR": f"/run/user/{uid}"}

    def run(command: str) -> str:
        return box.run(command, user="ada", variables=session)

    box.run("loginctl enable-linger ada")
    box.wait(lambda: box.path(f"/run/user/{uid}/systemd/private").exists())
    assert "systemctl --user enable --now convaid" in run(f"{CONVAID} service install --user")
    run("systemctl --user enable --now convaid")
    box.wait(lambda: "1 of 1 conversation connected" in run("systemctl --user status convaid"))
    assert run(f"{CONVAID} ask Hello").strip()
    run("systemctl --user reload convaid")
    told = run(f"{CONVAID} service status --user")  # exit code 0: nothing is wrong
    assert "ada's services run from boot on" in told
    assert f"/run/user/{uid}/convaid/control.sock is ada:ada's, rw-------" in told
    entries = box.read_journal("_SYSTEMD_USER_UNIT=convaid.service", "CONVERSATION=main")
    assert any("connected, conversation" in entry["MESSAGE"] for entry in entries)

    box.run("rm /var/lib/systemd/linger/ada")
    after = box.call(CONVAID, "service", "status", "--user", user="ada", variables=session)
    assert (after.returncode, "loginctl enable-linger ada" in after.stdout) == (1, True)
    run(f"{CONVAID} service uninstall --user")
    assert run("find .config -name '*convaid*'") == ".config/convaid\n"


@pytest.mark.xdist_group("systemd")
def test_what_was_installed_is_removed_and_nothing_else(box: Box) -> None:
    box.write("/etc/convaid/second.toml", "# mine\n")
    before = box.run("find /etc/systemd /etc/sysusers.d /etc/convaid -type f | sort")
    box.run(f"{CONVAID} service install --instance second; {CONVAID} service install")
    box.run(f"{CONVAID} service uninstall")
    told = box.run(f"{CONVAID} service uninstall --instance first || true")
    assert "convaid@.service" in told
    box.run(f"{CONVAID} service install --instance first")
    assert box.run("find /etc/systemd /etc/sysusers.d /etc/convaid -type f | sort") == before
    assert box.run("cat /etc/convaid/second.toml") == "# mine\n"


@pytest.mark.timeout(240)  # it downloads what convaid needs
def test_from_pip_install_to_a_supervised_daemon_that_talks(tmp_path: Path) -> None:
    if obstacle := find_obstacle():
        assert "CI" not in os.environ, obstacle
        pytest.skip(obstacle)
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, f"--wheel-dir={wheels}", str(ROOT)], check=True, timeout=50)
    (commands,) = re.findall(r"```bash\n(python3 -m venv /opt/convaid\n.*?)```", (ROOT / "README.md").read_text(), re.S)
    pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTPS_"))}
    pip["PIP_FIND_LINKS"] = f"/srv/wheels {pip.get('PIP_FIND_LINKS', '')}"
    with open_box({wheels: "/srv/wheels"}, hidden=["/root", "/home", "/work"]) as box:
        reached = box.call("python3", "-m", "venv", "--help")
        assert reached.returncode == 0, "apt-get install python3-venv"
        shown = {}
        for line in commands.strip().splitlines():
            command = line.partition("  #")[0].strip()
            if command.startswith("convaid ask"):
                box.wait(lambda: "1 of 1 conversation connected" in box.run("systemctl status convaid"))
            shown[command] = box.run(command, variables=pip)
        assert "active (running)" in shown["systemctl status convaid"]
        assert shown['convaid ask "Hello!"'].strip()
        assert "wrong: " not in shown["convaid service status"]
        main = box.show("convaid", "MainPID")
        assert box.run(f"stat -c %U /proc/{main}").strip() == "convaidd"
        box.run(f"kill -SEGV {main}")
        box.wait(lambda: box.show("convaid", "NRestarts") == "1" and box.show("convaid", "SubState") == "running")
        box.run("convaid service uninstall")
        left = box.run(
            "find /etc/systemd /etc/sysusers.d /etc/convaid -name '*convaid*' -type f; getent group convaid || true"
        )
        assert left == ""
