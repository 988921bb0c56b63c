"""Convolution k x k and pointwise on bytes, as a product of matrices: uint8 x int8 -> int32 -> uint8.

Output pixels times output channels are cut into tiles, one for each workgroup; the sum over taps and input channels
goes by stages of `depth` words. In a stage the workgroup brings both operands of its tile to shared memory, then each
thread multiplies its own pixels with its own channels, four bytes at a time. The words of the next stage are on
their way from memory meanwhile.

Memory: activations [C/4][H][W] words of four channels, or the picture's bytes [H][W][C]; weights as
`integer_pack.pack_matrix` says. Outside the picture stands the zero point, so that all pixels have one start.
"""

from __future__ import annotations

from typing import Any

from mdcompiler.backends.gpu.function import LANES, GpuFunction, div, mod
from mdcompiler.backends.gpu.integer_ending import BORDER, VECTOR, WORD, Finisher
from mdcompiler.backends.gpu.integer_instructions import dot4
from mdcompiler.backends.gpu.integer_stage import Stage
from mdcompiler.backends.gpu.integer_workload import GpuIntegerConvolution, IntegerTile
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Memory


def write_convolution(name: str, work: GpuIntegerConvolution, tile: IntegerTile) -> Any:
    """`name(source, weight, constants, numbers, [table,] [floats,] [residual,] target)`."""
    return _Writer(name, work, tile).write()


