"""Tools of the configuration, tested with convaid's kit: as somebody would who has written some."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from convaid.testing import Agent, CallTool, Clock

SCENARIO = Path(__file__).parents[1] / "scenarios" / "booking.toml"
LIMIT = 40.0  # seconds for a command to end
CONFIG = """
[plugins.webhook]
allow_local = true

[plugins.webhook.tools.book_table]
description = "Book a table."
method = "POST"
url = "http://127.0.0.1:PORT/bookings"
json = { persons = "{persons}" }
result = "number"
parameters.persons = { type = "integer", description = "how many" }

[plugins.webhook.tools.find_table]
description = "Look for a table, which takes for ever."
url = "http://127.0.0.1:PORT/tables"
limits = { read = 40.0, total = 45.0 }
"""


class Bookings(ThreadingHTTPServer):
    """Books tables for up to ten, and looks for one until it is told to stop."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Booking)
        self.is_asked, self.is_over = Event(), Event()


class Booking(BaseHTTPRequestHandler):
    """One request."""

    server: Bookings

    def do_POST(self) -> None:
        persons = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["persons"]
        self.answer(409 if persons > 10 else 201, {"number": f"B-{persons}"})

    def do_GET(self) -> None:
        self.server.is_asked.set()
        self.server.is_over.wait(LIMIT)

    def answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def bookings() -> Iterator[Bookings]:
    with Bookings() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.is_over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def convaid_config(bookings: Bookings, tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG.replace("PORT", str(bookings.server_port)))
    return tmp_path / "config.toml"


def test_a_table_is_booked(call_tool: CallTool) -> None:
    assert call_tool("book_table", {"persons": 3}).result == "B-3"
    refused = call_tool("book_table", {"persons": 100})
    assert (refused.outcome, "409" in refused.result) == ("error", True)
    assert call_tool("book_table", {"persons": "three"}).outcome == "invalid"


def test_a_server_that_does_not_answer_is_given_up(call_tool: CallTool, clock: Clock, bookings: Bookings) -> None:
    answer = call_tool.start("find_table")
    assert bookings.is_asked.wait(LIMIT)
    clock.move(39)
    assert not answer.has_come
    clock.move(1)
    told = answer.wait()
    assert (told.outcome, "40 s" in told.result) == ("error", True), told.result


def test_in_a_conversation(agent: Agent) -> None:
    agent.hear_user("A table, please.")
    looking = agent.call("find_table")
    assert agent.call("book_table", {"persons": 2}).wait().result == "B-2"
    agent.hang_up(1000)
    assert not looking.has_come


def test_the_scenario(convaid_config: Path) -> None:
    command = [sys.executable, "-m", "convaid", "test", str(SCENARIO), "--config", str(convaid_config)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "book_table" in told.stdout
