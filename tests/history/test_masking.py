"""What `keep = "redacted"` takes out of what is said, and what it leaves."""

from __future__ import annotations

import time

import pytest

from convaid.history.masking import redact_text, redact_values


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Write to ada.lovelace+x@mail.example.org, please.", "Write to ***, please."),
        ("My card is 4111 1111 1111 1111.", "My card is ***."),
        ("Call +39 (06) 123-45.67 or 0151/2345678!", "Call *** or ***!"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN DE***"),
        ("The code is 123456.", "The code is ***."),
        ("41, 11, 22, 33", "***"),
        ("key 3f9a0c77b1e24d5f8a6b9c0d1e2f3a4b", "key ***"),
        ("sk_0123456789abcdef", "sk_***"),
        ("See https://example.org/?token=abc&x=1", "See https://example.org/?token=***&x=1"),
    ],
)
def test_shapes_are_masked(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "On 2026-11-23 at 08:30, for 2 people, room 101.",
        "12345 Berlin",
        "an internationalisation-of-everything",
        "Ada Lovelace, four one one one",
        "not@anywhere",
    ],
)
def test_what_has_no_shape_stays(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize("part", ["a", "1 ", "a@", "a.", "1-", "a1_", "@", "a@a."])
def test_a_long_text_takes_no_time(part: str) -> None:
    began = time.process_time()
    redact_text(part * 8000)
    assert time.process_time() - began < 0.5


def test_values_are_redacted_wherever_they_are() -> None:
    assert redact_values({"a": ["ada@example.org", 4111111111111111, 12, 1.5, True, None], "b": {"c": "x"}}) == {
        "a": ["***", "***", 12, 1.5, True, None],
        "b": {"c": "x"},
    }