class _Writer:
    def __init__(self, name: str, work: GpuIntegerConvolution, tile: IntegerTile) -> None:
        self.work, self.tile, geometry = work, tile, work.geometry
        pixels = geometry.out_pixels
        grid = (-(-pixels // tile.pixels), -(-work.out_words // tile.out_words))
        self.stages = tile.stages(work)
        self.f = f = GpuFunction(name, grid, tile.threads)
        source = (work.source_words // LANES, VECTOR) if work.loads_vectors else (work.source_words, WORD)
        self.source = f.buffer("source", *source)
        size = grid[1] * self.stages * tile.depth * tile.out_words
        self.weight = f.buffer("weight", size, VECTOR)
        stores = (work.out_words * pixels // LANES, VECTOR) if work.moves_vectors else (work.out_words * pixels, WORD)
        self.end = Finisher(f, work.ending, work.dot, grid[1] * tile.out_words, stores)
        if work.target == "words":
            self.target = f.buffer("target", *stores)
        else:
            self.target = f.buffer("target", work.elements, "float32" if work.ending.floats else WORD)

    def write(self) -> Any:
        f, tile = self.f, self.tile
        self.first_pixel = f.let("first_pixel", f.block_x * tile.pixels)
        self.first_word = f.let("first_word", f.block_y * tile.out_words)
        self.column, self.row = f.let("column", mod(f.thread, tile.across)), f.let("row", div(f.thread, tile.across))
        border = f.let("border", self.end.numbers[BORDER])
        self.end.prepare()
        memory = self.source, self.weight
        self.stage = Stage(f, self.work, tile, memory, border, self.first_pixel)
        self.sums = f.local(tile.quads * LANES * tile.words * LANES, WORD)
        for word in range(tile.words):
            start = self.end.start(self._word(word))
            for channel in range(LANES):
                for pixel in range(tile.quads * LANES):
                    self.sums[self._sum(word, channel, pixel)] = start[channel]
        self._reduce()
        for word in range(tile.words):
            with f.when(self._is_real_word(word)):
                factors = self.end.load(self._word(word))
                for quad in range(tile.quads):
                    self._finish(word, quad, factors)
        return f.finish()

    def _word(self, word: int) -> Expr:
        """A thread's word of output channels."""
        return self.first_word + (self.row + word * self.tile.down)

    def _is_real_word(self, word: int) -> Expr:
        return True if self.work.out_words % self.tile.out_words == 0 else self._word(word) < self.work.out_words

    def _sum(self, word: int, channel: int, pixel: int) -> int:
        return (word * LANES + channel) * self.tile.quads * LANES + pixel

    def _reduce(self) -> None:
        """All stages. The barriers: before the shared words are replaced, and before they are read."""
        f, loads = self.f, self.stage
        loads.fetch(0)
        with f.loop(0, self.stages, "stage") as stage:
            if self.stages > 1:
                f.barrier()
            loads.keep()
            f.barrier()
            if self.stages > 1:
                loads.fetch(f.let("next", tirx.min(stage + 1, self.stages - 1)))
            with f.loop(0, self.tile.depth, "k") as k:
                self._multiply(k)

    def _multiply(self, k: Expr) -> None:
        """Add the products of one word of the stage."""
        f, tile = self.f, self.tile
        left, right = f.local(tile.quads * LANES, WORD), f.local(tile.words * LANES, WORD)
        for quad in range(tile.quads):
            at = k * tile.pixels + (quad * tile.across + self.column) * LANES
            left.store(quad * LANES, LANES, self.stage.inputs.vector(at, LANES))
        for word in range(tile.words):
            right.store(word * LANES, LANES, self.stage.weights[k * tile.out_words + word * tile.down + self.row])
        for word in range(tile.words):
            for channel in range(LANES):
                for pixel in range(tile.quads * LANES):
                    at = self._sum(word, channel, pixel)
                    operands = left[pixel], right[word * LANES + channel]
                    self.sums[at] = dot4(self.work.dot, self.sums[at], *operands)

    def _finish(self, word: int, quad: int, factors: Memory) -> None:
        """Four pixels of one word of channels, bounds checked."""
        f, pixels = self.f, self.work.geometry.out_pixels
        pixel = f.let("pixel", self.first_pixel + (quad * self.tile.across + self.column) * LANES)
        index = f.let("index", self._word(word) * pixels + pixel)
        if self.work.moves_vectors:
            with f.when(True if pixels % self.tile.pixels == 0 else pixel < pixels):
                self._finish_vector(word, quad, factors, pixel, index)
            return
        for place in range(LANES):
            with f.when(pixel + place < pixels):
                if self.work.target == "rows":
                    self._store_row(word, quad, place, factors, pixel)
                else:
                    self.target[index + place] = self._result(word, quad, place, factors, index)

    def _finish_vector(self, word: int, quad: int, factors: Memory, pixel: Expr, index: Expr) -> None:
        f = self.f
        if self.work.target == "rows":
            for place in range(LANES):
                self._store_row(word, quad, place, factors, pixel)
            return
        residual = None
        if self.end.residual is not None:
            residual = f.local(LANES, WORD)
            residual.store(0, LANES, self.end.residual[div(index, LANES)])
        four = f.local(LANES, WORD)
        for place in range(LANES):
            four[place] = self._result(word, quad, place, factors, index, residual)
        self.target[div(index, LANES)] = four.vector(0, LANES)

    def _result(
        self, word: int, quad: int, place: int, factors: Memory, index: Expr, near: Memory | None = None
    ) -> Expr:
        """One word of the result. near: the residuals of the four pixels, where they have been read already."""
        residual = 0
        if self.end.residual is not None:
            read = self.end.residual[index + place] if near is None else near[place]
            residual = self.f.let("residual", read)
        return self.end.word(self._totals(word, quad, place), factors, residual)

    def _totals(self, word: int, quad: int, place: int) -> list[Expr]:
        return [self.sums[self._sum(word, channel, quad * LANES + place)] for channel in range(LANES)]

    def _store_row(self, word: int, quad: int, place: int, factors: Memory, pixel: Expr) -> None:
        """Four channels of one pixel as elements of their own."""
        work, f = self.work, self.f
        channel = self._word(word) * LANES
        at = f.let("at", (pixel + place) * work.out_channels + channel + work.offset)
        for lane, value in enumerate(self.end.bytes(self._totals(word, quad, place), factors)):
            with f.when(True if work.out_channels % LANES == 0 else channel + lane < work.out_channels):
                self.target[at + lane] = self.end.floats[value] if work.ending.floats else value
