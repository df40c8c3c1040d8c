"""Fixtures for tests with strangers; they are plain functions, as a reason to skip gets lost in an async one."""

from __future__ import annotations

import pytest

from .programs import find_cli, find_python_sdk


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-page", action="store_true", help="write what strangers do into docs/strangers.md")


@pytest.fixture
def command_line() -> str:
    """The official command line."""
    return find_cli()


@pytest.fixture
def python_workspace() -> str:
    """The program that speaks for the official Python SDK's tools and agents."""
    return find_python_sdk("python_workspace.py")
