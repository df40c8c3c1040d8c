"""Finds out that the agent hears itself: what the platform took for the user is what the agent has just said."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from difflib import SequenceMatcher

from attrs import frozen

__all__ = ["SelfTalk"]

WORDS_A_SECOND = 2.0  # slow speech: how long an agent's answer may take to be said
MEMORY = 8.0  # seconds beyond that in which it can come back: the room, the link, the recognition
KEPT = 8  # answers of the agent's
LONGEST = 400  # words of one of them that are looked at
ENOUGH = 60  # words of the user's that are

# A user may well say what the agent has said: «yes», a name, «turn on the light». So what counts is at least a short
# sentence, and then either nearly all of an answer, or much of one.
FEWEST_WORDS = 3
FEWEST_LETTERS = 12
MUCH = 6  # words
SHARE = 0.75  # of the words; a recogniser hears some of them wrongly
RUN = 2  # words in a row that must agree to count: single ones, such as «the», agree by chance

# Scripts that put no spaces between words (Thai to Khmer, Chinese, Japanese): a character counts as a word there, and
# says as much as two letters.
SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@frozen
class _Answer:
    words: list[str]
    until: float  # when it can no longer come back


class SelfTalk:
    """One session's; fed with what is said on both sides. Times are seconds, of whichever clock."""

    def __init__(self) -> None:
        self._answers: deque[_Answer] = deque(maxlen=KEPT)

    def note_agent(self, text: str, at: float) -> None:
        """Takes what the agent says from ``at`` on."""
        words = split_words(text)
        self._answers.append(_Answer(words, at + len(words) / WORDS_A_SECOND + MEMORY))

    def is_echo(self, text: str, at: float) -> bool:
        """Whether ``text``, taken for the user's at the time ``at``, is for the most part what the agent has just said.

        Case, punctuation and spaces do not count, and neither do a few wrong words.
        """
        words = split_words(text)[:ENOUGH]
        letters = sum(2 if SPACELESS.match(word) else len(word) for word in words)
        if len(words) < FEWEST_WORDS or letters < FEWEST_LETTERS:
            return False
        recent = [answer.words for answer in self._answers if at <= answer.until]
        said = [word for answer in recent for word in answer]
        if len(words) >= MUCH and _count_common(words, said, RUN) >= SHARE * len(words):
            return True
        return any(_count_common(words, answer) >= SHARE * max(len(words), len(answer)) for answer in recent)


def split_words(text: str) -> list[str]:
    """Return the words of a text, as they compare: in one case, without punctuation."""
    characters = []
    for character in unicodedata.normalize("NFKC", text[: LONGEST * 20]).casefold():
        if SPACELESS.match(character):
            characters.append(f" {character} ")
        else:
            characters.append(" " if unicodedata.category(character)[0] in "PSZC" else character)
    return "".join(characters).split()[:LONGEST]


def _count_common(words: list[str], said: list[str], fewest: int = 1) -> int:
    """Return how many of ``words`` stand in ``said`` in the same order, ``fewest`` or more of them in a row."""
    blocks = SequenceMatcher(None, words, said, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size >= fewest)
