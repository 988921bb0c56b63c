"""Snappy decompression, for the blocks of a TensorFlow checkpoint's index (tens of kilobytes).

Format: google/snappy, format_description.txt. The content's length as a varint, then elements whose low two
bits say what they are: 0 literal bytes, 1 to 3 a copy of bytes already written.
"""

from __future__ import annotations

from mdcompiler.weights.varint import Truncated, take, varint

MAX_BYTES = 1 << 26


def decompress(data: bytes) -> bytes:
    """The content of a raw snappy block. Raises Truncated when it is damaged or larger than 64 MiB."""
    length, position = varint(data, 0)
    if length > MAX_BYTES:
        raise Truncated(f"a compressed block claims {length} bytes")
    output = bytearray()
    while position < len(data):
        position = _element(data, position, output)
        if len(output) > length:
            raise Truncated("a compressed block holds more than it claims")
    if len(output) != length:
        raise Truncated("a compressed block holds less than it claims")
    return bytes(output)


def _element(data: bytes, position: int, output: bytearray) -> int:
    tag = data[position]
    kind, high = tag & 3, tag >> 2
    position += 1
    if kind == 0:
        return _literal(data, position, high, output)
    if kind == 1:
        low = take(data, position, 1)[0]
        _copy(output, ((tag >> 5) << 8) | low, ((tag >> 2) & 7) + 4)
        return position + 1
    width = 2 if kind == 2 else 4
    _copy(output, int.from_bytes(take(data, position, width), "little"), high + 1)
    return position + width


def _literal(data: bytes, position: int, high: int, output: bytearray) -> int:
    # 60 to 63: the length follows in 1 to 4 bytes
    width = max(0, high - 59)
    size = int.from_bytes(take(data, position, width), "little") if width else high
    output += take(data, position + width, size + 1)
    return position + width + size + 1


def _copy(output: bytearray, offset: int, size: int) -> None:
    if not 0 < offset <= len(output):
        raise Truncated("a compressed block copies from before its start")
    start = len(output) - offset
    # a copy may overlap what it writes: the period repeats
    period = bytes(output[start : start + size])
    output += (period * (size // len(period) + 1))[:size]
