"""What plugins wish, from their own threads, and what is granted of it on the daemon's loop (floor 6)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from convaid.errors import ConvaidError
from convaid.keeper import Keeper, Keeping, Refused, UnknownConversation
from convaid.plugins.activation import Wish
from convaid.plugins.listening import Blocks
from convaid.protocol.to_agent import ContextualUpdate
from convaid.supervisor import NotConnected

if TYPE_CHECKING:
    from convaid.sound.ear import Ear

__all__ = ["Wishes"]

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds of silence after which the agent does not speak: less is a gap in what the network brings


@define(eq=False)
class _Attended:
    """What a plugin that listens is attached to. An ear lives as long as its conversation's settings do."""

    ear: Ear | None = None
    attachment: ExitStack = field(factory=ExitStack)


@define(eq=False)
class Wishes:
    """Grants what plugins wish: at once, or as soon as the daemon is ready. What cannot be is in the log."""

    troubles: dict[str, str]
    """The daemon's, to which plugins add theirs."""
    _token: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)
    _keeper: Keeper | None = field(default=None, init=False)
    _waiting: list[Wish] = field(factory=list, init=False)
    """What has been asked for before the daemon was ready."""
    _attended: dict[Blocks, _Attended] = field(factory=dict, init=False)

    # --- from any thread ----------------------------------------------------------------------------------------------

    def ask(self, wish: Wish) -> None:
        self._post(self._grant, wish)

    def find_state(self, conversation: str) -> str:
        keeping = self._find(conversation)
        return keeping.state if keeping is not None else ""

    def is_muted(self, conversation: str) -> bool:
        keeping = self._find(conversation)
        return keeping is not None and keeping.conversation.is_muted

    def _find(self, conversation: str) -> Keeping | None:
        return self._keeper.get(conversation) if self._keeper is not None else None

    def attend(self, blocks: Blocks) -> None:
        self._post(self._attend, blocks)

    def leave(self, blocks: Blocks) -> None:
        self._post(self._leave, blocks)

    def report(self, source: str, trouble: str) -> None:
        self._post(self._report, source, trouble)

    def _post(self, act: Callable[..., object], *args: object) -> None:
        with suppress(trio.RunFinishedError):  # the daemon has ended: nobody is there to be asked
            self._token.run_sync_soon(_do_safely, act, *args)

    # --- on the daemon's loop -----------------------------------------------------------------------------------------

    def begin(self, keeper: Keeper) -> None:
        """The daemon is ready: grant what has been asked for so far."""
        self._keeper = keeper
        for wish in self._waiting:
            _do_safely(self._grant, wish)
        self._waiting.clear()
        self.follow()

    def note_reload(self, is_reloading: bool) -> None:
        """Take note of a reload that begins, or is over; an observer of reloads."""
        if not is_reloading:
            self.follow()

    def follow(self) -> None:
        """See to it that whoever listens hears the conversations that there are now."""
        for blocks, attended in self._attended.items():
            _do_safely(self._attach, blocks, attended)

    def close(self) -> None:
        """The daemon ends: nobody hears anything any more, not even a plugin whose room is stuck."""
        for attended in self._attended.values():
            attended.attachment.close()
        self._attended.clear()

    def _grant(self, wish: Wish) -> None:
        if self._keeper is None:
            self._waiting.append(wish)
            return
        try:
            act_on(self._keeper.find(wish.conversation), wish)
        except (Refused, UnknownConversation, NotConnected) as error:
            log.warning("a plugin's wish to %s: %s", WORDS[wish.act], error)

    def _attend(self, blocks: Blocks) -> None:
        self._attended[blocks] = attended = _Attended()
        self._attach(blocks, attended)

    def _leave(self, blocks: Blocks) -> None:
        self._attended.pop(blocks, _Attended()).attachment.close()
        if blocks.conversation not in {other.conversation for other in self._attended}:
            self._report(name_listening(blocks), "")

    def _attach(self, blocks: Blocks, attended: _Attended) -> None:
        """Have a plugin hear its conversation's ear, if it does not yet."""
        if self._keeper is None:
            return
        try:
            ear = self._find_ear(blocks.conversation)
        except ConvaidError as error:
            attended.attachment.close()
            attended.ear = None
            self._report(name_listening(blocks), str(error))
            return
        if ear is not attended.ear:
            attended.attachment.close()
            attended.ear = ear
            self._report(name_listening(blocks), "")
            attended.attachment.enter_context(ear.overhear(lambda pcm: blocks.put(pcm, ear.format)))

    def _find_ear(self, name: str) -> Ear:
        assert self._keeper is not None
        sound = self._keeper.find(name).conversation.sound
        if sound is None:
            raise ConvaidError(f'{name} has no microphone: set audio in [conversations.{name}], such as "device"')
        return sound.ear

    def _report(self, source: str, trouble: str) -> None:
        sentence = f"{source}: {trouble}" if trouble else ""
        if sentence == self.troubles.get(source, ""):
            return
        if sentence:
            self.troubles[source] = sentence
            log.warning("%s", sentence)
        else:
            del self.troubles[source]
            log.info("%s works again", source)


def name_listening(blocks: Blocks) -> str:
    """Whose trouble it is where there is nothing to listen to."""
    return f"listening to {blocks.conversation}"


def _do_safely(act: Callable[..., object], *args: object) -> None:
    """What a plugin asks for, however wrongly, is not felt by the daemon: trio ends where a callback raises."""
    try:
        act(*args)
    except Exception as error:
        log.error("what a plugin wishes cannot be done: %s", args, exc_info=error)


WORDS = {
    "start": "start a conversation",
    "stop": "stop a conversation",
    "interrupt": "silence an agent",
    "mute": "mute a conversation",
    "unmute": "unmute a conversation",
    "say": "say something",
    "context": "tell an agent something",
}


def act_on(keeping: Keeping, wish: Wish) -> None:
    """Grant one wish. Raises `Refused` and `NotConnected`."""
    conversation = keeping.conversation
    match wish.act:
        case "start":
            keeping.start()
        case "stop":
            keeping.stop()
        case "interrupt":
            sound = conversation.sound
            if conversation.is_connected and (sound is None or sound.mouth.silent_for() < PAUSE):
                conversation.interrupt()
        case "mute" | "unmute":
            conversation.mute(wish.act == "mute")
        case "say":
            conversation.say(wish.text)
        case "context":
            conversation.send(ContextualUpdate(wish.text))
