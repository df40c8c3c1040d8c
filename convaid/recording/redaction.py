"""What of a frame is not kept: secrets, the values of dynamic variables, audio, and words in pieces. Pure.

A value is looked for in whole texts. Where the wire has a text in pieces, such as the parts of a response as they are
written, a value could stand across two of them: of these only the length is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pybase64

from convaid.config.secrets import MASK, Secret, mask_text, names_secret

__all__ = ["Redactor", "restore_frame"]

SHORTEST_SECRET = 6  # characters: a shorter one would be found in ordinary words
SHORTEST_VALUE = 4  # characters of a dynamic variable's value, which is looked for as a word of its own
PLACEHOLDER = re.compile(r"\{\{[^{}]+\}\}")  # of a dynamic variable
DEEPEST = 100  # levels of a frame
PROTOCOL_FIELDS = (frozenset({"type", "tool_call_id"}), frozenset({"tool_name", "tool_call_id", "event_id"}))
"""By which frames are understood, level by level."""
INITIATION = "conversation_initiation_client_data"

AUDIO = {"audio": ("audio_event", "audio_base_64"), "": ("user_audio_chunk",)}
"""Where audio stands in frames, by their type."""
PIECES = {
    "agent_chat_response_part": ("text_response_part", "text"),
    "agent_reasoning_response_part": ("reasoning_response_part", "text"),
    "tentative_user_transcript": ("tentative_user_transcription_event", "user_transcript"),
    "internal_tentative_agent_response": ("tentative_agent_response_internal_event", "tentative_agent_response"),
}
"""Where texts stand that are not whole."""
CUT_TEXT = ("agent_response_correction_event", "corrected_agent_response")
"""Where a text stands that may end in the middle of a value."""


def hide_nothing(tool: str) -> Collection[str]:
    """No argument of any tool is to be taken out by its name."""
    return ()


class Redactor:
    """Takes out of frames what is not to be kept.

    ``secrets`` become ``***`` wherever they stand, ``variables`` their name in braces, ``{{customer_name}}``.
    ``find_hidden`` returns which arguments of a tool are not to be kept: names, dotted paths, or ``*`` for all.
    """

    def __init__(
        self,
        secrets: Iterable[Secret] = (),
        variables: Mapping[str, object] | None = None,
        find_hidden: Callable[[str], Collection[str]] = hide_nothing,
    ) -> None:
        self._find_hidden = find_hidden
        self._variables = tuple(variables or ())
        self._replacements: dict[str, str] = {}
        self._values: list[str] = []
        for name, value in (variables or {}).items():
            for text in _list_texts(value):
                if len(text) >= SHORTEST_VALUE:
                    self._values.append(text.lower())
                    self._learn(text, f"{{{{{name}}}}}")
        words = self._replacements.keys()
        patterns = [(word, rf"(?<!\w){re.escape(word)}(?!\w)") for word in words]
        known = {secret.reveal() for secret in secrets}
        for text in known:
            if len(text) >= SHORTEST_SECRET:
                patterns += [(each, re.escape(each)) for each in _spell(text)]
        # The longest first: one may be the beginning of another.
        patterns.sort(key=lambda pair: len(pair[0]), reverse=True)
        self._words = tuple({word.lower() for word, _ in patterns})
        self._known = re.compile("|".join(pattern for _, pattern in patterns), re.IGNORECASE)

    def describe(self) -> list[str]:
        """Return in words what is taken out."""
        words = ["secrets of the configuration", "what looks like a key", "what stands under the name of a secret"]
        words += [f"the dynamic variable {name}" for name in self._variables]
        return [*words, "custom_llm_extra_body", "audio", "words in pieces"]

    def redact_frame(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Return a frame as it may be kept."""
        kind = frame.get("type", "")
        kind = kind if isinstance(kind, str) else ""
        if place := AUDIO.get(kind):
            frame = _replace(_leave_out_alignment(frame), place, describe_audio)
        if place := PIECES.get(kind):
            frame = _replace(frame, place, lambda text: {"characters": len(text)})
        if kind == "agent_response_correction":
            frame = _replace(frame, CUT_TEXT, self._redact_ending)
        if kind == INITIATION:
            frame = self._redact_initiation(frame)
        hidden: Collection[str] = ()
        call = frame.get("client_tool_call")
        if (
            isinstance(call, dict)
            and isinstance(name := call.get("tool_name"), str)
            and (hidden := self._find_hidden(name))
        ):
            parameters = MASK if "*" in hidden else _hide(call.get("parameters"), "", hidden, 0)
            frame = frame | {"client_tool_call": call | {"parameters": parameters}}
        redacted: dict[str, Any] = self._redact(frame, False, 0)
        return redacted

    def redact_text(self, text: str) -> str:
        """Return a text without what is known, and what has the shape of a secret."""
        lowered = text.lower()
        if any(word in lowered for word in self._words):  # the pattern is slow, and holds up everybody
            text = self._known.sub(lambda found: self._replacements.get(found[0].lower(), MASK), text)
        return mask_text(text)

    def redact_result(self, text: str) -> str:
        """The same for what may be JSON, whose names tell more."""
        if text[:1] not in ("{", "["):
            return self.redact_text(text)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self.redact_text(text)
        redacted = self._redact(value, False, len(PROTOCOL_FIELDS))
        return text if redacted == value else orjson.dumps(redacted).decode()

    def _learn(self, text: str, replacement: str) -> None:
        for spelling in _spell(text):
            self._replacements.setdefault(spelling.lower(), replacement)

    def _redact(self, value: Any, is_secret: bool, depth: int) -> Any:
        if depth > DEEPEST:
            return "…"
        if isinstance(value, dict):
            is_protocol = depth < len(PROTOCOL_FIELDS)
            return {
                name if is_protocol else self.redact_text(name): inner
                if is_protocol and name in PROTOCOL_FIELDS[depth]
                else self._redact(inner, is_secret or names_secret(name), depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._redact(item, is_secret, depth + 1) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if is_secret:
            text = self.redact_text(str(value))
            return text if not text or PLACEHOLDER.fullmatch(text) else MASK
        if isinstance(value, str):
            return self.redact_result(value)
        return self._replacements.get(str(value), value)

    def _redact_initiation(self, frame: dict[str, Any]) -> dict[str, Any]:
        variables = frame.get("dynamic_variables")
        if isinstance(variables, dict):
            frame = frame | {"dynamic_variables": {name: f"{{{{{name}}}}}" for name in variables}}
        if frame.get("custom_llm_extra_body") is not None:
            frame = frame | {"custom_llm_extra_body": MASK}
        return frame

    def _redact_ending(self, text: str) -> str:
        """Take the beginning of a value out of the end of a text that was cut."""
        lowered = text.lower()
        for value in self._values:
            for length in range(len(value) - 1, SHORTEST_VALUE - 1, -1):
                if lowered.endswith(value[:length]):
                    return text[:-length] + self._replacements[value]
        return text


def describe_audio(audio: str) -> Any:
    """Return what is kept of audio in base64: how long it is, and a hash by which the same is known again."""
    try:
        samples = pybase64.b64decode(audio, validate=True)
    except ValueError:
        return audio[:SHORTEST_SECRET]  # it breaks the protocol, and shows it by this much
    return {"bytes": len(samples), "sha256": sha256(samples).hexdigest()[:16]}


def restore_frame(frame: dict[str, Any]) -> dict[str, Any]:
    """Return a frame as it can be read again: with nothing in the place of audio and pieces of text."""
    kind = frame.get("type", "")
    place = (AUDIO | PIECES).get(kind) if isinstance(kind, str) else None
    return _replace(frame, place, lambda _: "", (dict,)) if place else frame


def _replace(
    frame: dict[str, Any], place: tuple[str, ...], replace: Callable[[Any], Any], kinds: tuple[type, ...] = (str,)
) -> dict[str, Any]:
    """Return a frame with something else in the place of a value, if there is one of these kinds."""
    name, *rest = place
    inner = frame.get(name)
    if rest:
        return frame | {name: _replace(inner, tuple(rest), replace, kinds)} if isinstance(inner, dict) else frame
    return frame | {name: replace(inner)} if isinstance(inner, kinds) else frame


def _leave_out_alignment(frame: dict[str, Any]) -> dict[str, Any]:
    """The alignment of audio spells the agent's words, character by character."""
    event = frame.get("audio_event")
    if not isinstance(event, dict) or "alignment" not in event:
        return frame
    return frame | {"audio_event": {name: value for name, value in event.items() if name != "alignment"}}


def _hide(value: Any, path: str, hidden: Collection[str], depth: int) -> Any:
    """Return arguments without those that are named: a name counts wherever it stands, a path from the top."""
    if depth > DEEPEST:
        return MASK
    if isinstance(value, list):
        return [_hide(item, path, hidden, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    redacted = {}
    for name, inner in value.items():
        place = f"{path}.{name}" if path else name
        redacted[name] = MASK if name in hidden or place in hidden else _hide(inner, place, hidden, depth + 1)
    return redacted


def _list_texts(value: object) -> Iterator[str]:
    """The values of a dynamic variable, as they may recur."""
    if isinstance(value, list):
        for item in value:
            yield from _list_texts(item)
    elif not isinstance(value, bool) and value is not None:
        yield str(value).strip()


def _spell(text: str) -> set[str]:
    """How a text may be written elsewhere: plain, in JSON within a text, in a URL."""
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], quote(text), quote_plus(text)}
