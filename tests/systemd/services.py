"""An instance of the service in the box, and what can be done with it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from attrs import frozen

from .box import Box

__all__ = ["CONFIGURATION", "Service"]

CONFIGURATION = """
[platform]
base_url = "simulator"
[conversations.main]
agent_id = "agent_demo"
[control]
mode = "0660"
"""


@frozen
class Service:
    """``convaid@NAME.service``."""

    box: Box
    name: str

    @property
    def unit(self) -> str:
        return f"convaid@{self.name}.service"

    @property
    def socket(self) -> str:
        return f"/run/convaid-{self.name}/control.sock"

    @property
    def main(self) -> str:
        """The number of its process."""
        return self.show("MainPID")

    def configure(self, more: str = "", text: str = CONFIGURATION) -> None:
        """Write its configuration."""
        self.box.write(f"/etc/convaid/{self.name}.toml", text + more)

    def set(self, *lines: str) -> None:
        """Write a drop-in for its unit, such as shorter time limits."""
        text = "\n".join(["[Service]", *lines]) + "\n"
        self.box.write(f"/etc/systemd/system/{self.unit}.d/test.conf", text)
        self.box.run("systemctl daemon-reload")

    def start(self) -> None:
        """Start it; returns when it is ready."""
        done = self.box.call("systemctl", "start", self.unit)
        assert done.returncode == 0, done.stderr + self.messages()

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.box.call("systemctl", *arguments, self.unit)

    def show(self, name: str) -> str:
        """One property of its unit."""
        return self.box.show(self.unit, name)

    def convaid(self, *arguments: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of convaid's that asks it."""
        variables = {"CONVAID_SOCKET": self.socket}
        return self.box.call("/opt/convaid/bin/convaid", *arguments, user=user, variables=variables)

    def status(self) -> Any:
        """What it says of itself."""
        return json.loads(self.convaid("status", "--json").stdout)

    def wait_connected(self) -> str:
        """Wait until its conversation is there; returns that conversation's id."""
        entries = self.box.wait(self._find_connected, what=self.messages)
        return str(entries[-1]["CONVERSATION_ID"])

    def _find_connected(self) -> list[dict[str, Any]]:
        invocation = self.show("InvocationID")
        entries = self.box.read_journal(f"_SYSTEMD_INVOCATION_ID={invocation}", "CONVERSATION=main")
        return [entry for entry in entries if "connected, conversation" in entry["MESSAGE"]]

    def messages(self) -> str:
        """All that the journal has of it."""
        return self.box.read_messages("--unit", self.unit)

    def restart_count(self) -> int:
        """How often systemd has started it again."""
        return int(self.show("NRestarts"))

    def wait_restarted(self) -> None:
        """Wait until systemd has started it again, and it is ready."""
        self.box.wait(lambda: self.restart_count() == 1 and self.show("SubState") == "running", what=self.messages)

    def wait_for(self, text: str, within: float = 20.0) -> str:
        """Wait for a line in the journal."""
        return self.box.wait(lambda: text in (seen := self.messages()) and seen, within, self.messages) or ""
