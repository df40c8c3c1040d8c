"""The folder of the official command line, as it writes it itself: we read it, and it pushes what we have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from convaid.matching.folder import export_tools, load_folder
from convaid.matching.matching import find_findings

from ..matching.workspace import open_bench
from .test_workspace import CommandLine


@pytest.mark.usefixtures("command_line")
async def test_what_the_command_line_pulls_fits_after_a_push(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        shell = CommandLine(bench.simulator, tmp_path)
        await shell.run("tools", "pull", "--yes")
        await shell.run("agents", "pull", "--yes")
        view = load_folder(tmp_path)
        assert {tool.id for tool in view.tools} == {*bench.record.ids.values()}
        assert find_findings(bench.offered, bench.configuration.conversations, view) == []


@pytest.mark.usefixtures("command_line")
async def test_the_command_line_pushes_what_is_exported(tmp_path: Path) -> None:
    async with open_bench(tmp_path, is_pushed=False) as bench:
        shell = CommandLine(bench.simulator, tmp_path)
        export_tools(tmp_path, bench.offered, {})
        await shell.run("tools", "push")
        kinds = [finding.kind for finding in await bench.match()]
        assert kinds == ["not_attached", "not_attached", "not_attached", "client_events"]
        created = {tool.id for tool in await bench.workspace.list_tools()}
        assert all("is up to date" in line for line in export_tools(tmp_path, bench.offered, {}))
        await shell.run("tools", "push")
        assert {tool.id for tool in await bench.workspace.list_tools()} == created
