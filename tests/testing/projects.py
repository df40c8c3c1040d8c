"""Projects of plugin authors, with tests of their own: pytest runs them in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cli.running import LIMIT, find_environment

PLUGIN = '''
from convaid import hookimpl, tool


@tool
def greet(name: str = "you") -> str:
    """Greet somebody.

    Args:
        name: who is to be greeted
    """
    return f"Hello, {name}!"


@hookimpl
def convaid_tools():
    return [greet]
'''

PROJECT = """
[project]
name = "convaid-greeter"
version = "1.0"

[project.entry-points.convaid]
greeter = "greeter"
"""


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_plugin(folder: Path, **files: str) -> None:
    """Write the project of the plugin "greeter", and install it in the same folder, as pip would."""
    package = "convaid_greeter-1.0.dist-info"
    write_files(
        folder,
        {
            "pyproject.toml": PROJECT,
            "greeter.py": PLUGIN,
            f"{package}/METADATA": "Metadata-Version: 2.1\nName: convaid-greeter\nVersion: 1.0\n",
            f"{package}/entry_points.txt": "[convaid]\ngreeter = greeter\n",
            **files,
        },
    )


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the project's tests; every warning is an error."""
    environment = find_environment()
    path = [str(folder), environment.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=LIMIT,
        env=environment | {"PYTHONPATH": ":".join(filter(None, path))},
        check=False,
    )
