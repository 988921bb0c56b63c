"""Damage to bytes."""

from __future__ import annotations

import struct
from random import Random

_WORDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """`data` with one damage."""
    if not data:
        return random.randbytes(8)
    return random.choice((_flip, _flip, _set, _word, _drop, _repeat, _insert, _cut, _swap))(random, data)


def _flip(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _set(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))]) + data[at + 1 :]


def _word(random: Random, data: bytes) -> bytes:
    size, code = random.choice(((2, "H"), (4, "I"), (8, "Q")))
    at = random.randrange(len(data))
    word = struct.pack(random.choice("<>") + code, random.choice(_WORDS) % (1 << 8 * size))
    return data[:at] + word + data[at + size :]


def _drop(random: Random, data: bytes) -> bytes:
    at, length = _span(random, data)
    return data[:at] + data[at + length :]


def _repeat(random: Random, data: bytes) -> bytes:
    at, length = _span(random, data)
    return data[: at + length] + data[at : at + length] * random.choice((1, 1, 3)) + data[at + length :]


def _insert(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + random.randbytes(random.choice((1, 2, 4, 16))) + data[at:]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data))]


def _swap(random: Random, data: bytes) -> bytes:
    at, length = _span(random, data)
    to = random.randrange(len(data))
    return data[:to] + data[at : at + length] + data[to + length :]


def _span(random: Random, data: bytes) -> tuple[int, int]:
    return random.randrange(len(data)), random.choice((1, 1, 2, 4, 8, 32, 256))
