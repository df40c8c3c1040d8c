"""The agent's own words are told from the user's."""

from __future__ import annotations

import time

import pytest

from convaid.sound.self_talk import SelfTalk, split_words

WEATHER = (
    "The weather in Berlin is fine today, with a light wind from the west. Tomorrow it will rain: "
    "take an umbrella with you! Shall I also look up the trains?"
)


@pytest.mark.parametrize(
    ("agent", "user"),
    [
        ("Hello, how can I help you?", "hello how can i help you"),
        ("Hello, how can I help you?", "Hello! How can I   help you…"),
        ("Hello, how can I help you?", "hello how can I held you"),  # recognisers mishear
        ("Don’t worry, it’s done.", "don't worry it's done"),
        (WEATHER, WEATHER),
        (WEATHER, "with a light wind from the west tomorrow it will rain"),
        (WEATHER, "tomorrow it will rain take an um brella with you shall I"),
        ("Guten Tag, wie kann ich Ihnen helfen? Schöne Grüße!", "guten tag wie kann ich ihnen helfen schöne grüsse"),
        ("Здравствуйте! Чем я могу вам помочь?", "здравствуйте чем я могу вам помочь"),
        ("今日はいい天気ですね。", "今日はいい天気ですね"),
        ("สวัสดีค่ะ มีอะไรให้ช่วยไหมคะ", "สวัสดีค่ะมีอะไรให้ช่วยไหมคะ"),
    ],
)
def test_what_the_agent_said_is_its_echo(agent: str, user: str) -> None:
    talk = SelfTalk()
    talk.note_agent("Let me see.", 99.0)
    talk.note_agent(agent, 100.0)
    assert talk.is_echo(user, 101.0)


@pytest.mark.parametrize(
    ("agent", "user"),
    [
        ("Yes.", "Yes."),
        ("Yes, yes, yes!", "yes yes yes"),
        ("Thank you.", "thank you"),
        ("Shall I turn on the kitchen light?", "Turn on the kitchen light."),
        ("You can have tea, coffee or water. What do you want?", "Coffee, please, and what do you have to eat?"),
        (WEATHER, "Yes, look up the trains, but only those in the morning, and to Hamburg."),
        (WEATHER, "Is it going to rain the day after tomorrow as well, and do I have to take the bus?"),
        (WEATHER, "the in a it an I up"),  # words in common, but not in a row
        ("好的", "好的"),
        ("", ""),
        (WEATHER, ""),
    ],
)
def test_what_the_user_says_is_not(agent: str, user: str) -> None:
    talk = SelfTalk()
    talk.note_agent(agent, 100.0)
    assert not talk.is_echo(user, 101.0)


def test_two_answers_may_come_back_as_one() -> None:
    talk = SelfTalk()
    talk.note_agent("One moment, I am looking.", 100.0)
    talk.note_agent("There are two trains.", 103.0)
    assert talk.is_echo("one moment I am looking there are two trains", 106.0)


def test_an_echo_comes_at_once_or_never() -> None:
    talk = SelfTalk()
    talk.note_agent("Hello, how can I help you?", 100.0)
    assert talk.is_echo("Hello, how can I help you?", 108.0)
    assert not talk.is_echo("Hello, how can I help you?", 120.0)
    talk.note_agent(" ".join([WEATHER] * 4), 200.0)  # more than a minute of speech
    assert talk.is_echo(WEATHER, 260.0)


def test_nothing_takes_long_or_grows() -> None:
    talk = SelfTalk()
    began = time.process_time()
    for _ in range(20):
        talk.note_agent("no " * 100_000, 100.0)
    assert talk.is_echo("no " * 100_000, 101.0)
    assert time.process_time() - began < 2
    assert len(split_words("no " * 100_000)) <= 400
