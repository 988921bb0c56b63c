"""Convolution k x k, pointwise and of the picture: uint8 x int8 -> int32 -> uint8 with `vrmpy`.

Memory: activations [C/32][H][W][32] bytes, borders already there (`borders`), so a tile never meets one. One
instruction multiplies four input channels of one pixel, a scalar, with the weights of 32 output channels:

    acc[32] += vrmpy(weight[32][4] unsigned, pixel[4] unsigned)

Both operands are unsigned, since with a scalar operand the instruction has no form for signed vectors. Weights are
stored plus 128, and 128 times the sum of the pixel's bytes, which the scalar unit adds up on the side (vraddub), is
taken off at the end. That costs a quarter of an instruction for four channels of a pixel; spreading the pixel over
a vector for the mixed-sign form would cost a whole one, on the multipliers' own pipes.

`start` holds bias - zero_point * sum of the weights for every output channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tvm import tirx

from mdcompiler.backends.hexagon import instructions as hvx
from mdcompiler.backends.hexagon.ending import PLAIN, Ending, Finisher
from mdcompiler.backends.hexagon.instructions import LANES, QUAD, VECTOR_BYTES
from mdcompiler.backends.hexagon.store import VECTOR_PIXELS, store_pixels, vector_starts
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, Register

STEP_BYTES = 8
"""Bytes of a pixel that one step of the reduction takes: a scalar register pair."""
QUADS = STEP_BYTES // QUAD
WEIGHT_OFFSET = 128
_SLACK = 16


@dataclass(frozen=True)
class Window:
    """What one output pixel reads: steps of 8 bytes at `block * block_bytes + kh * row_bytes + kw * column_bytes`.

    blocks: of channels; steps, last_steps: steps in each of them and in the last. pixel_bytes, line_bytes: from an
    output pixel to its right and lower neighbour, in the source. size: bytes of the source.
    """

    size: int
    blocks: int
    block_bytes: int
    kernel: tuple[int, int]
    row_bytes: int
    column_bytes: int
    steps: int
    last_steps: int
    pixel_bytes: int
    line_bytes: int

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """Runs of blocks of equal length: first block, last block + 1, steps."""
        if self.last_steps == self.steps:
            yield 0, self.blocks, self.steps
            return
        if self.blocks > 1:
            yield 0, self.blocks - 1, self.steps
        yield self.blocks - 1, self.blocks, self.last_steps

    @property
    def is_pointwise(self) -> bool:
        """Whether one tap is all there is."""
        return self.kernel == (1, 1)

    @property
    def total_steps(self) -> int:
        return ((self.blocks - 1) * self.steps + self.last_steps) * self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class HvxConvolution:
    """A workload.

    out_blocks: blocks of 32 output channels. out: rows and columns, (1, pixels) where rows do not matter.
    """

    window: Window
    out_blocks: int
    out: tuple[int, int]
    ending: Ending = PLAIN


@dataclass(frozen=True)
class HvxTile:
    """pixels x groups accumulators of 32 channels are kept in registers.

    unroll: how many taps of a kernel row, or blocks of channels where there are no other taps, one round of the
    innermost loop does; it divides their number.
    """

    pixels: int
    groups: int
    unroll: int = 1

    def tasks(self, work: HvxConvolution) -> int:
        """Iterations of the kernel's outermost loop."""
        return work.out_blocks // self.groups * work.out[0]


def write_convolution(name: str, work: HvxConvolution, tile: HvxTile) -> tirx.PrimFunc:
    """`name(source, weight, start, scale, numbers, [table,] [residual,] target, begin, end)`.

    weight: see `pack.pack_weights`; start [O] int32; the rest as in `ending.Finisher`. target [O/32][P][32].
    """
    return _Writer(name, work, tile).write()


