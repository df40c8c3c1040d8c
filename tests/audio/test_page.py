"""docs/audio.md has figures; `python -m tests.audio.test_page` measures them anew and writes its table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from convaid.audio import FORMATS

from .figures import DEVICE_RATES, WIRE_RATES, Figures, measure, measure_ulaw

PAGE = Path(__file__).parents[2] / "docs" / "audio.md"
TABLE = re.compile(r"(<!-- figures: begin -->\n).*?(<!-- figures: end -->)", re.DOTALL)
HEAD = """\
| Device | Microphone: noise | aliases, images | delay | Speaker: noise | aliases, images | delay |
|---|---|---|---|---|---|---|
"""
ULAW_LEVELS = (-6.0, -20.0, -40.0)  # dBFS


def measure_row(rate: int) -> tuple[float, ...]:
    """The worst of all formats of the wire: noise, aliases and delay of a microphone, and of a speaker."""
    return (
        *find_worst(lambda wire: measure(rate, wire), rate),
        *find_worst(lambda wire: measure(wire, rate), rate),
    )


def find_worst(measure_one: Callable[[int], Figures], rate: int) -> tuple[float, float, float]:
    figures = [measure_one(wire) for wire in WIRE_RATES if wire != rate]
    return (
        min(each.noise for each in figures),
        min(each.rejection for each in figures),
        max(each.delay for each in figures) * 1000,
    )


def write_row(rate: int) -> str:
    cells = [
        f"{value:.1f} ms" if number % 3 == 2 else f"-{value:.0f} dB" for number, value in enumerate(measure_row(rate))
    ]
    return f"| {rate} Hz | {' | '.join(cells)} |"


def write_ulaw() -> str:
    noise = " | ".join(f"-{measure_ulaw(level):.0f} dB" for level in ULAW_LEVELS)
    levels = " | ".join(f"{level:.0f} dBFS" for level in ULAW_LEVELS)
    return f"| `ulaw_8000`, a tone at | {levels} |\n|---|---|---|---|\n| noise | {noise} |\n"


def write_table(page: str) -> str:
    table = HEAD + "".join(f"{write_row(rate)}\n" for rate in DEVICE_RATES) + f"\n{write_ulaw()}"
    return TABLE.sub(lambda found: found[1] + table + found[2], page)


def read_numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", line)]


def find_line(beginning: str) -> str:
    found = TABLE.search(PAGE.read_text())
    assert found is not None
    (line,) = [line for line in found[0].splitlines() if line.startswith(beginning)]
    return line


@pytest.mark.parametrize("rate", DEVICE_RATES)
def test_the_figures_of_the_page_are_true(rate: int) -> None:
    told = read_numbers(find_line(f"| {rate} Hz"))
    for number, (figure, measured) in enumerate(zip(told[1:], measure_row(rate), strict=True)):
        tolerance = 0.15 if number % 3 == 2 else 1.5
        assert abs(figure) == pytest.approx(measured, abs=tolerance), "run: python -m tests.audio.test_page"


def test_the_figures_of_the_telephone_are_true() -> None:
    measured = [-measure_ulaw(level) for level in ULAW_LEVELS]
    assert read_numbers(find_line("| noise")) == pytest.approx(measured, abs=1), "run: python -m tests.audio.test_page"


def test_the_page_knows_all_formats_and_rates() -> None:
    page = PAGE.read_text()
    assert all(f"`{audio_format.name}`" in page for audio_format in FORMATS)
    assert len(TABLE.findall(page)) == 1
    assert page.count(" Hz |") == len(DEVICE_RATES)


if __name__ == "__main__":
    PAGE.write_text(write_table(PAGE.read_text()))
