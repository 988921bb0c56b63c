"""Convolution k x k, pointwise and of the picture: uint8 x int8 -> int32 -> uint8 with `vrmpy`.

Memory: activations [C/32][H][W][32] bytes, borders already there (`borders`), so a tile never meets one. One
instruction multiplies four input channels of one pixel, a scalar, with the weights of 32 output channels:

    acc[32] += vrmpy(weight[32][4] unsigned, pixel[4] unsigned)

Both operands are unsigned, since with a scalar operand the instruction has no form for signed vectors. Weights are
stored plus 128, and 128 times the sum of the bytes that the window reads, which `sums` made before, is taken off at
the end. Spreading a pixel over a vector for the mixed-sign form would cost an instruction for four channels of it,
on the multipliers' own pipes.

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
from mdcompiler.backends.hexagon.sums import Rows
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, Register

_LOAD_QUADS = 2
"""Quads of a pixel that one load brings: a scalar register pair."""


@dataclass(frozen=True)
class Window:
    """What one output pixel reads: quads at `block * block_bytes + kh * row_bytes + kw * column_bytes`.

    blocks: of channels; quads, last_quads: groups of four bytes in each of them and in the last. pixel_bytes,
    line_bytes: from an output pixel to its right and lower neighbour, in the source. size: bytes of the source, of
    which a pixel has unit_bytes.
    """

    size: int
    blocks: int
    block_bytes: int
    kernel: tuple[int, int]
    row_bytes: int
    column_bytes: int
    quads: int
    last_quads: int
    pixel_bytes: int
    line_bytes: int
    unit_bytes: int = LANES

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """Runs of blocks of equal length: first block, last block + 1, quads."""
        if self.last_quads == self.quads:
            yield 0, self.blocks, self.quads
            return
        if self.blocks > 1:
            yield 0, self.blocks - 1, self.quads
        yield self.blocks - 1, self.blocks, self.last_quads

    @property
    def is_pointwise(self) -> bool:
        """Whether one tap is all there is."""
        return self.kernel == (1, 1)

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def total_quads(self) -> int:
        return ((self.blocks - 1) * self.quads + self.last_quads) * self.taps

    @property
    def pixels(self) -> int:
        """Pixels of the source in one block."""
        return self.size // (self.blocks * self.unit_bytes)

    def starts(self, out: tuple[int, int]) -> Rows:
        """Pixels of the source where windows start, those between them included."""
        return Rows(out[0], self.line_bytes // self.unit_bytes, (out[1] - 1) * self.pixel_bytes // self.unit_bytes + 1)

    def summed_pixels(self) -> tuple[int, ...]:
        """How far each pixel that a window reads lies behind its first one."""
        row, column = self.row_bytes // self.unit_bytes, self.column_bytes // self.unit_bytes
        across = max(1, self.quads * QUAD // self.unit_bytes)
        rows, columns = self.kernel
        return tuple(kh * row + kw * column + i for kh in range(rows) for kw in range(columns) for i in range(across))


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

    unroll: how many taps, or blocks of channels where there are no other taps, one round of the innermost loop does;
    it divides the taps of a kernel row or is their whole number.
    """

    pixels: int
    groups: int
    unroll: int = 1

    def tasks(self, work: HvxConvolution) -> int:
        """Iterations of the kernel's outermost loop."""
        return work.out_blocks // self.groups * work.out[0]


def write_convolution(name: str, work: HvxConvolution, tile: HvxTile) -> tirx.PrimFunc:
    """`name(source, weight, start, sums, scale, numbers, [table,] [residual,] target, begin, end)`.

    weight: see `pack.pack_weights`; start [O] int32; sums: see `sums`, at the pixel where a window starts; the rest as
    in `ending.Finisher`. target [O/32][P][32].
    """
    return _Writer(name, work, tile).write()


