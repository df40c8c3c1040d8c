"""The service under a real systemd: start, status, reload, credentials, sockets, journal, stop."""

from __future__ import annotations

import re
import time

import pytest

from .box import Box
from .services import CONFIGURATION, Service

pytestmark = pytest.mark.xdist_group("systemd")

KEY = "sk_" + "0123456789abcdef" * 3
TWO = f'{CONFIGURATION}[conversations.other]\nagent_id = "agent_demo"\n'


def test_is_ready_when_it_answers_and_says_how_it_is(service: Service) -> None:
    service.start()
    status = service.status()  # at once: ready means ready
    assert status["state"] == "ready"
    assert status["pid"] == int(service.main)
    service.wait_connected()
    service.box.wait(lambda: service.show("StatusText") == "1 of 1 conversation connected", what=service.messages)
    answer = service.convaid("ask", 'Call measure with {"size": 1000000}')
    assert "1000000" in answer.stdout, (
        answer.stderr + service.messages()
    )  # a tool in a process works, confined as it is


def test_starts_without_network_and_sound_and_says_so(service: Service) -> None:
    deaf = 'agent_id = "agent_demo"\naudio = "command"\ncommand.microphone = ["/nowhere/arecord"]\n'
    service.configure(text=f'[platform]\nbase_url = "http://127.0.0.1:1"\n[conversations.main]\n{deaf}')
    service.start()
    service.box.wait(lambda: "link lost" in service.show("StatusText"), what=lambda: service.show("StatusText"))
    assert service.show("ActiveState") == "active"
    service.configure(text=f'[platform]\nbase_url = "simulator"\n[conversations.main]\n{deaf}')
    assert service.systemctl("restart").returncode == 0
    service.wait_for("/nowhere/arecord")
    assert service.show("ActiveState") == "active"


def test_a_reload_keeps_what_did_not_change_and_a_bad_file_changes_nothing(service: Service) -> None:
    service.configure(text=TWO)
    service.start()
    conversations = service.box.wait(lambda: find_connected(service, 2), what=service.messages)
    service.configure(text=TWO + "limits.idle = 500.0\n")
    done = service.systemctl("reload")
    assert done.returncode == 0, done.stderr + service.messages()
    after = service.box.wait(lambda: find_connected(service, 2), what=service.messages)
    assert after["main"] == conversations["main"]
    assert after["other"] != conversations["other"]

    service.configure(text=TWO + "limits.idel = 500.0\n")
    done = service.systemctl("reload")
    assert done.returncode != 0
    assert "did you mean" in service.messages()
    service.box.wait(lambda: "not reloaded" in service.show("StatusText"), what=lambda: service.show("StatusText"))
    assert find_connected(service, 2) == after
    assert service.show("ActiveState") == "active"

    service.configure(text=TWO)
    main = service.main
    service.systemctl("kill", "--signal=HUP", "--kill-whom=main")
    service.wait_for("begun anew: other", 10)
    service.box.wait(lambda: "not reloaded" not in service.show("StatusText"))
    assert (service.show("ActiveState"), service.main) == ("active", main)


def find_connected(service: Service, count: int) -> dict[str, str]:
    """The ids of the connected conversations by their names, if there are so many."""
    found = {
        each["name"]: each["conversation_id"]
        for each in service.status()["conversations"]
        if each["state"] == "connected"
    }
    return found if len(found) == count else {}


def test_stops_in_the_middle_of_a_tool(service: Service) -> None:
    service.configure("[daemon]\nstop_grace = 2.0\n[log]\nlevel = 'debug'\n")
    service.start()
    service.wait_connected()
    service.convaid("say", 'Call linger with {"seconds": 50}')
    service.wait_for("tool linger called")
    began = time.monotonic()
    assert service.systemctl("stop").returncode == 0
    assert time.monotonic() - began < 5.0
    assert (service.show("Result"), service.show("ActiveState")) == ("success", "inactive")
    messages = service.messages()
    assert "tool linger stopped" in messages
    assert re.search(r"conv_sim_\w+ ended by the user", messages)
    assert not service.box.path(service.socket).exists()