class _Writer:
    def __init__(self, name: str, work: HvxConvolution, tile: HvxTile) -> None:
        self.work, self.tile, self.window = work, tile, work.window
        self.f = Function(name)
        blocks, pixels = work.out_blocks, work.out[0] * work.out[1]
        self.source = self._bytes("source", self.window.size + _SLACK)
        self.weight = self._bytes("weight", blocks * self.window.total_steps * QUADS * VECTOR_BYTES)
        self.start = self.f.buffer("start", blocks * LANES, "int32", VECTOR_BYTES)
        self.end = Finisher(self.f, work.ending, blocks, blocks * pixels * LANES)
        self.target = self._bytes("target", blocks * pixels * LANES)

    def _bytes(self, name: str, size: int) -> Memory:
        return self.f.buffer(name, size, "uint8", VECTOR_BYTES)

    def write(self) -> tirx.PrimFunc:
        rows, columns = self.work.out
        pixels = self.tile.pixels
        with self.f.range() as task:
            row = 0 if rows == 1 else self.f.let("row", tirx.floormod(task, rows))
            group = self.f.let("set", task if rows == 1 else tirx.floordiv(task, rows))
            with self.f.loop(0, -(-columns // pixels), "tile") as index:
                # the last tile of a row overlaps the one before it and writes the same bytes again
                column = self.f.let("column", tirx.min(index * pixels, columns - pixels))
                self._tile(group, row, column)
        return self.f.finish()

    def _tile(self, group: Expr, row: Expr, column: Expr) -> None:
        pixels, groups = range(self.tile.pixels), range(self.tile.groups)
        sums = [[self.f.register(LANES, "int32") for _ in pixels] for _ in groups]
        totals = [Total(self.f) for _ in pixels]
        for g in groups:
            for register in sums[g]:
                register.set(self.start.vector((group * self.tile.groups + g) * LANES, LANES))
        self._reduce(sums, totals, group, row * self.window.line_bytes + column * self.window.pixel_bytes)
        self._finish(sums, totals, group * self.tile.groups, row * self.work.out[1] + column)

    def _reduce(self, sums: list[list[Register]], totals: list[Total], group: Expr, pixel: Expr) -> None:
        """Loops over blocks, kernel rows and rounds of kernel columns, or over rounds of blocks alone."""
        window, f = self.window, self.f
        done = group * window.total_steps
        for first, stop, steps in window.groups():
            count = self._unrolled(stop - first)
            blocks, columns = (count, 1) if window.is_pointwise else (1, count)
            with (
                f.loop(0, (stop - first) // blocks, "in") as block,
                f.loop(0, window.kernel[0], "kh") as kh,
                f.loop(0, window.kernel[1] // columns, "kw") as kw,
            ):
                at = pixel + (first + block * blocks) * window.block_bytes
                at = f.let("at", at + kh * window.row_bytes + kw * columns * window.column_bytes)
                position = (block * blocks * window.kernel[0] + kh) * window.kernel[1] + kw * columns
                step = f.let("step", done + position * steps)
                distance = window.block_bytes if window.is_pointwise else window.column_bytes
                offsets = [i * distance + part * STEP_BYTES for i in range(count) for part in range(steps)]
                self._steps(sums, totals, at, step, offsets)
            done += (stop - first) * window.kernel[0] * window.kernel[1] * steps

    def _unrolled(self, blocks: int) -> int:
        """Positions that one round of the innermost loop does."""
        extent = blocks if self.window.is_pointwise else self.window.kernel[1]
        return self.tile.unroll if extent % self.tile.unroll == 0 else 1

    def _steps(self, sums: list[list[Register]], totals: list[Total], at: Expr, step: Expr, offsets: list[int]) -> None:
        """One round: eight bytes at each offset, in pairs, because vraddub adds up two of them."""
        for first in range(0, len(offsets), 2):
            pair = offsets[first : first + 2]
            quads = [self._pixel(totals[p], at + p * self.window.pixel_bytes, pair) for p in range(self.tile.pixels)]
            for quad in range(len(pair) * QUADS):
                self._multiply(sums, [item[quad] for item in quads], (step + first) * QUADS + quad)

    def _multiply(self, sums: list[list[Register]], four: list[Expr], quad: Expr) -> None:
        """Four bytes of every pixel of the tile."""
        for g, registers in enumerate(sums):
            weights = hvx.load_bytes(self.weight, (quad * self.tile.groups + g) * VECTOR_BYTES)
            weights = self.f.let("w", weights, f"int32x{LANES}")
            for register, scalar in zip(registers, four, strict=True):
                register.set(hvx.dot_unsigned(register.get(), weights, scalar))

    def _pixel(self, total: Total, at: Expr, offsets: list[int]) -> list[Expr]:
        """The quads of a pixel at one or two offsets, their bytes added to its total."""
        halves = [
            self.f.let("x", tirx.reinterpret("int64", self.source.vector(at + start, STEP_BYTES)), "int64")
            for start in offsets
        ]
        total.add(halves[0], halves[1] if len(halves) == 2 else tirx.const(0, "int64"))
        words = ((half, half >> tirx.const(32, "int64")) for half in halves)
        return [word.astype("int32") for pair in words for word in pair]

    def _finish(self, sums: list[list[Register]], totals: list[Total], first: Expr, pixel: Expr) -> None:
        pixels, out_pixels = self.tile.pixels, self.work.out[0] * self.work.out[1]
        excess = [self.f.let("excess", hvx.words(total.value() * WEIGHT_OFFSET), f"int32x{LANES}") for total in totals]
        for g, registers in enumerate(sums):
            scale = self.end.load_scale(first + g)
            values = [
                self.f.let("value", self.end.rescale(registers[p].get() - excess[p], scale), f"int32x{LANES}")
                for p in range(pixels)
            ]
            index = ((first + g) * out_pixels + pixel) * LANES
            for start in vector_starts(pixels):
                four = [values[min(start + p, pixels - 1)] for p in range(VECTOR_PIXELS)]
                place = index + start * LANES
                store_pixels(self.f, self.target, place, self.end.finish(four, place), pixels)


class Total:
    """The sum of all bytes that one output pixel reads, in two halves of a scalar register pair."""

    def __init__(self, f: Function) -> None:
        self._memory = f.stack(1, "int64")
        self._memory[0] = tirx.const(0, "int64")

    def add(self, left: Expr, right: Expr) -> None:
        """Add the bytes of two double words."""
        self._memory[0] = hvx.sum_bytes(self._memory[0], left, right)

    def value(self) -> Expr:
        """The sum, int32."""
        both = self._memory[0]
        return both.astype("int32") + (both >> tirx.const(32, "int64")).astype("int32")
