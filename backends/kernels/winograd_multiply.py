"""The second function of a Winograd convolution (see `winograd`): products, sums, and the way back to pixels."""

from __future__ import annotations

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution, each_channel, input_element
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, Register, splat
from mdcompiler.backends.kernels.winograd import WinogradTile, patch_bytes, patches, scratch_bytes, weight_stride
from mdcompiler.backends.kernels.winograd_combine import combine
from mdcompiler.backends.kernels.winograd_matrices import TAPS, transforms


def write_winograd_multiply(name: str, work: Convolution, tile: WinogradTile) -> tirx.PrimFunc:
    """The function `name(patches, weight, bias, [residual,] target, scratch, begin, end)`."""
    return _Writer(name, work, tile).write()


class _Writer:
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
        self.products = tile.points * weight_stride(work, tile) * self.lanes
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
        partial = [combine(self.f, matrix, [tap(i, j) for i in range(TAPS)], lanes) for j in range(TAPS)]
        channel = block * work.channel_block + c
        for i in range(self.tile.size):
            for j, value in enumerate(combine(self.f, matrix, [partial[j][i] for j in range(TAPS)], lanes)):
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
                self.scratch.store(self._product_index(point, index, group), self.lanes, register.get())

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
        vectors = point * weight_stride(self.work, self.tile) + channel * self.tile.groups + group
        return vectors * self.lanes

    def _product_index(self, point: Expr, index: Expr, group: int) -> Expr:
        step = (point * self.tile.patches + index) * self.tile.groups + group
        return self.products + step * self.lanes

    def _squares(self, index: Expr, group: int) -> list[list[Expr]]:
        """The m x m outputs of one patch, without bias."""
        size, matrix = self.tile.size, transforms(self.tile.outputs).target

        def product(i: int, j: int) -> Expr:
            return self.scratch.vector(self._product_index(i * size + j, index, group), self.lanes)

        partial = [combine(self.f, matrix, [product(i, j) for i in range(size)], self.lanes) for j in range(size)]
        return [
            combine(self.f, matrix, [partial[j][i] for j in range(size)], self.lanes) for i in range(self.tile.outputs)
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
        work, lanes = self.work, self.lanes
        value = work.activation.end(value, lanes, work.residual, lambda: self.residual.vector(index, lanes))
        self.target.store(index, lanes, value)
