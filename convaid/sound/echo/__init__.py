"""Ways to keep the agent from hearing itself, one of which is chosen for each conversation."""

from __future__ import annotations

from convaid.sound.echo.choosing import EchoChoice, choose_mode
from convaid.sound.echo.making import make_stage
from convaid.sound.echo.stage import EchoMode, EchoStage

__all__ = ["EchoChoice", "EchoMode", "EchoStage", "choose_mode", "make_stage"]
