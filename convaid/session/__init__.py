"""The tasks of one connection (floor 3). `Session` is told what to call for a tool and never imports a plugin."""

from convaid.session.session import Session, Tools

__all__ = ["Session", "Tools"]
