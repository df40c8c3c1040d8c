"""Words that messages share."""

from __future__ import annotations

import pytest

from convaid.wording import escape_controls


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Grüße, 猫 👩‍🚀", "Grüße, 猫 👩‍🚀"),
        ("a\x1b[2Jb\r\n\x9bc", "a\\x1b[2Jb\\r\\n\\x9bc"),
        ("a\u2028b\u202egpj.exe\u2066c", "a\\u2028b\\u202egpj.exe\\u2066c"),
    ],
)
def test_nobody_steers_a_terminal(text: str, escaped: str) -> None:
    assert escape_controls(text) == escaped
