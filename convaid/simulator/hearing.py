"""The platform's ear in a conversation: what it tells while the user speaks, and what becomes a turn."""

from __future__ import annotations

from convaid.audio import AudioFormat
from convaid.protocol.from_agent import TentativeUserTranscript, VadScore
from convaid.simulator.conversation import Conversation, UserTurn
from convaid.simulator.speech import Ear, SpeechBegan

__all__ = ["Hearing"]

UNRECOGNISED = "(speech of {:.1f} s; the simulator does not recognise words)"
TENTATIVE = "(speech of {:.1f} s so far)"
SCORE_INTERVAL = 0.1  # seconds of audio from one vad_score to the next
TENTATIVE_INTERVAL = 0.5  # seconds of speech from one tentative transcript to the next


class Hearing:
    """Listens to the user, who may speak over the agent; turns go to the conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._audio_format = AudioFormat.parse(conversation.agent.user_input_audio_format)
        self._ear = Ear(self._audio_format)
        self._unscored = 0.0  # seconds of audio
        self._told = 0.0  # seconds of the current speech
        self._event_id = 0  # of the current turn

    async def hear(self, audio: bytes) -> None:
        """Listen to the next piece, however long."""
        conversation = self._conversation
        for heard in self._ear.listen(audio):
            if isinstance(heard, SpeechBegan):
                await conversation.give_way()
                self._event_id = conversation.next_event_id()
            else:
                await conversation.take_turn(
                    UserTurn(UNRECOGNISED.format(heard.seconds), is_spoken=True), self._event_id
                )
                self._told = 0.0
        await self._tell(self._audio_format.seconds_of(len(audio)))

    async def _tell(self, seconds: float) -> None:
        conversation = self._conversation
        speech = self._ear.speech_seconds
        if speech:
            conversation.turns.note_activity()
        if not conversation.has_begun or conversation.agent.text_only:
            return
        self._unscored += seconds
        if self._unscored >= SCORE_INTERVAL - 1e-9:
            self._unscored = 0.0
            await conversation.send(VadScore(self._ear.score))
        if speech - self._told >= TENTATIVE_INTERVAL:
            self._told = speech
            await conversation.send(TentativeUserTranscript(TENTATIVE.format(speech), self._event_id))
