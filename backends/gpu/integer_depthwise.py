"""Depthwise convolution on bytes: one filter for each channel.

A thread has one word of channels and a tile of `rows` x `columns` output pixels. Its products are formed in one of
two ways:

* alone: weights come with all bytes but one channel's zero (`integer_pack.pack_window`), and a dot product with such a
  word is that channel's product and its addition in one instruction;
* by quads: four neighbours of a row are turned into words of one channel each, which meet the taps of a kernel row
  all at once (`integer_quads`). It pays where bytes are permuted by an instruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.gpu.function import LANES, GpuFunction, both, div, mod, where
from mdcompiler.backends.gpu.integer_ending import BORDER, PLAIN, VECTOR, WORD, Ending, Finisher
from mdcompiler.backends.gpu.integer_instructions import dot4, signed, transposed
from mdcompiler.backends.gpu.integer_pack import Array, pack_quads, pack_window
from mdcompiler.backends.gpu.integer_quads import Quads, quads_of
from mdcompiler.backends.gpu.traits import Dot4
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.tir import Expr, Memory


@dataclass(frozen=True)
class GpuIntegerWindow:
    """A workload. ending: without a residual."""

    geometry: Geometry
    channels: int
    ending: Ending = PLAIN
    dot: Dot4 = "unpack"

    @property
    def words(self) -> int:
        """Words of channels."""
        return -(-self.channels // LANES)


@dataclass(frozen=True)
class IntegerWindowTile:
    """rows, columns: output pixels of one thread. threads: of one workgroup. by_quads: see above."""

    rows: int
    columns: int
    threads: int
    by_quads: bool = False

    def quads(self, geometry: Geometry) -> Quads:
        """The fours of one row of the tile."""
        return quads_of(geometry.kernel[1], geometry.stride[1], self.columns)

    def weight_vectors(self, geometry: Geometry) -> int:
        """Vectors of weights of one row of the kernel."""
        return len(self.quads(geometry).offsets) if self.by_quads else geometry.kernel[1]

    def count(self, geometry: Geometry) -> tuple[int, int]:
        """Tiles along both axes of the output."""
        return -(-geometry.out[0] // self.rows), -(-geometry.out[1] // self.columns)

    def all(self, work: GpuIntegerWindow) -> int:
        """Tiles of all channels."""
        down, across = self.count(work.geometry)
        return work.words * down * across


def write_window(name: str, work: GpuIntegerWindow, tile: IntegerWindowTile) -> Any:
    """`name(source, weight, constants, numbers, [table,] target)`; weight: as `window_weights` packs it."""
    return (_QuadWriter if tile.by_quads else _Writer)(name, work, tile).write()


def window_weights(weight: Array, geometry: Geometry, tile: IntegerWindowTile) -> Array:
    """[C, kh, kw] int8 values in the order in which a tile's kernel reads them."""
    return pack_quads(weight, tile.quads(geometry).offsets) if tile.by_quads else pack_window(weight)


