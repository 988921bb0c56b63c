"""Writing vectors of four pixels of 32 channels where a tile may have fewer, or a number that four does not divide."""

from __future__ import annotations

from mdcompiler.backends.hexagon import instructions as hvx
from mdcompiler.backends.hexagon.instructions import LANES, VECTOR_BYTES
from mdcompiler.backends.kernels.tir import Expr, Function, Memory

VECTOR_PIXELS = VECTOR_BYTES // LANES
_DOUBLE_WORD = 8


def vector_starts(pixels: int) -> list[int]:
    """First pixel of each vector of a tile; the last one overlaps the one before it rather than the next tile."""
    starts = list(range(0, pixels - VECTOR_PIXELS + 1, VECTOR_PIXELS)) or [0]
    if pixels > VECTOR_PIXELS and pixels % VECTOR_PIXELS:
        starts.append(pixels - VECTOR_PIXELS)
    return starts


def store_pixels(f: Function, target: Memory, index: Expr, bytes_: Expr, pixels: int) -> None:
    """Write a vector of four pixels, or of a tile with fewer only those: what follows may be another thread's."""
    if pixels >= VECTOR_PIXELS:
        hvx.store_bytes(target, index, bytes_)
        return
    spill = f.stack(VECTOR_BYTES, "uint8")
    hvx.store_bytes(spill, 0, bytes_)
    for start in range(0, pixels * LANES, _DOUBLE_WORD):
        target.store(index + start, _DOUBLE_WORD, spill.vector(start, _DOUBLE_WORD))
