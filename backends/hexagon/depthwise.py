"""Depthwise convolution of bytes: a vector is 32 channels of four pixels, and `vrmpy` adds four taps of a row at once.

The four vectors under neighbouring taps are interleaved by bytes and then by pairs, so that each word holds the four
taps of one channel of one pixel; taps beyond the last have weight zero:

    t0 = a0 b0 c0 …, t1 = a1 b1 c1 …, t2, t3     ->     a0 a1 a2 a3  b0 b1 b2 b3  …

The unit that interleaves is the bottleneck, so a tile has several output rows, which share the rows they read.
Borders are there already (`borders`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from mdcompiler.backends.hexagon import instructions as hvx
from mdcompiler.backends.hexagon.ending import PLAIN, Ending, Finisher
from mdcompiler.backends.hexagon.instructions import LANES, QUAD, VECTOR_BYTES
from mdcompiler.backends.hexagon.store import VECTOR_PIXELS, store_pixels
from mdcompiler.backends.kernels.tir import Expr, Function, Register

MOST_TAPS = 64
SLACK_BYTES = 4 * VECTOR_BYTES
"""Behind the source: a vector of four pixels is read where fewer are left."""
_WORDS, _PAIR = f"int32x{LANES}", f"int32x{2 * LANES}"


@dataclass(frozen=True)
class HvxWindow:
    """A workload. size: rows and columns of the source, borders included; stride: 1 or 2, the same for both."""

    blocks: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: int
    out: tuple[int, int]
    ending: Ending = PLAIN

    @property
    def row_quads(self) -> int:
        """Dot products of one kernel row."""
        return -(-self.kernel[1] // QUAD)

    @property
    def source_bytes(self) -> int:
        """The source with the slack behind it."""
        return self.blocks * self.size[0] * self.size[1] * LANES + SLACK_BYTES


@dataclass(frozen=True)
class HvxRows:
    """A schedule: a tile is `rows` x 4 pixels."""

    rows: int


def write_window(name: str, work: HvxWindow, schedule: HvxRows) -> tirx.PrimFunc:
    """`name(source, weight, start, scale, numbers, [table,] target, begin, end)`; a task is one
    block of channels.

    weight: [C/32][kh][kw/4][32][4] int8, see `pack.pack_depthwise`.
    """
    return _Writer(name, work, schedule.rows).write()


class _Writer:
    def __init__(self, name: str, work: HvxWindow, rows: int) -> None:
        self.work, self.rows = work, rows
        self.pixels = min(work.out[1], VECTOR_PIXELS)
        self.f = Function(name)
        out = work.blocks * work.out[0] * work.out[1] * LANES
        weights = work.blocks * work.kernel[0] * work.row_quads * VECTOR_BYTES
        self.source = self.f.buffer("source", work.source_bytes, "uint8", VECTOR_BYTES)
        self.weight = self.f.buffer("weight", weights, "uint8", VECTOR_BYTES)
        self.start = self.f.buffer("start", work.blocks * LANES, "int32", VECTOR_BYTES)
        self.end = Finisher(self.f, work.ending, work.blocks, out)
        self.target = self.f.buffer("target", out, "uint8", VECTOR_BYTES)

    def write(self) -> tirx.PrimFunc:
        height, width = self.work.out
        across = -(-width // self.pixels)
        with self.f.range() as block, self.f.loop(0, -(-height // self.rows) * across, "tile") as tile:
            # one loop over all tiles of a block, since LLVM pipelines it; the last tile of a row or column overlaps
            # the one before it and writes the same bytes again
            row = _within(tirx.floordiv(tile, across) * self.rows, height, self.rows)
            column = _within(tirx.floormod(tile, across) * self.pixels, width, self.pixels)
            self._tile(block, self.f.let("row", row), self.f.let("column", column))
        return self.f.finish()

    def _tile(self, block: Expr, row: Expr, column: Expr) -> None:
        work = self.work
        sums = [[self.f.register(LANES, "int32") for _ in range(VECTOR_PIXELS)] for _ in range(self.rows)]
        top = (block * work.size[0] + row * work.stride) * work.size[1] + column * work.stride
        top = self.f.let("top", top)
        for line in range((self.rows - 1) * work.stride + work.kernel[0]):
            if line % work.stride == 0 and line // work.stride < self.rows:
                for register in sums[line // work.stride]:
                    register.set(self.start.vector(block * LANES, LANES))
            self._line(sums, block, line, top + line * work.size[1])
            number, rest = divmod(line + 1 - work.kernel[0], work.stride)
            if number >= 0 and rest == 0:
                self._finish(sums[number], block, row + number, column)

    def _finish(self, sums: Sequence[Register], block: Expr, row: Expr, column: Expr) -> None:
        """A row of the tile as soon as it is complete: its products fill the gaps of the next line's shuffles."""
        scale = self.end.load_scale(block)
        values = [self.end.rescale(register.get(), scale) for register in sums]
        index = ((block * self.work.out[0] + row) * self.work.out[1] + column) * LANES
        store_pixels(self.f, self.target, index, self.end.finish(values, index), self.pixels)

    def _line(self, sums: Sequence[Sequence[Register]], block: Expr, line: int, pixel: Expr) -> None:
        """Everything that one row of the source adds to the rows of the tile."""
        work = self.work
        readers = [(line - row * work.stride, registers) for row, registers in enumerate(sums)]
        readers = [(kh, registers) for kh, registers in readers if 0 <= kh < work.kernel[0]]
        taps = self._taps(pixel) if readers else []
        for quad in range(work.row_quads if readers else 0):
            four = [taps[min(quad * QUAD + i, len(taps) - 1)] for i in range(QUAD)]
            interleaved = self._interleave(four)
            for kh, registers in readers:
                at = ((block * work.kernel[0] + kh) * work.row_quads + quad) * VECTOR_BYTES
                weights = self.f.let("w", hvx.load_bytes(self.weight, at), _WORDS)
                for register, part in zip(registers, interleaved, strict=True):
                    register.set(hvx.dot_signed(register.get(), part, weights))

    def _taps(self, pixel: Expr) -> list[Expr]:
        """Four pixels under each tap of a kernel row. With stride 2 two loads give a tap and its right neighbour."""
        count = self.work.kernel[1]
        if self.work.stride == 1:
            return [self._load(pixel + kw) for kw in range(count)]
        taps = []
        for kw in range(0, count, 2):
            pair = hvx.separate(self._load(pixel + kw), self._load(pixel + kw + VECTOR_PIXELS), LANES)
            pair = self.f.let("d", pair, _PAIR)
            taps += [hvx.low(pair), hvx.high(pair)]
        return taps[:count]

    def _load(self, pixel: Expr) -> Expr:
        return self.f.let("t", hvx.load_bytes(self.source, pixel * LANES), _WORDS)

    def _interleave(self, taps: Sequence[Expr]) -> list[Expr]:
        """One vector for each pixel: in every word the four taps of a channel."""
        first, second = (self.f.let("b", hvx.interleave(taps[i], taps[i + 1], 1), _PAIR) for i in (0, 2))
        pairs = [self.f.let("h", hvx.interleave(take(first), take(second), 2), _PAIR) for take in (hvx.low, hvx.high)]
        return [self.f.let("q", take(pair), _WORDS) for pair in pairs for take in (hvx.low, hvx.high)]


def _within(start: Expr, extent: int, size: int) -> Expr:
    """`start`, or where the last tile starts. Without a minimum LLVM sees that vectors are aligned."""
    return start if extent % size == 0 else tirx.min(start, extent - size)
