"""What of the agent's speech has been heard, in seconds and in its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convaid.events import Heard
from convaid.protocol.from_agent import AgentResponse, Audio, AudioAlignment
from convaid.session.heard import MOST_TURNS, Ledger, cut_text
from convaid.simulator.speaking import align

TEXT = "One two three four five."


def make_piece(event_id: int, alignment: AudioAlignment | None = None) -> Audio:
    return Audio("AAAA", event_id, alignment)


def add_aligned(ledger: Ledger, event_id: int, text: str, seconds: float, waiting: float = 0.0) -> float:
    """Add a turn in pieces of 100 ms, as the simulator sends it; returns what waits then."""
    count = round(seconds / 0.1)
    for number in range(count):
        waiting += 0.1
        alignment = align(text, number / count, (number + 1) / count, seconds)
        ledger.add_speech(make_piece(event_id, alignment), 0.1, waiting)
    return waiting


def test_by_the_alignment_to_the_character() -> None:
    ledger = Ledger()
    assert add_aligned(ledger, 1, TEXT, 2.4) == pytest.approx(2.4)
    (heard,) = ledger.cut(1.35)
    assert heard == Heard(1, 1.05, 1.35, "One two th")


@given(st.floats(0.01, 2.4))
def test_by_the_alignment_what_was_heard_grows_with_the_time(waiting: float) -> None:
    ledger = Ledger()
    add_aligned(ledger, 1, TEXT, 2.4)
    (heard,) = ledger.cut(waiting)
    assert heard.text is not None
    assert TEXT.startswith(heard.text)
    assert len(heard.text) == pytest.approx((2.4 - waiting) / 0.1, abs=2.1)


def test_without_an_alignment_by_the_share_of_the_time_in_whole_words() -> None:
    for waiting, text in ((2.2, ""), (1.5, "One two"), (0.9, "One two three"), (0.1, "One two three four")):
        ledger = Ledger()
        ledger.add_speech(make_piece(1), 1.0, 1.0)
        ledger.add_text(AgentResponse(TEXT, 1))  # it may come after the speech
        ledger.add_speech(make_piece(1), 1.4, 2.4)
        assert ledger.cut(waiting) == (Heard(1, round(2.4 - waiting, 3), waiting, text),)


def test_a_turn_of_which_a_piece_has_no_alignment_goes_by_the_time() -> None:
    ledger = Ledger()
    ledger.add_text(AgentResponse(TEXT, 1))
    add_aligned(ledger, 1, "One two", 0.7)
    ledger.add_speech(make_piece(1, AudioAlignment(["t"], [0, 10], [10, 10])), 1.7, 2.4)
    assert ledger.cut(1.35)[0].text == "One two"


def test_words_that_are_not_known_are_not_made_up() -> None:
    ledger = Ledger()
    ledger.add_speech(make_piece(1), 2.0, 2.0)
    assert ledger.cut(0.5) == (Heard(1, 1.5, 0.5, None),)
    ledger.add_speech(make_piece(2), 2.0, 2.0)
    assert ledger.cut(2.0) == (Heard(2, 0.0, 2.0, ""),)


def test_the_beginning_of_a_long_turn_that_still_arrives_is_no_big_part_of_it() -> None:
    ledger = Ledger()
    ledger.add_text(AgentResponse("word " * 200, 1))
    ledger.add_speech(make_piece(1), 2.0, 2.0)
    assert ledger.cut(1.0)[0].text == "word word word word"


def test_two_turns_that_wait_are_cut_each_for_itself_and_what_had_been_heard_is_not() -> None:
    ledger = Ledger()
    for event_id, text in ((1, "Hello."), (3, "Let me look."), (5, "It is on.")):
        ledger.add_text(AgentResponse(text, event_id))
    ledger.add_speech(make_piece(1), 1.0, 1.0)
    ledger.add_speech(make_piece(3), 1.0, 1.5)
    ledger.add_speech(make_piece(5), 1.0, 1.6)
    assert ledger.cut(1.6) == (
        Heard(3, 0.4, 0.6, "Let"),
        Heard(5, 0.0, 1.0, ""),
    )
    assert ledger.cut(0.0) == ()


def test_a_cut_is_told_once_and_what_is_not_begun_is_remembered() -> None:
    ledger = Ledger()
    ledger.add_speech(make_piece(1), 1.0, 1.0)
    ledger.add_text(AgentResponse("One two three.", 3))
    assert len(ledger.cut(0.5)) == 1
    assert ledger.cut(0.5) == ()
    ledger.add_speech(make_piece(3), 1.0, 1.0)
    assert ledger.cut(0.5)[0].text == "One two"


def test_turns_that_are_newer_than_the_cut_go_on() -> None:
    ledger = Ledger()
    for event_id in (1, 3):
        ledger.add_text(AgentResponse("One two three.", event_id))
        ledger.add_speech(make_piece(event_id), 1.0, 1.5)
    assert ledger.cut(1.5, 2) == (Heard(1, 0.5, 0.5, "One two"),)
    assert ledger.cut(0.9, 2) == ()
    assert ledger.cut(0.5) == (Heard(3, 0.5, 0.5, "One two"),)


def test_speech_that_was_all_heard_is_not_cut() -> None:
    ledger = Ledger()
    add_aligned(ledger, 1, TEXT, 2.4)
    assert ledger.cut(0.0004) == ()


def test_a_turn_with_two_texts_has_both_and_a_text_told_twice_counts_once() -> None:
    ledger = Ledger()
    for text in ("Let me look.", "Let me look.", "It is on."):
        ledger.add_text(AgentResponse(text, 1))
    ledger.add_speech(make_piece(1), 4.0, 4.0)
    assert ledger.cut(1.0)[0].text == "Let me look. It"


def test_only_so_much_is_remembered() -> None:
    ledger, alignment = Ledger(), AudioAlignment(["y"] * 50_000, [0] * 50_000, [1] * 50_000)
    for event_id in range(10 * MOST_TURNS):
        ledger.add_text(AgentResponse("x" * 100_000, event_id))
        ledger.add_speech(make_piece(event_id, alignment), 1.0, 1e9)
        assert sum(len(turn.chars) + len(turn.text) for turn in ledger._turns.values()) <= MOST_TURNS * 32_000
    cuts = ledger.cut(1e9)
    assert [cut.event_id for cut in cuts] == list(range(9 * MOST_TURNS, 10 * MOST_TURNS))


def test_what_has_been_heard_is_forgotten_as_the_speech_goes_on() -> None:
    ledger = Ledger()
    for event_id in range(100):
        ledger.add_speech(make_piece(event_id), 1.0, 1.5)
    assert len(ledger._turns) == 2


@pytest.mark.parametrize(
    ("length", "beginning"), [(0, ""), (2, ""), (3, "One"), (4, "One"), (6, "One"), (7, "One two"), (99, "One two")]
)
def test_a_text_is_cut_between_words(length: int, beginning: str) -> None:
    assert cut_text("One two", length) == beginning


def test_a_text_without_spaces_is_cut_anywhere() -> None:
    assert cut_text("今日はいい天気です", 3) == "今日は"
