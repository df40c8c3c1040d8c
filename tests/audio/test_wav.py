from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest

from convaid.audio import WavReader, WavWriter, make_tone


def make_wav(samples: bytes, *, channels: int = 1, rate: int = 16000, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", ""))
        writer.writeframes(samples)
    return file.getvalue()


def read_all(wav: bytes) -> bytes:
    return WavReader(io.BytesIO(wav)).read(10**6)


def test_mono_of_16_bits_comes_as_it_is_in_pieces_to_the_end() -> None:
    tone = make_tone(440, 0.1, 22050)
    reader = WavReader(io.BytesIO(make_wav(tone, rate=22050)))
    assert reader.rate == 22050
    assert reader.read(1000) + reader.read(1000) + reader.read(1000) == tone
    assert reader.read(1000) == b""


def test_channels_are_mixed_down() -> None:
    frames = struct.pack("<6h", 1000, 3000, -32768, -32768, 32767, -32767)
    assert struct.unpack("<3h", read_all(make_wav(frames, channels=2))) == (2000, -32768, 0)


@pytest.mark.parametrize("width", [1, 3, 4])
def test_every_width_gives_16_bits(width: int) -> None:
    levels = np.array([0.0, 0.5, -0.5, -1.0, 0.25])
    if width == 1:
        samples = (levels * 128 + 128).astype(np.uint8).tobytes()
    else:
        wide = (levels * 2**31).astype("<i4")
        samples = wide.view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
    assert np.frombuffer(read_all(make_wav(samples, width=width)), "<i2").tolist() == [0, 16384, -16384, -32768, 8192]


def test_extensible_header_and_unknown_chunks() -> None:
    """As sox and ffmpeg write 24 bits, here with a chunk of an odd size before the samples."""
    guid = b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    extensible = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 48000, 144000, 3, 24, 22, 24, 4) + guid
    samples = b"\x00\x00\x40"
    body = struct.pack("<4sI", b"fmt ", 40) + extensible + struct.pack("<4sI", b"LIST", 3) + b"abc\0"
    wav = b"RIFF\0\0\0\0WAVE" + body + struct.pack("<4sI", b"data", 3) + samples
    assert WavReader(io.BytesIO(wav)).rate == 48000
    assert read_all(wav) == struct.pack("<h", 16384)


def test_a_length_that_a_pipe_made_up_is_not_believed() -> None:
    """`espeak-ng --stdout` and the like do not know the length when they write the header."""
    tone = make_tone(440, 0.1, 22050)
    wav = bytearray(make_wav(tone, rate=22050))
    wav[4:8] = wav[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert read_all(bytes(wav)) == tone
    assert read_all(bytes(wav[:-1])) == tone[:-2]


@pytest.mark.parametrize(
    ("wav", "reason"),
    [
        (b"", "not a WAV"),
        (b"OggS" + bytes(100), "not a WAV"),
        (make_wav(b"")[:20], "too short|without samples"),
        (make_wav(b"")[:36], "without samples"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "does not say the format"),
        (make_wav(b"")[:20] + b"\x03" + make_wav(b"")[21:], "encoding 3"),
        (make_wav(b"")[:22] + b"\x00" + make_wav(b"")[23:], "0 channels"),
        (make_wav(b"")[:24] + bytes(4) + make_wav(b"")[28:], "0 Hz"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\xff", "without samples"),
    ],
)
def test_what_cannot_be_read_is_said(wav: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        WavReader(io.BytesIO(wav))


def test_what_is_written_can_be_read_after_every_call() -> None:
    file = io.BytesIO()
    writer = WavWriter(file, 24000)
    tone = make_tone(440, 0.1, 24000)
    for expected in (tone, tone + bytes(4800) + tone):
        writer.write(tone)
        with wave.open(io.BytesIO(file.getvalue())) as reader:
            assert reader.getparams()[:4] == (1, 2, 24000, len(expected) // 2)
            assert reader.readframes(10**6) == expected
        writer.write(b"", silence=4800)


def test_a_recording_longer_than_a_header_can_tell_goes_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (tmp_path_factory.mktemp("wav") / "long.wav").open("wb", buffering=0) as file:
        writer = WavWriter(file, 48000)
        writer.write(b"", silence=2**32)  # a hole
        writer.write(b"\1\0")
    with wave.open(file.name) as reader:
        assert reader.getnframes() == (2**32 - 44) // 2
