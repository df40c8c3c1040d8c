"""The microphone without echo that a sound server may have: PulseAudio's or PipeWire's ``module-echo-cancel``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import trio
from attrs import frozen

__all__ = ["CancelledSource", "find_cancelled_source", "read_pactl", "read_pw_dump"]

ASKING_LIMIT = 1.0  # seconds that the sound server has for its answer
CANCELLED = re.compile(r"echo[-_ .]?cancel|(?<![a-z])aec(?![a-z])", re.IGNORECASE)


@frozen
class CancelledSource:
    """A microphone without the sound of ``sink``, the speaker that goes with it.

    ``sink`` is "" where the server listens to whatever plays. ``master`` is the microphone behind it, "" where that is
    not said. ``is_default``: it is what who asks for no device gets.
    """

    name: str
    description: str
    master: str = ""
    is_default: bool = False
    sink: str = ""
    sink_description: str = ""

    @property
    def microphone(self) -> str:
        """A regular expression that finds it by either of its names."""
        return _match_either(self.name, self.description)

    @property
    def speaker(self) -> str:
        """One that finds its sink; "" where it has none."""
        return _match_either(self.sink, self.sink_description) if self.sink else ""


async def find_cancelled_source() -> CancelledSource | None:
    """Ask the user's sound server; within a second, and None where there is none to be asked, or it has no such source.

    It is asked by ``pactl``, from version 16 on, or else by ``pw-dump``.
    """
    with trio.move_on_after(ASKING_LIMIT):
        answers: dict[str, Any] = {}
        async with trio.open_nursery() as nursery:
            for subject in ("info", "list sources", "list sinks"):
                nursery.start_soon(_ask, answers, subject, ["pactl", "--format=json", *subject.split()])
        if all(answers.values()):
            return read_pactl(answers["info"], answers["list sources"], answers["list sinks"])
        await _ask(answers, "dump", ["pw-dump"])
        return read_pw_dump(answers["dump"]) if answers["dump"] else None
    return None


async def _ask(answers: dict[str, Any], subject: str, command: list[str]) -> None:
    """Put what the program prints among the answers, as it is structured; None where it fails."""
    answers[subject] = None
    try:
        done = await trio.run_process(
            command,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=os.environ | {"LC_ALL": "C"},  # elsewhere pactl writes commas into its numbers, and it is no JSON
            deliver_cancel=_kill,
        )
        answers[subject] = json.loads(done.stdout)
    except (OSError, ValueError):  # it is not there; or it has failed, or does not know the format
        return


async def _kill(process: trio.Process) -> None:
    process.kill()


def read_pactl(
    info: Mapping[str, Any], sources: Iterable[Mapping[str, Any]], sinks: Iterable[Mapping[str, Any]]
) -> CancelledSource | None:
    """Find the source in what ``pactl`` says; of several the default one, or else the first."""
    found = []
    cancelling = [sink for sink in sinks if _is_cancelled(sink)]
    for source in sources:
        if source.get("monitor_source") or not _is_cancelled(source):
            continue
        sink = next((sink for sink in cancelling if _find_origin(sink) == _find_origin(source)), {})
        found.append(
            CancelledSource(
                str(source["name"]),
                str(source.get("description", "")),
                str(source.get("properties", {}).get("device.master_device", "")),
                source["name"] == info.get("default_source_name"),
                str(sink.get("name", "")),
                str(sink.get("description", "")),
            )
        )
    return max(found, key=lambda source: source.is_default, default=None)


def _find_origin(device: Mapping[str, Any]) -> tuple[object, object]:
    """What tells the devices of one canceller from those of another: PulseAudio's way, and PipeWire's."""
    return device.get("owner_module"), device.get("properties", {}).get("node.link-group")


def _is_cancelled(device: Mapping[str, Any]) -> bool:
    return any(CANCELLED.search(str(device.get(key, ""))) for key in ("name", "driver"))


def read_pw_dump(things: Iterable[Mapping[str, Any]]) -> CancelledSource | None:
    """Find the source among PipeWire's objects; of several the default one, or else the first."""
    nodes: dict[str, list[Mapping[str, Any]]] = {"Audio/Source": [], "Audio/Sink": []}
    default = ""
    for thing in things:
        for entry in thing.get("metadata", ()):
            if entry.get("key") == "default.audio.source" and isinstance(entry.get("value"), dict):
                default = str(entry["value"].get("name", ""))
        properties = (thing.get("info") or {}).get("props") or {}
        kind = str(properties.get("media.class", "")).removesuffix("/Virtual")
        if kind in nodes and CANCELLED.search(str(properties.get("node.name", ""))):
            nodes[kind].append(properties)
    found = []
    for source in nodes["Audio/Source"]:
        group = source.get("node.link-group", "")
        sink = next((sink for sink in nodes["Audio/Sink"] if sink.get("node.link-group", "") == group), {})
        found.append(
            CancelledSource(
                str(source["node.name"]),
                str(source.get("node.description", "")),
                "",
                source["node.name"] == default,
                str(sink.get("node.name", "")),
                str(sink.get("node.description", "")),
            )
        )
    return max(found, key=lambda source: source.is_default, default=None)


def _match_either(name: str, description: str) -> str:
    return "|".join(re.escape(text) for text in dict.fromkeys((name, description)) if text)
