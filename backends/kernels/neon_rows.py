"""Rows of bytes on NEON: which pixels a tile reads under its taps, and how many at a time.

Channels are in blocks of four, so a pixel of a block is one word; four, two or one of them are read together, and
never one beyond those that are wanted: what is left at the end is read with some of those before it once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mdcompiler.backends.kernels.geometry import Geometry

_PIECES = (4, 2, 1)


def pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The words [start, stop) as (first, how many); the last may overlap the one before it."""
    count = next(size for size in _PIECES if size <= stop - start)
    while start < stop:
        yield min(start, stop - count), count
        start += count


def column_of(geometry: Geometry, pixel: int, kw: int) -> int:
    """Column of the picture under tap `kw` of a tile's pixel, counted from the tile's first tap."""
    return pixel * geometry.stride[1] + kw * geometry.dilation[1]


def columns_of(geometry: Geometry, taps: Sequence[tuple[int, list[int]]]) -> list[int]:
    """All columns under the taps of one kernel row, in order."""
    return sorted({column_of(geometry, pixel, kw) for kw, pixels in taps for pixel in pixels})
