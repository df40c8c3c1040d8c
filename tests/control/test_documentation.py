"""docs/control.md cannot lie: its requests are made, its configuration is read, its table is that of the routes.

``python -m tests.control.test_documentation`` writes the table anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import pytest
import trio

from convaid import tool
from convaid.config import parse_configuration
from convaid.control.application import ROUTES
from convaid.control.failures import describe_failure
from convaid.supervisor import NotConnected

from .serving import LISTEN, open_control

PAGE = Path(__file__).parents[2] / "docs" / "control.md"
TABLE = re.compile(r"(<!-- routes: begin -->\n).*?(<!-- routes: end -->)", re.DOTALL)
PRELUDE = (
    'set -e\ncurl() { command curl --silent --show-error --fail-with-body --max-time "${LIMIT:-15}" "$@"; echo; }\n'
)
TIMED_OUT = 28  # curl's exit code


@tool
def add(a: Annotated[int, "one"], b: Annotated[int, "the other"]) -> int:
    """Add two numbers."""
    return a + b


def make_table() -> str:
    """One row for each route."""
    rows = ["| Request | What it does | Body or query |", "|---|---|---|"]
    for route in ROUTES:
        taken = [each.name for each in route.query]
        if route.body is not None:
            taken += [each.name for each in route.body.__attrs_attrs__]  # type: ignore[attr-defined]
        fields = ", ".join(f"`{name}`" for name in taken)
        rows.append(f"| `{route.method} {route.path}` | {route.summary} | {fields} |")
    return "\n".join(rows) + "\n"


def write_table(page: str) -> str:
    return TABLE.sub(lambda found: found[1] + make_table() + found[2], page)


def test_the_table_is_that_of_the_routes() -> None:
    page = PAGE.read_text()
    assert write_table(page) == page, "run: python -m tests.control.test_documentation"


def test_the_configuration_of_the_page_is_one() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    control = parse_configuration('[conversations.main]\nagent_id = "agent_demo"\n' + block, "docs/control.md").control
    assert (control.mode, control.group) == ("0660", "convaid")


def test_the_error_of_the_page_is_one() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    error = describe_failure(NotConnected("conversation main is not connected")).error
    assert json.loads(block)["error"] == {
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy,
        "problems": error.problems,
    }


async def test_the_requests_of_the_page_are_granted() -> None:
    if shutil.which("curl") is None:
        assert "CI" not in os.environ, "CI installs curl"
        pytest.skip("there is no curl: apt-get install curl")
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    configuration = '[conversations.main]\nagent_id = "agent_test"\nstart = "on_demand"\noverrides.text_only = true\n'
    async with open_control(LISTEN, configuration=configuration, tools=[add]) as (_, path):
        with tempfile.TemporaryDirectory() as folder:
            await trio.Path(folder, "photo.png").write_bytes(b"\x89PNG")
            for block in blocks:
                is_endless = "/v1/events" in block
                environment = {**os.environ, "CONVAID_SOCKET": str(path), "LIMIT": "0.5" if is_endless else "15"}
                done = await trio.run_process(
                    ["bash", "-c", PRELUDE + block],
                    cwd=folder,
                    env=environment,
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
                assert done.returncode == (TIMED_OUT if is_endless else 0), f"{block}{done.stdout!r} {done.stderr!r}"
                if is_endless:
                    assert done.stdout.startswith(b"event: snapshot\n")


if __name__ == "__main__":
    PAGE.write_text(write_table(PAGE.read_text()))
    sys.exit()