class _Writer:
    def __init__(self, name: str, work: GpuIntegerWindow, tile: IntegerWindowTile) -> None:
        self.work, self.tile, self.geometry = work, tile, work.geometry
        self.f = GpuFunction(name, (-(-tile.all(work) // tile.threads), 1), tile.threads)
        self.source = self.f.buffer("source", work.words * self.geometry.pixels, WORD)
        self.kernel_row = tile.weight_vectors(self.geometry)
        self.weight = self.f.buffer("weight", work.words * self.geometry.kernel[0] * self.kernel_row, VECTOR)
        self.end = Finisher(self.f, work.ending, work.dot, work.words)
        self.target = self.f.buffer("target", work.words * self.geometry.out_pixels, WORD)

    def write(self) -> Any:
        f, tile, total = self.f, self.tile, self.tile.all(self.work)
        down, across = tile.count(self.geometry)
        self.end.prepare()
        if self.work.ending.table:
            f.barrier()
        index = f.let("tile", f.block_x * tile.threads + f.thread)
        with f.when(True if total % tile.threads == 0 else index < total):
            self.word = f.let("word", div(index, down * across))
            place = f.let("place", mod(index, down * across))
            self.row = f.let("row", div(place, across) * tile.rows)
            self.column = f.let("column", mod(place, across) * tile.columns)
            self.border = f.let("border", self.end.numbers[BORDER])
            self._sum()
            self._store()
        return f.finish()

    def _sum(self) -> None:
        tile, geometry = self.tile, self.geometry
        start = self.end.start(self.word)
        self.sums = self.f.local(tile.rows * tile.columns * LANES, WORD)
        for index in range(tile.rows * tile.columns):
            for channel in range(LANES):
                self.sums[index * LANES + channel] = start[channel]
        self.left = self.f.let("left", geometry.source(1, self.column, 0))
        top = self.f.let("top", geometry.source(0, self.row, 0))
        for line in range((tile.rows - 1) * geometry.stride[0] + geometry.kernel[0]):
            taps = [(row, line - row * geometry.stride[0]) for row in range(tile.rows)]
            taps = [(row, kh) for row, kh in taps if 0 <= kh < geometry.kernel[0]]
            if taps:
                self._line(self.f.let("y", top + line), line, taps)

    def _line(self, y: Expr, line: int, taps: list[tuple[int, int]]) -> None:
        """Add the products of one row of the input. taps: output rows with the kernel row under which it lies."""
        f, tile, geometry = self.f, self.tile, self.geometry
        width = (tile.columns - 1) * geometry.stride[1] + geometry.kernel[1]
        values = f.local(width, WORD)
        row = f.let("line", (self.word * geometry.size[0] + y) * geometry.size[1])
        for column in range(width):
            x = self.left + column
            inside = both(self._row_exists(line, y), self._column_exists(column, x))
            values[column] = where(inside, signed(self.source[row + x]), self.border)
        self.multiply(values, width, taps)

    def multiply(self, values: Memory, width: int, taps: list[tuple[int, int]]) -> None:
        """Add the products of the `width` words of one row of the input."""
        stride, columns = self.geometry.stride[1], self.tile.columns
        for output, kh in taps:
            for kw in range(self.geometry.kernel[1]):
                weight = self.weights(kh, kw)
                for column in range(columns):
                    value = values[column * stride + kw]
                    self.add(output * columns + column, [value] * LANES, weight)

    def weights(self, kh: int, vector: int) -> Memory:
        """One vector of weights of a kernel row."""
        found = self.f.local(LANES, WORD)
        at = (self.word * self.geometry.kernel[0] + kh) * self.kernel_row + vector
        found.store(0, LANES, self.weight[at])
        return found

    def add(self, pixel: int, words: list[Expr], weight: Memory) -> None:
        """Add the products of a word for each channel to the sums of one pixel."""
        for channel, word in enumerate(words):
            at = pixel * LANES + channel
            self.sums[at] = dot4(self.work.dot, self.sums[at], word, weight[channel])

    def _row_exists(self, line: int, y: Expr) -> Expr:
        """Whether row y, `line` below a tile's first, is in the picture; True where it is for all tiles."""
        return self._exists(0, line, y, self.tile.rows)

    def _column_exists(self, column: int, x: Expr) -> Expr:
        return self._exists(1, column, x, self.tile.columns)

    def _exists(self, axis: Any, step: int, at: Expr, each: int) -> Expr:
        geometry = self.geometry
        last = (-(-geometry.out[axis] // each) - 1) * each
        before = step < geometry.pad[axis]
        behind = last * geometry.stride[axis] - geometry.pad[axis] + step >= geometry.size[axis]
        return both(at >= 0 if before else True, at < geometry.size[axis] if behind else True)

    def _store(self) -> None:
        f, tile, geometry = self.f, self.tile, self.geometry
        factors = self.end.load(self.word)
        for row in range(tile.rows):
            for column in range(tile.columns):
                y, x = self.row + row, self.column + column
                inside = both(
                    True if geometry.out[0] % tile.rows == 0 else y < geometry.out[0],
                    True if geometry.out[1] % tile.columns == 0 else x < geometry.out[1],
                )
                with f.when(inside):
                    first = (row * tile.columns + column) * LANES
                    totals = [self.sums[first + channel] for channel in range(LANES)]
                    index = (self.word * geometry.out[0] + y) * geometry.out[1] + x
                    self.target[index] = self.end.word(totals, factors, 0)


class _QuadWriter(_Writer):
    def multiply(self, values: Memory, width: int, taps: list[tuple[int, int]]) -> None:
        quads = self.tile.quads(self.geometry)
        fours = []
        for start in quads.starts:
            # what stands behind the last word meets weights that are zero
            words = [values[min(start + i, width - 1)] for i in range(LANES)]
            fours.append(transposed(self.f, self.work.dot, words))
        for output, kh in taps:
            arrangements = [self.weights(kh, vector) for vector in range(len(quads.offsets))]
            for column, use in enumerate(quads.uses):
                for quad, arrangement in use:
                    self.add(output * self.tile.columns + column, fours[quad], arrangements[arrangement])
