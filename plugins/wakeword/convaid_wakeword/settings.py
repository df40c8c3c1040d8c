"""The plugin's table in the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from attrs import define, field, frozen

from convaid import Range
from convaid.errors import Problem, StructureError
from convaid.wording import join_path, nearest

__all__ = ["Models", "WakewordSettings", "Word", "find_models"]

Models = dict[str, tuple[Path, float]]
"""By each word its file and its sensitivity."""

PARTS = ("melspectrogram", "embedding_model")  # of every detector, and no words
KIND = slice(4, 8)  # where the file says what it is
TFLITE = b"TFL3"


@frozen(kw_only=True)
class Word:
    """``[plugins.wakeword.words.NAME]``"""

    model: Path | None = None
    """A file of one's own; None for a word that is built in."""
    sensitivity: Annotated[float, Range(0.01, 0.99)] = 0.5
    """More hears more, wrongly, too."""
    conversations: list[str] = field(factory=list)
    """Those of the plugin, if empty."""


@define
class WakewordSettings:
    """``[plugins.wakeword]``. ``words`` are by their names, and have their models, once it is made."""

    words: dict[str, Word] = field(factory=dict)
    conversations: list[str] = field(factory=list)
    """All there are, if empty."""
    refractory: Annotated[float, Range(0.1, 60)] = 2.0
    """Seconds after a word in which none is heard."""
    barge_in: bool = True
    """Whether a word interrupts the agent that speaks."""
    models: dict[str, Path] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        if problems := list(self._find_models()):
            raise StructureError(problems)

    def assign(self, conversations: Sequence[str]) -> dict[str, Models]:
        """Return what each conversation that has words is to hear; ``conversations`` are all there are."""
        assigned: dict[str, Models] = {}
        for name, word in self.words.items():
            for conversation in word.conversations or self.conversations or conversations:
                assigned.setdefault(conversation, {})[name] = (self.models[name], word.sensitivity)
        return assigned

    def _find_models(self) -> Iterator[Problem]:
        built_in = find_models()
        for name, word in self.words.items():
            place = join_path("words", name)
            if word.model is None:
                key = name.lower().replace(" ", "_")
                if key in built_in:
                    self.models[name] = built_in[key]
                else:
                    close = nearest(key, built_in)
                    hint = f'; did you mean "{close[0]}"?' if close else ""
                    names = ", ".join(built_in)
                    yield Problem(place, f"is not built in{hint} (built in: {names}; others need a file, model = …)")
            else:
                path = word.model.expanduser()
                if problem := find_problem(path):
                    yield Problem(join_path(place, "model"), problem)
                self.models[name] = path


def find_models() -> dict[str, Path]:
    """The models that come with pyopen-wakeword, by their words. Imports nothing: that would bring numpy."""
    package = find_spec("pyopen_wakeword")
    folders = package.submodule_search_locations if package is not None else None
    files = sorted(Path(folders[0], "models").glob("*.tflite")) if folders else []
    return {file.stem: file for file in files if file.stem not in PARTS}


def find_problem(path: Path) -> str:
    """What is wrong with the file of a model, as far as can be seen from outside; "" if nothing is."""
    if not path.is_absolute():
        return f"{path} is no whole path"
    try:
        with path.open("rb") as file:
            beginning = file.read(KIND.stop)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return "" if beginning[KIND] == TFLITE else f"{path} is no model of TensorFlow Lite (.tflite)"
