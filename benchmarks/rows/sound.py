"""Voice through a real sound server: how soon speech is on the wire and at the speaker, and what happens without it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from importlib.util import find_spec
from statistics import median

from neutral_platform import Platform
from running import SDKS, VOICES, Contestant
from scale import Scale
from sound_server import find_missing
from table import Row, format_number
from voice import DEAD, TONE_LIMIT, Found, measure_instrument, measure_voice, open_voice

from rows.bridge import measure_bridge

__all__ = ["measure_sound"]


async def measure_sound(platform: Platform, scale: Scale) -> list[Row]:
    """One contestant at a time, each with a fresh sound server of its own; all of them in each round."""
    if missing := find_missing():
        raise SystemExit(f"not installed: {', '.join(missing)}; apt-get install pulseaudio pulseaudio-utils")
    remarks = {} if find_spec("pyaudio") else {sdk: "no PyAudio" for sdk in VOICES if sdk in SDKS}
    found = {contestant: Found() for contestant in VOICES if contestant not in remarks}
    instrument = Found()
    for number in range(scale.slow_rounds):
        turn = number % len(found)
        for contestant in [*found, *found][turn : turn + len(found)]:
            async with open_voice(contestant, platform) as voice:
                await asyncio.sleep(scale.settling)
                await measure_voice(voice, found[contestant], scale)
        await measure_instrument(instrument, scale)
    to_wire = {contestant: each.to_wire for contestant, each in found.items()}
    to_speaker = {contestant: each.to_speaker for contestant, each in found.items()}
    to_silence = {contestant: each.to_silence for contestant, each in found.items()}
    bare_recorder, bare_player = {Contestant.CONVAID: instrument.to_wire}, {Contestant.CONVAID: instrument.to_speaker}
    return [
        make_latency_row("microphone to wire, ms (p99)", to_wire, remarks),
        make_latency_row("of it: the instrument (a bare parec, read by it), ms (p99)", bare_recorder, {}),
        make_latency_row("wire to speaker, ms (p99)", to_speaker, remarks),
        make_latency_row("of it: the instrument (a bare pacat, written by it), ms (p99)", bare_player, {}),
        make_latency_row("interruption to silence at the speaker, ms (p99)", to_silence, remarks),
        make_cost_row(found, remarks),
        *make_death_rows(found, remarks, scale),
        *await measure_bridge(scale),
    ]


def make_latency_row(
    title: str, figures: Mapping[Contestant, list[list[float]]], remarks: Mapping[Contestant, str]
) -> Row:
    """The median of the rounds' medians; the 99th percentile is of all rounds together, as each has so little."""
    together = {key: [each for block in blocks for each in block] for key, blocks in figures.items()}
    deaf = {key: "nothing comes" for key, values in together.items() if min(values) >= TONE_LIMIT}
    heard = {key: blocks for key, blocks in figures.items() if key not in deaf}
    return Row(
        title,
        {key: [median(block) * 1000 for block in blocks] for key, blocks in heard.items()},
        {key: [get_percentile(together[key]) * 1000] for key in heard},
        {**remarks, **deaf},
    )


def get_percentile(values: list[float]) -> float:
    """The 99th, or the worst of less than a hundred."""
    return sorted(values)[max(0, math.ceil(len(values) * 0.99) - 1)]


def make_cost_row(found: Mapping[Contestant, Found], remarks: Mapping[Contestant, str]) -> Row:
    """CPU of the contestant, and beside it the sound server's."""
    servers = {key: median(each.server_cpu) * 60_000 for key, each in found.items()}
    return Row(
        "a conversation, both ways, CPU ms per minute (+ the sound server's)",
        {key: [value * 60_000 for value in each.cpu] for key, each in found.items()},
        remarks={**remarks, **{key: f"(+ {format_number(value)})" for key, value in servers.items()}},
    )


def make_death_rows(found: Mapping[Contestant, Found], remarks: Mapping[Contestant, str], scale: Scale) -> list[Row]:
    """What was seen of the server's death; a contestant that is not heard again has no figure."""
    late = f"never (in {scale.healing:g} s)"
    ended = {key: "conversation over" for key, each in found.items() if each.endings}
    never_heard = {key: late for key, each in found.items() if not each.heard_again}
    never_speaks = {key: late for key, each in found.items() if not each.speaks_again}
    condition = f"sound server killed, back after {DEAD:g} s"
    return [
        Row(
            f"{condition}: microphone on the wire again after, s",
            {key: each.heard_again for key, each in found.items()},
            remarks={**remarks, **never_heard, **ended},
        ),
        Row(
            f"{condition}: agent heard again after, s",
            {key: each.speaks_again for key, each in found.items()},
            remarks={**remarks, **never_speaks, **ended},
        ),
        Row(
            f"{condition}: longest pause between two chunks of the microphone's, s",
            {key: each.pauses for key, each in found.items()},
            remarks={**remarks, **ended},
        ),
    ]
