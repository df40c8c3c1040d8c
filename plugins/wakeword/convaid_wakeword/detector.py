"""Hears words in a stream of sound. Brings numpy and TensorFlow Lite, in C, which computes without Python's lock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen
from pyopen_wakeword import OpenWakeWord, OpenWakeWordFeatures
from pyopen_wakeword.openwakeword import MAX_EMB

__all__ = ["Detector", "ModelError"]

RATE = 16000  # samples per second
CHUNK = 1280 * 2  # bytes: 80 ms, the step in which the models look at sound
FEATURES = 96  # numbers by which the models know a step


class ModelError(Exception):
    """A file is no model of a wake word; the message says which."""


@frozen(eq=False)
class _Word:
    name: str
    threshold: float
    model: OpenWakeWord


class Detector:
    """Hears words in one stream of sound, in order: some 10 % of a core, and hardly more for each further word."""

    def __init__(self, models: Mapping[str, tuple[Path, float]], refractory: float) -> None:
        """``models``: by each word its file and its sensitivity, from 0 to 1. After a word, none is heard for
        ``refractory`` seconds of sound. Raises `ModelError`.
        """
        self._features = OpenWakeWordFeatures.from_builtin()
        self._words = [_Word(name, 1 - sensitivity, self._load(path)) for name, (path, sensitivity) in models.items()]
        self._rest = round(refractory * RATE) * 2
        self._deaf = 0  # bytes in which no word is heard any more
        self._is_hearing = False  # it was heard in the step before: this is the same word
        self._held = bytearray()
        self._listen(bytes(CHUNK))  # of silence: what is before the first sound takes a while to compute

    def hear(self, pcm: bytes) -> list[str]:
        """Return the words that end in the next piece of sound: s16le, 16 kHz, mono, of any length."""
        self._held += pcm
        heard: list[str] = []
        while len(self._held) >= CHUNK:
            chunk = bytes(self._held[:CHUNK])
            del self._held[:CHUNK]
            self._deaf = max(0, self._deaf - CHUNK)
            found = self._listen(chunk)
            if found and not (self._deaf or self._is_hearing):
                heard.append(found)
                self._deaf = self._rest
            self._is_hearing = bool(found)
        return heard

    def _listen(self, chunk: bytes) -> str:
        """Return the word that is most surely heard at the end of this chunk; "" if none is."""
        margins = {
            word.name: probability - word.threshold
            for step in self._features.process_streaming(chunk)
            for word in self._words
            for probability in word.model.process_streaming(step)
            if probability > word.threshold
        }
        return max(margins, key=lambda name: margins[name], default="")

    def _load(self, path: Path) -> OpenWakeWord:
        # The library takes NULL for a model, or computes with one that cannot be set up, and crashes; another kind of
        # model it would let compute nonsense.
        library = self._features.lib
        model = library.TfLiteModelCreateFromFile(str(path).encode())
        interpreter = model and library.TfLiteInterpreterCreate(model, None)
        is_whole = bool(interpreter) and library.TfLiteInterpreterAllocateTensors(interpreter) == 0
        if interpreter:
            library.TfLiteInterpreterDelete(interpreter)
        if model:
            library.TfLiteModelDelete(model)
        if not is_whole:
            raise ModelError(f"{path} is no model of TensorFlow Lite, or only a part of one")
        try:
            word = OpenWakeWord.from_model(path)
        except (IndexError, RuntimeError):  # it has no input, or not as many dimensions
            raise ModelError(f"{path} is a model, but not openWakeWord's of one word") from None
        axes = range(library.TfLiteTensorNumDims(word.input_tensor))
        shape = [library.TfLiteTensorDim(word.input_tensor, axis) for axis in axes]
        if (
            len(shape) != 3
            or shape[0] != 1
            or not 0 < shape[1] <= MAX_EMB
            or shape[2] != FEATURES
            or library.TfLiteTensorByteSize(word.output_tensor) != 4
        ):
            raise ModelError(f"{path} is a model, but not openWakeWord's of one word")
        return word