class _Writer:
    def __init__(self, name: str, work: HvxConvolution, tile: HvxTile) -> None:
        self.work, self.tile, self.window = work, tile, work.window
        self.f = Function(name)
        blocks, pixels = work.out_blocks, work.out[0] * work.out[1]
        self.source = self._bytes("source", self.window.size)
        self.weight = self._bytes("weight", blocks * self.window.total_quads * VECTOR_BYTES)
        self.start = self.f.buffer("start", blocks * LANES, "int32", VECTOR_BYTES)
        self.sums = self.f.buffer("sums", self.window.starts(work.out).end, "int32", VECTOR_BYTES)
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
                column = index * pixels
                column = column if columns % pixels == 0 else tirx.min(column, columns - pixels)
                self._tile(group, row, self.f.let("column", column))
        return self.f.finish()

    def _tile(self, group: Expr, row: Expr, column: Expr) -> None:
        pixels, groups = range(self.tile.pixels), range(self.tile.groups)
        sums = [[self.f.register(LANES, "int32") for _ in pixels] for _ in groups]
        for g in groups:
            for register in sums[g]:
                register.set(self.start.vector((group * self.tile.groups + g) * LANES, LANES))
        window, unit = self.window, self.window.unit_bytes
        first = row * (window.line_bytes // unit) + column * (window.pixel_bytes // unit)
        self._reduce(sums, group, row * window.line_bytes + column * window.pixel_bytes)
        self._finish(sums, first, group * self.tile.groups, row * self.work.out[1] + column)

    def _reduce(self, sums: list[list[Register]], group: Expr, pixel: Expr) -> None:
        """Loops over blocks, kernel rows and rounds of kernel columns, or over rounds of blocks alone."""
        window, f = self.window, self.f
        done = group * window.total_quads
        for first, stop, quads in window.groups():
            blocks, rows, columns = self._round(stop - first)
            with (
                f.loop(0, (stop - first) // blocks, "in") as block,
                f.loop(0, window.kernel[0] // rows, "kh") as kh,
                f.loop(0, window.kernel[1] // columns, "kw") as kw,
            ):
                at = pixel + (first + block * blocks) * window.block_bytes
                at = f.let("at", at + kh * rows * window.row_bytes + kw * columns * window.column_bytes)
                position = (block * blocks * window.kernel[0] + kh * rows) * window.kernel[1] + kw * columns
                place = f.let("place", done + position * quads)
                offsets = [
                    b * window.block_bytes + i * window.row_bytes + j * window.column_bytes
                    for b in range(blocks)
                    for i in range(rows)
                    for j in range(columns)
                ]
                for number, offset in enumerate(offsets):
                    self._tap(sums, at + offset, place + number * quads, quads)
            done += (stop - first) * window.taps * quads

    def _round(self, blocks: int) -> tuple[int, int, int]:
        """Blocks, kernel rows and columns that one round of the innermost loop does."""
        unroll, (rows, columns) = self.tile.unroll, self.window.kernel
        if self.window.is_pointwise:
            return (unroll if blocks % unroll == 0 else 1), 1, 1
        return (1, rows, columns) if unroll == self.window.taps else (1, 1, unroll)

    def _tap(self, sums: list[list[Register]], at: Expr, place: Expr, quads: int) -> None:
        """All channels of one tap in one block, two quads at a time: a load brings that many."""
        for quad in range(0, quads, _LOAD_QUADS):
            count = min(_LOAD_QUADS, quads - quad)
            found = [
                self._pixel(at + p * self.window.pixel_bytes + quad * QUAD, count) for p in range(self.tile.pixels)
            ]
            for number in range(count):
                self._multiply(sums, [item[number] for item in found], place + quad + number)

    def _multiply(self, sums: list[list[Register]], four: list[Expr], quad: Expr) -> None:
        """Four bytes of every pixel of the tile."""
        for g, registers in enumerate(sums):
            weights = hvx.load_bytes(self.weight, (quad * self.tile.groups + g) * VECTOR_BYTES)
            weights = self.f.let("w", weights, f"int32x{LANES}")
            for register, scalar in zip(registers, four, strict=True):
                register.set(hvx.dot_unsigned(register.get(), weights, scalar))

    def _pixel(self, at: Expr, count: int) -> list[Expr]:
        """One or two quads of a pixel."""
        dtype = "int64" if count == _LOAD_QUADS else "int32"
        found = self.f.let("x", tirx.reinterpret(dtype, self.source.vector(at, count * QUAD)), dtype)
        if count == 1:
            return [found]
        return [found.astype("int32"), (found >> tirx.const(32, "int64")).astype("int32")]

    def _finish(self, sums: list[list[Register]], start: Expr, first: Expr, pixel: Expr) -> None:
        pixels, out_pixels = self.tile.pixels, self.work.out[0] * self.work.out[1]
        step = self.window.pixel_bytes // self.window.unit_bytes
        excess = [self.f.let("excess", hvx.words(self.sums[start + p * step]), f"int32x{LANES}") for p in range(pixels)]
        for g, registers in enumerate(sums):
            scale = self.end.load_scale(first + g)
            values = [
                self.f.let("value", self.end.rescale(registers[p].get() - excess[p], scale), f"int32x{LANES}")
                for p in range(pixels)
            ]
            index = ((first + g) * out_pixels + pixel) * LANES
            for four in vector_starts(pixels):
                some = [values[min(four + p, pixels - 1)] for p in range(VECTOR_PIXELS)]
                place = index + four * LANES
                store_pixels(self.f, self.target, place, self.end.finish(some, place), pixels)
