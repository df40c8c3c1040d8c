from __future__ import annotations

import hashlib
import sys
import warnings

import numpy as np
import pytest

from convaid.audio import AudioFormat, Converter
from convaid.audio.arithmetic import decode_ulaw, encode_ulaw

ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(65536, dtype=np.uint16).view(np.int16)


def test_both_tables_are_those_of_g711_to_the_bit() -> None:
    """The digests were taken from audioop, which is the ITU's reference implementation."""
    decoded, encoded = decode_ulaw(ALL_CODES).astype("<i2").tobytes(), encode_ulaw(ALL_SAMPLES)
    assert hashlib.sha256(decoded).hexdigest() == "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827"
    assert hashlib.sha256(encoded).hexdigest() == "617fa4850d68d3906597e949f7625fb2fc46db479e29707f33159b3d131721cb"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="audioop left the standard library; the digests stand for it")
def test_both_tables_are_those_of_audioop() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop
    assert audioop.ulaw2lin(ALL_CODES, 2) == decode_ulaw(ALL_CODES).astype("<i2").tobytes()
    assert audioop.lin2ulaw(ALL_SAMPLES.astype("<i2").tobytes(), 2) == encode_ulaw(ALL_SAMPLES)


def test_known_values() -> None:
    known = {0x00: -32124, 0x7F: 0, 0x80: 32124, 0xFF: 0, 0x01: -31100, 0xFE: 8}
    assert decode_ulaw(bytes(known)).tolist() == list(known.values())


def test_each_code_survives_the_way_there_and_back_except_negative_zero() -> None:
    assert encode_ulaw(decode_ulaw(ALL_CODES)) == ALL_CODES.replace(b"\x7f", b"\xff")


def test_through_a_converter() -> None:
    ulaw, pcm = AudioFormat.parse("ulaw_8000"), AudioFormat.parse("pcm_8000")
    assert Converter(ulaw, pcm).convert(b"\xff\x80") == (0).to_bytes(2, "little") + (32124).to_bytes(2, "little")
    assert Converter(pcm, ulaw).convert(bytes(2) + (32124).to_bytes(2, "little")) == b"\xff\x80"
