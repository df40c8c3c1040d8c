"""What of the agent's speech has been heard: arrived is not heard, and the difference is what an interruption takes."""

from __future__ import annotations

from itertools import islice

from attrs import define, field

from convaid.events import Heard
from convaid.protocol.from_agent import AgentResponse, Audio, AudioAlignment

__all__ = ["Ledger"]

MOST_TURNS = 32  # remembered at once: what the agent may be ahead of its listener by
LONGEST_TEXT = 16_000  # characters of a turn that are remembered
FASTEST = (
    20.0  # characters a second: nobody speaks faster, so that of a turn that still arrives not too much is guessed
)
GRAIN = 0.001  # seconds: what is less is the rounding of a device's clock


@define
class _Turn:
    """The speech of one ``event_id``, as far as it has arrived."""

    event_id: int
    text: str = ""
    seconds: float = 0.0
    is_aligned: bool = True
    chars: list[str] = field(factory=list)
    ends: list[float] = field(factory=list)
    """When each of the characters has been said, in seconds from the beginning of the turn's speech."""

    def add(self, alignment: AudioAlignment | None, seconds: float) -> None:
        """Add a piece of speech; the times of its characters count from its own beginning."""
        if alignment is not None and _is_even(alignment):
            times = zip(alignment.chars, alignment.char_start_times_ms, alignment.char_durations_ms, strict=True)
            for char, start, duration in islice(times, max(0, LONGEST_TEXT - len(self.chars))):
                self.chars.append(char)
                self.ends.append(self.seconds + (start + duration) / 1000)
        elif seconds:
            self.is_aligned = False
        self.seconds += seconds

    def cut(self, unheard: float) -> Heard:
        """What is to be said of it if the last ``unheard`` seconds are taken away."""
        heard = max(0.0, self.seconds - unheard)
        return Heard(self.event_id, round(heard, 3), round(unheard, 3), self._find_text(heard))

    def _find_text(self, heard: float) -> str | None:
        if heard < GRAIN:
            return ""
        if self.is_aligned and self.chars:
            return "".join(
                char for char, end in zip(self.chars, self.ends, strict=True) if end <= heard + GRAIN
            ).strip()
        if not self.text:
            return None
        return cut_text(self.text, round(min(len(self.text) * heard / self.seconds, FASTEST * heard)))


class Ledger:
    """Keeps account of the agent's speech in one session, from its arrival to its being heard. Pure: it has no clock.

    Whoever plays the speech makes three calls; ``waiting`` is always the seconds of agent speech that have arrived and
    have not left the speaker yet, in the queue and in the device:

    - `add_text` for every `AgentResponse`, whatever comes first, text or speech;
    - `add_speech` for every piece of agent speech that is queued (not for stale or dropped ones), after queueing it;
    - `cut`, with what waited before the queue and the device were emptied, at whatever cuts the speech off: an
      interruption, the local one, the end of the session. It returns one `Heard` for each turn that is cut, in order:
      mostly one, two where the agent had gone on with the next turn, none where all had been heard. It forgets them,
      so that a second call returns nothing.

    Remembers no more than what is not heard yet, and of that 32 turns of 16,000 characters.
    """

    def __init__(self) -> None:
        self._turns: dict[int, _Turn] = {}  # in the order in which they are heard

    def add_text(self, response: AgentResponse) -> None:
        """Take note of the agent's words; a turn may have several of these, one after the other."""
        turn = self._find_turn(response.event_id)
        if response.agent_response.strip() != turn.text:
            turn.text = f"{turn.text} {response.agent_response.strip()}".strip()[:LONGEST_TEXT]

    def add_speech(self, audio: Audio, seconds: float, waiting: float) -> None:
        """Take note of a piece of speech that lasts ``seconds`` and is queued; ``waiting`` counts it in."""
        self._find_turn(audio.event_id).add(audio.alignment, seconds)
        for turn, unheard in self._split(waiting):
            if turn.seconds and unheard < GRAIN and turn.event_id != audio.event_id:
                del self._turns[turn.event_id]

    def cut(self, waiting: float, last: int | None = None) -> tuple[Heard, ...]:
        """Nothing of what waits will be heard: returns what was heard of the turns it belongs to, and forgets them.

        ``last`` is the ``event_id`` of the last turn that is cut, where later ones go on; None cuts all of them. What
        the agent has not begun to say is remembered.
        """
        cuts = []
        for turn, unheard in self._split(waiting):
            if turn.seconds and (last is None or turn.event_id <= last):
                del self._turns[turn.event_id]
                if unheard >= GRAIN:
                    cuts.append(turn.cut(unheard))
        return tuple(cuts)

    def _find_turn(self, event_id: int) -> _Turn:
        turn = self._turns.get(event_id)
        if turn is None:
            if len(self._turns) >= MOST_TURNS:
                del self._turns[next(iter(self._turns))]
            turn = self._turns[event_id] = _Turn(event_id)
        return turn

    def _split(self, waiting: float) -> list[tuple[_Turn, float]]:
        """The turns, each with the seconds of it that wait: they are of the newest."""
        turns = []
        for turn in reversed(self._turns.values()):
            unheard = min(turn.seconds, max(0.0, waiting))
            waiting -= unheard
            turns.append((turn, unheard))
        return turns[::-1]


def cut_text(text: str, length: int) -> str:
    """The beginning of a text, at most ``length`` characters, in whole words; anywhere where it has no spaces."""
    if any(map(str.isspace, text)):
        while 0 < length < len(text) and not text[length].isspace():
            length -= 1
    return text[:length].strip()


def _is_even(alignment: AudioAlignment) -> bool:
    return len(alignment.chars) == len(alignment.char_start_times_ms) == len(alignment.char_durations_ms)
