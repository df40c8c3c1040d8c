"""docs/events.md lists the events there are; `python -m tests.test_events_page` writes its table anew."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import attrs

from convaid.config import parse_configuration
from convaid.event_json import EVENT_NAMES, describe_event
from convaid.events import Heard, SpeechInterrupted

PAGE = Path(__file__).parents[1] / "docs" / "events.md"
TABLE = re.compile(r"(<!-- events: begin -->\n).*?(<!-- events: end -->)", re.DOTALL)


def make_table() -> str:
    """One row for each event: its name, what it says, its fields."""
    rows = ["| `event` | When | Fields |", "|---|---|---|"]
    for kind, name in EVENT_NAMES.items():
        when = " ".join(inspect.getdoc(kind).split("\n\n")[0].split()).replace("`", "")  # type: ignore[union-attr]
        fields = ", ".join(f"`{field.name}`" for field in attrs.fields(kind) if field.name != "conversation")
        rows.append(f"| `{name}` | {when} | {fields} |")
    return "\n".join(rows) + "\n"


def write_table(page: str) -> str:
    return TABLE.sub(lambda found: found[1] + make_table() + found[2], page)


def test_the_table_is_as_the_code_has_it() -> None:
    page = PAGE.read_text()
    assert write_table(page) == page, "run: python -m tests.test_events_page"


def test_the_command_of_the_page_is_a_configuration() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text = '[conversations.main]\nagent_id = "agent_demo"\n' + block
    (command,) = parse_configuration(text, "docs/events.md").event_commands
    assert command.on == ["connected", "ended", "error"]


def test_what_was_heard_is_as_the_page_shows_it() -> None:
    (example,) = re.findall(r'^({"event_id".*})$', PAGE.read_text(), re.MULTILINE)
    heard = Heard(**json.loads(example))
    told = describe_event(SpeechInterrupted("main", "conv_1", 4, 3.08, (heard,)))
    assert told["heard"] == [json.loads(example)]


if __name__ == "__main__":
    PAGE.write_text(write_table(PAGE.read_text()))