def test_a_process_that_does_not_stop_is_killed_in_time(service: Service) -> None:
    service.set("TimeoutStopSec=1", "WatchdogSec=0")
    service.configure("[log]\nlevel = 'debug'\n")
    service.start()
    service.wait_connected()
    service.convaid("say", "Call freeze with {}")
    service.wait_for("freezing")
    began = time.monotonic()
    service.systemctl("stop")
    assert time.monotonic() - began < 4.0
    assert service.show("Result") == "timeout"


def test_two_instances_are_two_users(box: Box, service: Service) -> None:
    other = Service(box, f"{service.name}-b")
    other.configure()
    try:
        service.start()
        other.start()
        uids = {box.run(f"stat -c %u /proc/{each.main}").strip() for each in (service, other)}
        assert len(uids) == 2
        assert "0" not in uids
        for each in (service, other):
            assert each.wait_connected()
            state = box.run(f"stat -c '%a %u' /var/lib/private/convaid-{each.name}").split()
            assert state[0] == "700"
            assert state[1] in uids
            assert box.path(f"/var/lib/private/convaid-{each.name}/journal.sqlite").exists()
    finally:
        other.systemctl("stop")


def test_the_key_is_a_credential_and_stays_one(box: Box, service: Service) -> None:
    private = CONFIGURATION.replace("agent_demo", 'agent_demo"\nauth = "signed_url')
    service.configure("[log]\nlevel = 'debug'\n", private)
    assert service.systemctl("start").returncode != 0
    assert service.show("ExecMainStatus") == "78"
    assert "needs the API key" in service.messages()

    credential = f"/etc/credstore/convaid-{service.name}.elevenlabs_api_key"
    box.write(credential, KEY + "\n", 0o644)
    told = box.call("/opt/convaid/bin/convaid", "service", "status", "--instance", service.name).stdout
    assert f"sudo chmod 600 {credential}" in told
    box.path(credential).chmod(0o600)
    service.start()
    service.wait_connected()
    place = f"/run/credentials/{service.unit}/elevenlabs_api_key"
    assert box.run(f"stat -c %a {place}").strip() == "400"
    assert KEY not in service.messages()
    assert KEY not in service.convaid("status", "--json").stdout
    assert KEY not in box.run(f"tr '\\0' '\\n' < /proc/{service.main}/environ")


def test_the_socket_is_for_the_group_alone(box: Box, service: Service) -> None:
    box.run("id grace || useradd -m grace; id eve || useradd -m eve; usermod -aG convaid grace")
    service.start()
    assert box.run(f"stat -c '%A %G' {service.socket}").strip() == "srw-rw---- convaid"
    assert service.convaid("mute", "main", user="grace").returncode == 0
    refused = service.convaid("status", user="eve")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    told = box.call("/opt/convaid/bin/convaid", "service", "status", "--instance", service.name, user="eve").stdout
    assert "sudo usermod -aG convaid eve" in told


def test_the_journal_has_fields(box: Box, service: Service) -> None:
    service.start()
    conversation_id = service.wait_connected()
    assert service.convaid("ask", "Call nothing with {}").returncode == 0
    service.systemctl("stop")
    told = box.read_journal("--unit", service.unit, "CONVERSATION=main")
    entries = [entry for entry in told if "cut in" not in entry["MESSAGE"]]  # whether it greets still is chance
    assert [entry["MESSAGE"].split()[1] for entry in entries] == ["connecting", "connected,", "tool", "conversation"]
    assert {entry["CONVERSATION_ID"] for entry in entries[1:]} == {conversation_id}
    tool = entries[2]
    assert (tool["TOOL"], tool["ERROR_TYPE"], tool["PRIORITY"]) == ("nothing", "unknown", "4")
    assert entries[3]["CAUSE"] == "ended by the user"
    assert entries[3]["PRIORITY"] == "6"
    for entry in entries:
        assert entry["SYSLOG_IDENTIFIER"] == "convaid"
        assert entry["CODE_FILE"].endswith("narration.py")
        assert entry["_SYSTEMD_UNIT"] == service.unit


def test_the_end_by_the_platform_has_its_code_in_the_journal(box: Box, service: Service) -> None:
    service.start()
    service.wait_connected()
    service.convaid("say", "Goodbye")
    (entry,) = box.wait(lambda: box.read_journal("--unit", service.unit, "CLOSE_CODE=1000", "CAUSE=ended by the agent"))
    assert entry["CONVERSATION"] == "main"
