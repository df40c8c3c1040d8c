"""What plugins open, close and listen to conversations with: buttons, wake words, whoever comes through the door
(floor 4)."""

from __future__ import annotations

from typing import Literal, Protocol

from attrs import field, frozen

from convaid.plugins.listening import Blocks, Listening

__all__ = ["Act", "Activation", "Granting", "Wish"]

Act = Literal["start", "stop", "interrupt", "mute", "unmute", "say", "context"]


@frozen
class Wish:
    """What a plugin would have done with a conversation."""

    conversation: str
    act: Act
    text: str = ""

    def __attrs_post_init__(self) -> None:
        check_text(self.conversation, self.text)


class Granting(Protocol):
    """Who grants what plugins wish. From any thread; nothing of it waits, or raises."""

    def ask(self, wish: Wish) -> None: ...

    def find_state(self, conversation: str) -> str: ...

    def is_muted(self, conversation: str) -> bool: ...

    def attend(self, blocks: Blocks) -> None:
        """Let what the microphone of ``blocks.conversation`` hears be put there, until `leave`."""

    def leave(self, blocks: Blocks) -> None: ...

    def report(self, source: str, trouble: str) -> None: ...


@frozen(eq=False)
class Activation:
    """The conversations of the configuration, as a plugin sees them; usable from any thread.

    Nothing here waits, or raises: what cannot be done, because there is no such conversation or too many are open, is
    in the log. Only what is no text, where text is asked for, is a TypeError. How a conversation goes on,
    `convaid_observe` tells.
    """

    conversations: tuple[str, ...]
    """Their names, as of the daemon's start."""
    _granting: Granting = field(repr=False)

    def start(self, conversation: str) -> None:
        """Have a conversation opened; nothing happens to one that is open, or about to be."""
        self._granting.ask(Wish(conversation, "start"))

    def stop(self, conversation: str) -> None:
        """Have a conversation closed, with a goodbye; nothing happens to one that is closed."""
        self._granting.ask(Wish(conversation, "stop"))

    def find_state(self, conversation: str) -> str:
        """Return "closed", "queued", "connecting", "connected" or "waiting" (to connect again); "" if there is none."""
        check_text(conversation)
        return self._granting.find_state(conversation)

    def interrupt(self, conversation: str) -> None:
        """Silence the agent at once; nothing happens to one that is not speaking."""
        self._granting.ask(Wish(conversation, "interrupt"))

    def mute(self, conversation: str, is_muted: bool) -> None:
        """Close the microphone, for the agent and for everybody who listens; or let them hear again."""
        self._granting.ask(Wish(conversation, "mute" if is_muted else "unmute"))

    def is_muted(self, conversation: str) -> bool:
        """Whether the microphone is closed for everybody; False where there is no such conversation."""
        check_text(conversation)
        return self._granting.is_muted(conversation)

    def say(self, conversation: str, text: str) -> None:
        """Say something as the user, in a conversation that is connected."""
        self._granting.ask(Wish(conversation, "say", text))

    def tell_context(self, conversation: str, text: str) -> None:
        """Tell the agent of a conversation that is connected something that it need not answer."""
        self._granting.ask(Wish(conversation, "context", text))

    def listen(self, conversation: str) -> Listening:
        """Hear what a conversation's microphone hears, whether or not the conversation is open: an async iterator.

        ``with activation.listen("kitchen") as blocks: async for block in blocks: ...``, in the plugin's own loop. Each
        block is s16le, 16 kHz, mono, of some 20 ms, after gain and echo cancellation; while the agent speaks, too, when
        the agent itself may hear silence (``echo = "gate"``). Nothing comes while the conversation is muted, or has no
        microphone; after a reload it goes on.
        """
        check_text(conversation)
        blocks = Blocks(conversation)
        self._granting.attend(blocks)
        return Listening(blocks, self._granting.leave)

    def report(self, source: str, trouble: str) -> None:
        """Have the log and ``convaid status`` tell what does not work just now, one sentence; "" takes it back.

        ``source`` begins the sentence, and tells one trouble from another: the plugin's name, and which part of it.
        """
        check_text(source, trouble)
        self._granting.report(source, trouble)


def check_text(*values: object) -> None:
    """Raise TypeError where one is no text: in the plugin's own thread, which is the one at fault."""
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"text is asked for, not {value!r}")
