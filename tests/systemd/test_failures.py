"""The service under a real systemd, when things go wrong: watchdog, crashes, configurations that cannot be used."""

from __future__ import annotations

import pytest

from .box import Box
from .services import Service

pytestmark = pytest.mark.xdist_group("systemd")


def test_a_process_that_stands_still_is_ended_and_its_traceback_is_in_the_journal(service: Service) -> None:
    service.set("WatchdogSec=2", "RestartSec=100ms")
    service.start()
    service.wait_connected()
    service.convaid("say", "Call freeze with {}")
    service.wait_restarted()
    messages = service.messages()
    assert "Watchdog timeout" in messages
    assert "Fatal Python error: Aborted" in messages
    assert 'convaid_troubled.py", line' in messages
    assert service.wait_connected()


def test_a_stopped_process_is_ended(service: Service) -> None:
    service.set("WatchdogSec=2", "RestartSec=100ms")
    service.start()
    service.systemctl("kill", "--signal=STOP", "--kill-whom=main")
    service.wait_restarted()
    assert "Watchdog timeout" in service.messages()


def test_a_reader_that_hangs_ends_the_daemon_and_its_stack_is_in_the_journal(service: Service) -> None:
    service.set("WatchdogSec=2", "RestartSec=100ms")
    service.start()
    service.wait_connected()
    assert "deaf" in service.convaid("ask", "Call deafen with {}").stdout
    service.convaid("stop", "main")
    service.convaid("start", "main")
    service.wait_restarted()
    messages = service.messages()
    assert "the reader of conversation main has not moved for" in messages
    assert "receive_once" in messages
    assert "Watchdog timeout" in messages
    assert service.wait_connected()


def test_a_crash_is_followed_by_a_start(service: Service) -> None:
    service.set("RestartSec=100ms")
    service.start()
    service.wait_connected()
    service.convaid("say", "Call crash with {}")
    service.wait_restarted()
    assert "Segmentation fault" in service.messages()
    assert service.wait_connected()


def test_a_configuration_that_cannot_be_used_is_not_tried_again(box: Box, service: Service) -> None:
    service.set("RestartSec=10ms")
    service.configure("[log]\nlevle = 'info'\n")
    assert service.systemctl("start").returncode != 0
    assert (service.show("ExecMainStatus"), service.show("ActiveState")) == ("78", "failed")
    assert service.restart_count() == 0
    assert "did you mean" in service.messages()
    told = box.call("/opt/convaid/bin/convaid", "service", "status", "--instance", service.name)
    assert told.returncode == 1
    assert "cannot be used" in told.stdout
    assert f"convaid check -c /etc/convaid/{service.name}.toml" in told.stdout


def test_what_fails_again_and_again_is_given_up(box: Box, service: Service) -> None:
    service.set("RestartSec=10ms", "ExecStartPre=/bin/false")
    service.systemctl("start")
    box.wait(lambda: service.show("ActiveState") == "failed", what=service.messages)
    assert "Start request repeated too quickly" in service.messages()
    assert service.restart_count() == 5
    told = box.call("/opt/convaid/bin/convaid", "service", "status", "--instance", service.name).stdout
    assert f"systemctl reset-failed {service.unit}" in told
