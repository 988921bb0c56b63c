"""The byte-level grammar shared by SSTables, snappy and protocol buffers: varints and bounded slices."""

from __future__ import annotations

from collections.abc import Iterator


class Truncated(ValueError):  # noqa: N818 - it says what the data is
    """Bytes end early or contradict themselves. Turned into a WeightsError where the file's name is known."""


def take(data: bytes, position: int, size: int) -> bytes:
    """`size` bytes from `position`. Raises Truncated when `data` ends before."""
    if position < 0 or size < 0 or position + size > len(data):
        raise Truncated(f"{size} bytes wanted at {position} of {len(data)}")
    return data[position : position + size]


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned base-128 number at `position` (at most 64 bits) and the position after it."""
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), position + index + 1
    raise Truncated(f"no number at {position} of {len(data)}")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protocol-buffer message: an int for numbers, bytes for the rest."""
    position = 0
    while position < len(message):
        tag, position = varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = varint(message, position)
            yield number, value
        elif wire == 2:
            size, position = varint(message, position)
            yield number, take(message, position, size)
            position += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, int.from_bytes(take(message, position, size), "little")
            position += size
        else:
            raise Truncated(f"wire type {wire} of field {number}")
