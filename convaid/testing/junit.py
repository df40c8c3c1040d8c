"""The report that build servers read: JUnit's XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from convaid.config.secrets import mask_text
from convaid.testing.running import ScenarioReport

__all__ = ["make_junit"]

# XML has no way to write them; what a tool returns may have any.
UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def make_junit(reports: Sequence[ScenarioReport], began: datetime, host: str) -> ElementTree[Element]:
    """Return the report: one suite, a case for each scenario; one that could not be read is an error."""
    counts = {
        "tests": str(len(reports)),
        "failures": str(sum(report.is_readable and not report.passed for report in reports)),
        "errors": str(sum(not report.is_readable and not report.passed for report in reports)),
        "skipped": str(sum(bool(report.skipped) for report in reports)),
        "time": f"{sum(report.seconds for report in reports):.3f}",
    }
    root = Element("testsuites", {"name": "convaid", **counts})
    when = began.isoformat(timespec="seconds")
    suite = SubElement(root, "testsuite", {"name": "scenarios", **counts, "timestamp": when, "hostname": host})
    for report in reports:
        folder, _, file = report.name.rpartition("/")
        attributes = {"classname": folder.strip("/").replace("/", ".") or "scenarios", "name": file}
        case = SubElement(suite, "testcase", {**attributes, "time": f"{report.seconds:.3f}"})
        if report.skipped:
            SubElement(case, "skipped", message=clean(report.skipped))
        if failure := report.failure:
            kind = "failure" if report.is_readable else "error"
            parts = (
                str(failure),
                failure.expected and f"expected: {failure.expected}",
                failure.got and f"got: {failure.got}",
            )
            words = clean("\n".join(filter(None, parts)))
            SubElement(case, kind, type="scenario", message=clean(str(failure))).text = words
        if report.transcript:
            SubElement(case, "system-out").text = clean("\n".join(report.transcript))
    indent(root)
    return ElementTree(root)


def clean(text: str) -> str:
    """Return the text without what XML cannot hold, secrets masked."""
    return UNSPEAKABLE.sub("\N{REPLACEMENT CHARACTER}", mask_text(text))
