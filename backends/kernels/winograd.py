"""Convolution 3x3 of stride 1 by Winograd's minimal filtering, float32, channels in blocks of one vector.

A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). The output is cut into
squares of m x m; each comes from a patch of (m + 2) x (m + 2) inputs with (m + 2)^2 products a channel pair
instead of 9 m^2. Two functions: `write_winograd_source` transforms all patches; `write_winograd_multiply`
takes a group of output channels at a time, transforms its weights into scratch that stays in L2, multiplies,
and transforms back with bias, residual and activation. Weights are kept as they are for the direct kernel:
transformed ones would be four times as large and be read from memory on every run.

Memory between the two: [(m+2)^2][C/v][patches][v].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution, each_channel, input_element
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, Register, splat
from mdcompiler.backends.kernels.winograd_matrices import TAPS, Matrix, transforms


@dataclass(frozen=True)
class WinogradTile:
    """outputs: m. patches: how many share a register tile. groups: channel blocks that do."""

    outputs: int
    patches: int
    groups: int

    @property
    def size(self) -> int:
        """Rows and columns of a patch."""
        return self.outputs + TAPS - 1

    @property
    def points(self) -> int:
        return self.size**2


def suits_winograd(work: Convolution) -> bool:
    """3x3, stride 1, everything blocked."""
    geometry = work.geometry
    same = (geometry.kernel, geometry.stride, geometry.dilation) == ((TAPS, TAPS), (1, 1), (1, 1))
    return same and (work.source, work.target) == ("blocked", "blocked")


def patches(work: Convolution, outputs: int) -> tuple[int, int]:
    """Patches in a column and in a row."""
    rows, columns = work.geometry.out
    return -(-rows // outputs), -(-columns // outputs)


def patch_bytes(work: Convolution, outputs: int) -> int:
    """Of all transformed patches."""
    rows, columns = patches(work, outputs)
    return (outputs + TAPS - 1) ** 2 * work.in_blocks * rows * columns * work.lanes * ELEMENT_BYTES


def scratch_bytes(work: Convolution, tile: WinogradTile) -> int:
    """What `write_winograd_multiply` needs: the weights of one task, and the products of one register tile."""
    weights = tile.points * _weight_stride(work, tile)
    return (weights + tile.points * tile.groups * tile.patches) * work.lanes * ELEMENT_BYTES


def _weight_stride(work: Convolution, tile: WinogradTile) -> int:
    """Vectors from one point's weights to the next's: one more than there are, or all points fall on one cache set."""
    return work.in_channels * tile.groups + 1


def source_tasks(work: Convolution, outputs: int) -> int:
    """Iterations of the first function: a row of patches of one channel block."""
    return work.in_blocks * patches(work, outputs)[0]


def multiply_tasks(work: Convolution, tile: WinogradTile) -> int:
    """Iterations of the second function. Raises ValueError when the groups do not divide the channel blocks."""
    if work.out_blocks % tile.groups:
        raise ValueError(f"{tile.groups} groups do not divide {work.out_blocks} channel blocks")
    return work.out_blocks // tile.groups


def write_winograd_source(name: str, work: Convolution, outputs: int) -> tirx.PrimFunc:
    """The function `name(source, patches, begin, end)`."""
    return _SourceWriter(name, work, outputs).write()


def write_winograd_multiply(name: str, work: Convolution, tile: WinogradTile) -> tirx.PrimFunc:
    """The function `name(patches, weight, bias, [residual,] target, scratch, begin, end)`."""
    return _MultiplyWriter(name, work, tile).write()


class _SourceWriter:
    def __init__(self, name: str, work: Convolution, outputs: int) -> None:
        self.work, self.outputs, self.lanes = work, outputs, work.lanes
        self.size = outputs + TAPS - 1
        self.rows, self.columns = patches(work, outputs)
        self.f = Function(name)
        self.source = self.f.buffer("source", work.in_blocks * work.geometry.pixels * self.lanes)
        self.patches = self.f.buffer("patches", patch_bytes(work, outputs) // ELEMENT_BYTES)

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            block = self.f.let("block", task // self.rows)
            row = self.f.let("row", task % self.rows)
            for rows, first_row in _border_runs(self.rows, self._rows_inside):
                with self.f.when(_between(row, first_row, rows, self.rows)):
                    for count, first in _border_runs(self.columns, self._columns_inside):
                        with self.f.loop(0, count, "patch") as index:
                            self._patch(block, row, first_row, first + index, first)
        return self.f.finish()

    def _rows_inside(self, row: int) -> tuple[int, ...]:
        return self._inside(row, self.work.geometry.pad[0], self.work.geometry.size[0])

    def _columns_inside(self, column: int) -> tuple[int, ...]:
        return self._inside(column, self.work.geometry.pad[1], self.work.geometry.size[1])

    def _inside(self, index: int, pad: int, size: int) -> tuple[int, ...]:
        """Which of the rows (or columns) of patch `index` are inside the picture."""
        start = index * self.outputs - pad
        return tuple(i for i in range(self.size) if 0 <= start + i < size)

    def _patch(self, block: Expr, row: Expr, like_row: int, column: Expr, like_column: int) -> None:
        """One patch; `like_row` and `like_column` are patches with the same borders, known now."""
        inside = self._columns_inside(like_column)
        partial = [
            self._transform([self._load(block, row, like_row, column, i, j, inside) for i in range(self.size)])
            for j in range(self.size)
        ]
        patch = row * self.columns + column
        for i in range(self.size):
            for j, value in enumerate(self._transform([partial[j][i] for j in range(self.size)])):
                point = i * self.size + j
                index = ((point * self.work.in_blocks + block) * self.rows * self.columns + patch) * self.lanes
                self.patches.store(index, self.lanes, value if value is not None else splat(0.0, self.lanes))

    def _load(
        self, block: Expr, row: Expr, like_row: int, column: Expr, i: int, j: int, inside: tuple[int, ...]
    ) -> Expr | None:
        if i not in self._rows_inside(like_row) or j not in inside:
            return None
        height, width = self.work.geometry.size
        y = row * self.outputs - self.work.geometry.pad[0] + i
        x = column * self.outputs - self.work.geometry.pad[1] + j
        return self.source.vector(((block * height + y) * width + x) * self.lanes, self.lanes)

    def _transform(self, values: list[Expr | None]) -> list[Expr | None]:
        return _combine(self.f, transforms(self.outputs).source, values, self.lanes)


class _MultiplyWriter:
    def __init__(self, name: str, work: Convolution, tile: WinogradTile) -> None:
        self.work, self.tile, self.lanes = work, tile, work.lanes
        self.rows, self.columns = patches(work, tile.outputs)
        self.f = Function(name)
        self.patches = self.f.buffer("patches", patch_bytes(work, tile.outputs) // ELEMENT_BYTES)
        self.weight = self.f.buffer("weight", work.out_blocks * work.in_channels * TAPS**2 * self.lanes)
        self.bias = self.f.buffer("bias", work.out_blocks * self.lanes)
        size = work.out_blocks * work.geometry.out_pixels * self.lanes
        if work.residual != "none":
            self.residual = self.f.buffer("residual", size)
        self.target = self.f.buffer("target", size)
        self.scratch = self.f.buffer("scratch", scratch_bytes(work, tile) // ELEMENT_BYTES)
        self.products = tile.points * _weight_stride(work, tile) * self.lanes
        """Where in the scratch the products start: behind the weights."""

    def write(self) -> tirx.PrimFunc:
        count, step = self.rows * self.columns, self.tile.patches
        full, rest = divmod(count, step)
        with self.f.range() as task:
            first = self.f.let("first", task * self.tile.groups)
            self._weights(first)
            with self.f.loop(0, full, "tile") as index:
                self._tile(first, index * step, step)
            if rest:
                self._tile(first, full * step, rest)
        return self.f.finish()

    def _weights(self, first: Expr) -> None:
        """Transform the weights of one task: [point][C][group][v]."""
        work, groups = self.work, self.tile.groups
        with self.f.loop(0, work.in_blocks, "block") as block:
            channels = work.channels_of(block)
            with self.f.loop(0, channels, "c") as c:
                for group in range(groups):
                    self._weight(first, block, c, group, channels)

    def _weight(self, first: Expr, block: Expr, c: Expr, group: int, channels: Expr) -> None:
        work, groups, lanes = self.work, self.tile.groups, self.lanes
        start = (first * work.in_channels + block * work.channel_block * groups) * TAPS**2

        def tap(i: int, j: int) -> Expr:
            step = ((i * TAPS + j) * channels + c) * groups + group
            return self.weight.vector((start + step) * lanes, lanes)

        matrix = transforms(self.tile.outputs).weight
        partial = [_combine(self.f, matrix, [tap(i, j) for i in range(TAPS)], lanes) for j in range(TAPS)]
        channel = block * work.channel_block + c
        for i in range(self.tile.size):
            for j, value in enumerate(_combine(self.f, matrix, [partial[j][i] for j in range(TAPS)], lanes)):
                point = i * self.tile.size + j
                index = self._weight_index(point, channel, group)
                self.scratch.store(index, lanes, value)

    def _tile(self, first: Expr, start: Expr, count: int) -> None:
        with self.f.loop(0, self.tile.points, "point") as point:
            self._multiply(start, count, point)
        with self.f.loop(0, count, "patch") as index:
            patch = self.f.let("at", start + index)
            row, column = self.f.let("row", patch // self.columns), self.f.let("column", patch % self.columns)
            for group in range(self.tile.groups):
                self._finish(first + group, row, column, self._squares(index, group))

    def _multiply(self, start: Expr, count: int, point: Expr) -> None:
        """The products of `count` patches at one point, summed over the input channels."""
        groups, work = self.tile.groups, self.work
        sums = [[self.f.register(self.lanes) for _ in range(count)] for _ in range(groups)]
        for register in (register for row in sums for register in row):
            register.set(splat(0.0, self.lanes))
        with self.f.loop(0, work.in_blocks, "block") as block:
            for c in each_channel(self.f, work, block):
                self._accumulate(sums, start, point, block, c)
        for group in range(groups):
            for index, register in enumerate(sums[group]):
                self._products.store(self._product_index(point, index, group), self.lanes, register.get())

    def _accumulate(self, sums: list[list[Register]], start: Expr, point: Expr, block: Expr, c: Expr) -> None:
        work, groups = self.work, self.tile.groups
        patch = (point * work.in_blocks + block) * self.rows * self.columns + start
        channel = block * work.channel_block + c
        weights = [
            self.scratch.vector(self._weight_index(point, channel, group), self.lanes) for group in range(groups)
        ]
        for index in range(len(sums[0])):
            value = splat(input_element(self.patches, (patch + index) * self.lanes, c, work), self.lanes)
            for group, weight in enumerate(weights):
                sums[group][index].set(sums[group][index].get() + value * weight)

    def _weight_index(self, point: Expr, channel: Expr, group: int) -> Expr:
        vectors = point * _weight_stride(self.work, self.tile) + channel * self.tile.groups + group
        return vectors * self.lanes

    @property
    def _products(self) -> Memory:
        return self.scratch

    def _product_index(self, point: Expr, index: Expr, group: int) -> Expr:
        step = (point * self.tile.patches + index) * self.tile.groups + group
        return self.products + step * self.lanes

    def _squares(self, index: Expr, group: int) -> list[list[Expr]]:
        """The m x m outputs of one patch, without bias."""
        size, matrix = self.tile.size, transforms(self.tile.outputs).target

        def product(i: int, j: int) -> Expr:
            return self._products.vector(self._product_index(i * size + j, index, group), self.lanes)

        partial = [_combine(self.f, matrix, [product(i, j) for i in range(size)], self.lanes) for j in range(size)]
        return [
            _combine(self.f, matrix, [partial[j][i] for j in range(size)], self.lanes) for i in range(self.tile.outputs)
        ]

    def _finish(self, block: Expr, row: Expr, column: Expr, square: list[list[Expr]]) -> None:
        """Store what of the square lies inside the output."""
        outputs, (height, width) = self.tile.outputs, self.work.geometry.out
        bias = self.f.let("bias", self.bias.vector(block * self.lanes, self.lanes), f"float32x{self.lanes}")
        for i in range(outputs):
            with self.f.when(True if height % outputs == 0 else row * outputs + i < height):
                for j in range(outputs):
                    with self.f.when(True if width % outputs == 0 else column * outputs + j < width):
                        pixel = (row * outputs + i) * width + column * outputs + j
                        self._store(block, pixel, square[i][j] + bias)

    def _store(self, block: Expr, pixel: Expr, value: Expr) -> None:
        index = (block * self.work.geometry.out_pixels + pixel) * self.lanes
        if self.work.residual == "before":
            value = value + self.residual.vector(index, self.lanes)
        value = self.work.activation.apply(value, self.lanes)
        if self.work.residual == "after":
            value = value + self.residual.vector(index, self.lanes)
        self.target.store(index, self.lanes, value)


def _border_runs(count: int, inside: Callable[[int], tuple[int, ...]]) -> list[tuple[int, int]]:
    """Runs of neighbours with the same borders: (how many, the first)."""
    runs: list[tuple[int, int]] = []
    for index in range(count):
        if runs and inside(index) == inside(runs[-1][1]):
            runs[-1] = (runs[-1][0] + 1, runs[-1][1])
        else:
            runs.append((1, index))
    return runs


def _between(index: Expr, first: int, count: int, limit: int) -> Expr:
    """first <= index < first + count, where it can be wrong."""
    if count == limit:
        return True
    return tirx.all(index >= first, index < first + count)


def _combine(f: Function, matrix: Matrix, values: Sequence[Expr | None], lanes: int) -> list[Expr]:
    """matrix x values, where None is zero; each result is a variable, None where all terms are zero."""
    results = []
    for row in matrix:
        total = None
        for factor, value in zip(row, values, strict=True):
            if factor and value is not None:
                total = _add(total, factor, value, lanes)
        results.append(None if total is None else f.let("t", total, f"float32x{lanes}"))
    return results


def _add(total: Expr | None, factor: Fraction, value: Expr, lanes: int) -> Expr:
    if total is None:
        return value if factor == 1 else value * splat(float(factor), lanes)
    if abs(factor) == 1:
        return total + value if factor == 1 else total - value
    return total + value * splat(float(factor), lanes)
