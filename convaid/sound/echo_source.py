"""A microphone without echo, made by the sound server: the lines in its configuration that make it (floor 3).

PipeWire takes what the speaker really plays, of all programs, out of what the microphone hears. PulseAudio takes out
what is played into a sink of its own, so that this is the speaker then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from attrs import frozen

from convaid.errors import ConvaidError

__all__ = ["SINK", "SOURCE", "EchoSource", "EchoSourceError", "ServerKind", "find_place"]

ServerKind: TypeAlias = Literal["pipewire", "pulseaudio"]

SOURCE, SINK = "convaid-echo-cancel-source", "convaid-echo-cancel-sink"
MARK = "# Written by `convaid audio setup-echo-cancel`, which removes it again with --remove.\n"

# One channel: with two, much more of the echo stays in (0.3.65). Passive: the microphone rests while nobody records.
# `nofail`: a server without this module begins all the same.
PIPEWIRE = f"""{MARK}
context.modules = [
  {{ name = libpipewire-module-echo-cancel
    args = {{
      library.name = aec/libspa-aec-webrtc
      monitor.mode = true
      audio.channels = 1
      audio.position = [ MONO ]
      capture.props = {{ node.name = "convaid-echo-cancel-capture" node.passive = true }}
      source.props = {{ node.name = "{SOURCE}" node.description = "Microphone without echo" }}
      sink.props = {{ node.name = "{SINK}" }}
    }}
    flags = [ nofail ]
  }}
]
"""

# Without its gain control, which turns the microphone itself up and down.
PULSE_LINES = f"""\
load-module module-echo-cancel source_name={SOURCE} sink_name={SINK} aec_method=webrtc \
aec_args="analog_gain_control=0 digital_gain_control=0" \
source_properties='device.description="Microphone without echo"' \
sink_properties='device.description="Speaker for the microphone without echo"'
"""
PULSE = f"""{MARK}
.include /etc/pulse/default.pa
.nofail
{PULSE_LINES}"""


class EchoSourceError(ConvaidError):
    """The lines cannot be written, or removed; the remedy is in the message."""


@frozen
class EchoSource:
    """Where the lines stand, what they are, and what makes the server read them."""

    kind: ServerKind
    path: Path
    text: str
    restart: str
    rival: Path | None = None
    """A file that the server would read instead of ours."""

    @property
    def is_there(self) -> bool:
        return self._read() == self.text

    def write(self) -> bool:
        """Write the file, unless it is there as it is to be; returns whether it was written.

        Raises `EchoSourceError` where somebody else's would be lost, or where it cannot be written.
        """
        if self.rival is not None and self.rival.exists():
            words = f"{self.rival} is what PulseAudio reads, rather than {self.path}"
            raise EchoSourceError(f"{words}; add this to it yourself:\n{PULSE_LINES}")
        before = self._read()
        if before == self.text:
            return False
        if before is not None and not before.startswith(MARK):
            lines = PULSE_LINES if self.kind == "pulseaudio" else self.text
            raise EchoSourceError(f"{self.path} is there, and not ours; add this to it yourself:\n{lines}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self.text)
        except OSError as fault:
            raise EchoSourceError(f"{self.path} cannot be written: {fault.strerror}") from None
        return True

    def remove(self) -> bool:
        """Remove the file; returns whether there was one. Raises `EchoSourceError` where it is not ours."""
        before = self._read()
        if before is None:
            return False
        if not before.startswith(MARK):
            raise EchoSourceError(f"{self.path} is not ours; remove what is in it yourself")
        try:
            self.path.unlink()
        except OSError as fault:
            raise EchoSourceError(f"{self.path} cannot be removed: {fault.strerror}") from None
        return True

    def _read(self) -> str | None:
        try:
            return self.path.read_text(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise EchoSourceError(f"{self.path} cannot be read: {fault.strerror}") from None


def find_place(kind: ServerKind, environ: Mapping[str, str] = os.environ) -> EchoSource:
    """Where the lines for a server of this kind stand, in the user's own configuration."""
    home = Path(environ.get("HOME") or Path.home())
    if kind == "pipewire":
        folder = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pipewire"
        restart = "systemctl --user restart pipewire pipewire-pulse"
        return EchoSource(kind, folder / "pipewire.conf.d" / "60-convaid-echo-cancel.conf", PIPEWIRE, restart)
    # It knows no folder of the user's for single lines, nor $XDG_CONFIG_HOME (16.1).
    return EchoSource(
        kind,
        home / ".config" / "pulse" / "default.pa",
        PULSE,
        "systemctl --user restart pulseaudio",
        rival=home / ".pulse" / "default.pa",
    )
