"""Snappy decompression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.weights.snappy import decompress
from mdcompiler.weights.varint import Truncated
from tests.weights.tf1_writer import snappy_compress

_TEXT = b"abcdabcdabcdabcdabcdabcdabcd" * 4 + b"tail"


@given(st.lists(st.sampled_from([b"FeatureExtractor/", b"Conv_1/", b"x", bytes(9), b"\xff\x01"]), max_size=60))
def test_round_trip(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert decompress(snappy_compress(data)) == data


def test_overlapping_copies_repeat() -> None:
    packed = snappy_compress(_TEXT)
    assert len(packed) < len(_TEXT) // 4
    assert decompress(packed) == _TEXT


def test_known_bytes() -> None:
    """From the format's description: a literal, then a copy of 7 bytes 4 back; a copy with a 4-byte offset."""
    assert decompress(bytes([11, 3 << 2]) + b"abcd" + bytes([(7 - 4) << 2 | 1, 4])) == b"abcdabcdabc"
    assert decompress(bytes([8, 3 << 2]) + b"abcd" + bytes([3 << 2 | 3, 4, 0, 0, 0])) == b"abcdabcd"


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (bytes([4, 1 << 2]) + b"ab", "less than it claims"),
        (bytes([1, 1 << 2]) + b"ab", "more than it claims"),
        (bytes([5, 0]) + b"a" + bytes([1, 9]), "from before its start"),
        (bytes([5, 0]) + b"a" + bytes([1, 0]), "from before its start"),
        (bytes([5, 3 << 2]) + b"ab", "wanted at"),
        (bytes([5, 62 << 2, 255]), "wanted at"),
        (b"\xff\xff\xff\xff\x0f", "claims 4294967295 bytes"),
        (b"", "no number"),
    ],
)
def test_damaged_blocks(packed: bytes, reason: str) -> None:
    with pytest.raises(Truncated, match=reason):
        decompress(packed)


@given(st.binary(max_size=200))
def test_garbage_ends_in_truncated_or_bytes(data: bytes) -> None:
    try:
        decompress(data)
    except Truncated:
        return
