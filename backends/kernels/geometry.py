"""Where a sliding window meets its picture: sizes, borders, and the loops over tiles and taps.

Shared by all templates that slide a window (convolution and pooling, float and integer). No padding is
ever materialised: a tile at the left or right border is written out of the taps that fall inside the
picture, kernel rows outside are skipped by the bounds of their loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function

Axis = Literal[0, 1]


@dataclass(frozen=True)
class Geometry:
    """A window over a picture; pairs are (rows, columns), in elements.

    pad: implicit zeros before the first row and column. Those after the last follow from the sizes.
    source_rows, target_rows: rows that a channel's plane has in memory when only a strip of it is kept; 0: all.
    Pointers then are to where row 0 would be.
    """

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    source_rows: int = 0
    target_rows: int = 0

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 window of stride 1 over whole pictures: rows do not matter."""
        whole = not (self.source_rows or self.target_rows)
        return whole and self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0)

    @property
    def source_plane(self) -> int:
        """Pixels from one channel block of the input to the next."""
        return (self.source_rows or self.size[0]) * self.size[1]

    @property
    def target_plane(self) -> int:
        """Pixels from one channel block of the output to the next."""
        return (self.target_rows or self.out[0]) * self.out[1]

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def out_pixels(self) -> int:
        return self.out[0] * self.out[1]

    def flat(self) -> Geometry:
        """A pointwise window over one row of all pixels."""
        return Geometry((1, self.pixels), self.kernel, self.stride, self.pad, (1, self.out_pixels))

    def source(self, axis: Axis, index: Expr, tap: Expr) -> Expr:
        """Row or column of the picture under tap `tap` of output `index`."""
        return index * self.stride[axis] + tap * self.dilation[axis] - self.pad[axis]

    def exists(self, axis: Axis, index: int, tap: int) -> bool:
        """Whether that row or column is inside the picture."""
        return bool(0 <= self.source(axis, index, tap) < self.size[axis])

    def inside(self, start: int, pixels: int) -> bool:
        """Whether no tap of the output columns [start, start + pixels) falls outside the picture."""
        last = start + pixels - 1
        return bool(self.source(1, start, 0) >= 0 and self.source(1, last, self.kernel[1] - 1) < self.size[1])

    def border_classes(self, axis: Axis) -> list[int]:
        """One output index for each different set of taps that exist, in the order of `class_of`."""
        before, after = self._cut(axis)
        if before + after >= self.out[axis]:
            return list(range(self.out[axis]))
        return [*range(before), before, *range(self.out[axis] - after, self.out[axis])]

    def class_of(self, axis: Axis, index: Expr) -> Expr:
        """Which border class output `index` belongs to; works on numbers and on expressions."""
        before, after = self._cut(axis)
        if before + after >= self.out[axis]:
            return index
        beyond = index - (self.out[axis] - after - 1)
        if isinstance(index, int):
            return min(index, before) + max(0, beyond)
        return tirx.min(index, before) + (tirx.max(0, beyond) if after else 0)

    def _cut(self, axis: Axis) -> tuple[int, int]:
        """How many outputs at the start and at the end have taps outside the picture."""
        reach = self.kernel[axis] - 1
        outputs = range(self.out[axis])
        before = sum(self.source(axis, index, 0) < 0 for index in outputs)
        after = sum(self.source(axis, index, reach) >= self.size[axis] for index in outputs)
        return before, after

    def kernel_rows(self, f: Function, row: Expr) -> tuple[Expr, Expr]:
        """First and last + 1 kernel row inside the picture for output row `row`."""
        kernel, dilation = self.kernel[0], self.dilation[0]
        if self._cut(0) == (0, 0):
            return 0, kernel
        top = row * self.stride[0] - self.pad[0]
        start = tirx.max(0, tirx.floordiv(dilation - 1 - top, dilation))
        stop = tirx.min(kernel, tirx.floordiv(self.size[0] - 1 - top, dilation) + 1)
        return f.let("top", start), f.let("stop", stop)


@dataclass(frozen=True)
class Place:
    """One register tile: output row, first output column, how many, and whether all their taps exist."""

    row: Expr
    start: Expr
    pixels: int
    inside: bool


def row_tiles(geometry: Geometry, pixels: int) -> Iterator[tuple[int, int, int, bool]]:
    """One row as runs of equal tiles: first column, number of tiles, pixels of each, all taps inside."""
    full, rest = divmod(geometry.out[1], pixels)
    inner = [i for i in range(full) if geometry.inside(i * pixels, pixels)]
    for i in range(full):
        if i not in inner:
            yield i * pixels, 1, pixels, False
        elif i == inner[0]:
            yield i * pixels, len(inner), pixels, True
    if rest:
        yield full * pixels, 1, rest, geometry.inside(full * pixels, rest)


def rows_of(geometry: Geometry, pixels: int) -> int:
    """How many tasks the tiles of one channel group are: rows, or tiles where rows do not matter."""
    return -(-geometry.out_pixels // pixels) if geometry.is_pointwise else geometry.out[0]


def for_tiles(f: Function, geometry: Geometry, row: Expr, pixels: int, body: Callable[[Place], None]) -> None:
    """Write `body` for all tiles of task `row` (see `rows_of`)."""
    if not geometry.is_pointwise:
        for start, count, width, inside in row_tiles(geometry, pixels):
            with f.loop(0, count, "tile") as index:
                body(Place(row, start + index * width, width, inside))
        return
    full, rest = divmod(geometry.out_pixels, pixels)
    if full:
        with f.when(row < full if rest else True):
            body(Place(0, row * pixels, pixels, True))
    if rest:
        with f.when(row == full if full else True):
            body(Place(0, full * pixels, rest, True))


def columns(geometry: Geometry, place: Place) -> Iterator[tuple[int, list[int]]]:
    """Kernel columns with the pixels of the tile for which they exist; columns without any are left out."""
    for kw in range(geometry.kernel[1]):
        taps = [p for p in range(place.pixels) if place.inside or geometry.exists(1, place.start + p, kw)]
        if taps:
            yield kw, taps
