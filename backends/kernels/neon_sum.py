"""The sum of all pixels of a block of four channels on NEON: bytes into 16 bits, those into 32 before they overflow.

A vector holds four pixels, two of which each half adds to eight sums of 16 bits (uaddw): a quarter of the
instructions of widening every pixel to 32 bits.
"""

from __future__ import annotations

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, Register, splat

_HALF = neon.BYTES // 2
_SUMS = 2
"""Side by side, to hide the latency of an addition."""
_PIXELS = neon.BYTES // neon.LANES
_MOST_STEPS = 128
"""Vectors that a sum of 16 bits takes: two bytes of each meet in a lane, 256 * 255 < 2^16."""
_WORDS = f"uint16x{_HALF}"


def sum_pixels(f: Function, source: Memory, start: Expr, pixels: int) -> Expr:
    """int32x4: the sum of `pixels` times four bytes from `start` on."""
    total = f.register(neon.LANES, "int32")
    total.set(splat(0, neon.LANES, "int32"))
    each = _SUMS * _PIXELS
    steps = pixels // each
    chunks, rest = divmod(steps, _MOST_STEPS)
    with f.loop(0, chunks, "chunk") as chunk:
        _add_chunk(f, total, source, start + chunk * _MOST_STEPS * each * neon.LANES, _MOST_STEPS)
    if rest:
        _add_chunk(f, total, source, start + chunks * _MOST_STEPS * each * neon.LANES, rest)
    with f.loop(steps * each, pixels, "pixel") as pixel:
        own = source.vector(start + pixel * neon.LANES, neon.LANES)
        total.set(total.get() + own.astype(f"int32x{neon.LANES}"))
    return total.get()


def _add_chunk(f: Function, total: Register, source: Memory, start: Expr, steps: int) -> None:
    """Add `steps` times as many pixels as all sums take."""
    sums = [f.register(_HALF, "uint16") for _ in range(_SUMS)]
    for register in sums:
        register.set(splat(0, _HALF, "uint16"))
    with f.loop(0, steps, "step") as step:
        for index, register in enumerate(sums):
            vector = source.vector(start + (step * _SUMS + index) * neon.BYTES, neon.BYTES)
            for half in range(2):
                register.set(register.get() + _half(vector, half, _HALF).astype(_WORDS))
    for register in sums:
        for half in range(2):
            total.set(total.get() + _half(register.get(), half, neon.LANES).astype(f"int32x{neon.LANES}"))


def _half(vector: Expr, half: int, count: int) -> Expr:
    return tirx.Shuffle([vector], list(range(half * count, (half + 1) * count)))
