"""WAV files: any PCM WAV in as mono 16 bits, mono 16 bits out with a header that is always right.

The standard library's ``wave`` refuses the extensible header (what most programs write for 24 bits) before Python 3.12,
and writes pauses out in full.
"""

from __future__ import annotations

import struct
from os import SEEK_CUR
from typing import BinaryIO

__all__ = ["WavReader", "WavWriter"]

HEADER_SIZE = 44
LARGEST_FORMAT = 40  # bytes of the extensible header
PCM, EXTENSIBLE = 1, 0xFFFE
RATES = range(1_000, 768_001)  # Hz: outside of it the header is rather garbage


class WavReader:
    """Reads a PCM WAV, mono or not, of 8 to 32 bits, as mono s16le at its own ``rate``. The caller closes the file.

    ValueError says why a file cannot be read, `ConvaidError` which package that takes. A file that is shorter than its
    header claims (a recording that was killed, a WAV that came through a pipe) ends where it ends.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            raise ValueError("it is not a WAV file")
        self.rate = 0
        name, size = self._read_chunk_header()
        while name != b"data":
            if name == b"fmt ":
                self._read_format(content := file.read(min(size, LARGEST_FORMAT)))
                size -= len(content)
            file.seek(size + size % 2, SEEK_CUR)  # chunks are padded to even sizes
            name, size = self._read_chunk_header()
        if not self.rate:
            raise ValueError("its WAV header does not say the format")
        self._left = size
        self._mix_down = None
        if (self._width, self._channels) != (2, 1):
            from convaid.audio.arithmetic import mix_down  # brings numpy

            self._mix_down = mix_down

    def read(self, frame_count: int) -> bytes:
        """At most ``frame_count`` samples; fewer, or none, at the end."""
        frame_size = self._width * self._channels
        frames = self._file.read(min(frame_count * frame_size, self._left))
        self._left -= len(frames)
        frames = frames[: len(frames) - len(frames) % frame_size]
        return self._mix_down(frames, self._width, self._channels) if self._mix_down else frames

    def _read_chunk_header(self) -> tuple[bytes, int]:
        header = self._file.read(8)
        if len(header) < 8:
            raise ValueError("it is a WAV file without samples")
        name, size = struct.unpack("<4sI", header)
        return name, size

    def _read_format(self, content: bytes) -> None:
        if len(content) < 16:
            raise ValueError("its WAV header is too short")
        encoding, channels, rate, _, frame_size, bits = struct.unpack_from("<HHIIHH", content)
        if encoding == EXTENSIBLE and len(content) >= 26:
            (encoding,) = struct.unpack_from("<H", content, 24)  # the first field of the sub-format's GUID
        if encoding != PCM:
            raise ValueError(f"it holds no PCM but WAV encoding {encoding}: convert it, as with sox IN -e signed OUT")
        self._channels, self._width = channels, -(-bits // 8)
        if not 1 <= self._width <= 4 or not channels or frame_size != self._width * channels or rate not in RATES:
            raise ValueError(f"its WAV header is odd: {bits} bits, {channels} channels, {rate} Hz")
        self.rate = rate


class WavWriter:
    """Writes mono s16le at ``rate`` to an unbuffered file, which the caller closes; OSError where that fails.

    After every call the header tells what is there, so that a killed program leaves a good file.
    """

    LARGEST = 2**32 - HEADER_SIZE  # bytes of samples that a header can tell; what comes after is there but not told

    def __init__(self, file: BinaryIO, rate: int) -> None:
        self._file = file
        self._rate = rate
        self._size = 0
        self.write(b"")

    def write(self, pcm: bytes, silence: int = 0) -> None:
        """Appends samples, then ``silence`` bytes of silence: a hole in the file, which takes no room on the disk."""
        self._file.seek(HEADER_SIZE + self._size)
        self._file.write(pcm)
        self._size += len(pcm) + silence
        if silence:
            self._file.truncate(HEADER_SIZE + self._size)
        told = min(self._size, self.LARGEST)
        self._file.seek(0)
        self._file.write(
            struct.pack("<4sI4s", b"RIFF", told + HEADER_SIZE - 8, b"WAVE")
            + struct.pack("<4sIHHIIHH", b"fmt ", 16, PCM, 1, self._rate, self._rate * 2, 2, 16)
            + struct.pack("<4sI", b"data", told)
        )
