"""Convolution k x k and pointwise on bytes: uint8 x int8 -> int32 -> uint8, channels in blocks of one vector.

Memory: activations [C/v][H][W][v] uint8, weights in fours of input channels, see
`pack_weights.pack_integer_convolution` and `dot_product`.

The zero point of the input never enters the loop: `start` holds, for every output channel and for every
set of taps that a border leaves, bias - zero_point * sum of the weights under those taps.

Weights that less their zero point are too large for the dot product come in two parts that are added
(`parts` = 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mdcompiler.backends.kernels.convolution import ConvolutionShape, Layout, Tile
from mdcompiler.backends.kernels.dot_product import OCTET, QUAD, DotName, dot_of, quad_dot_of
from mdcompiler.backends.kernels.geometry import Place, columns, for_tiles
from mdcompiler.backends.kernels.integer_window import inner_column
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.requantize import PLAIN_ENDING, Ending, Requantizer
from mdcompiler.backends.kernels.saturate import VECTORS, part
from mdcompiler.backends.kernels.tir import Expr, Function, Register

_VECTOR_BYTES = 16
"""Of the vectors that sdot takes."""


@dataclass(frozen=True)
class IntegerConvolution(ConvolutionShape):
    """A workload. An interleaved source has `slack` bytes behind it that may be read.

    ending: what follows the sums. dot: the instructions that form them. parts: how many tensors of the dot
    product's weights the weights are the sum of.
    """

    ending: Ending = PLAIN_ENDING
    dot: DotName = "plain"
    parts: int = 1

    def quads(self, block: Expr) -> Expr:
        """Dot products that one pixel of a channel block takes: the last block may be short."""
        full, last = -(-self.channel_block // QUAD), -(-self._last_channels // QUAD)
        if full == last or self.in_blocks == 1:
            return last
        return tirx.if_then_else(block == self.in_blocks - 1, last, full)

    @property
    def quads_in_all(self) -> int:
        """Dot products that one pixel takes over all channels."""
        full = -(-self.channel_block // QUAD)
        return (self.in_blocks - 1) * full + -(-self._last_channels // QUAD)

    @property
    def octets(self) -> int:
        """Matrix products that one pixel takes over all channels."""
        return -(-self.in_channels // OCTET)

    @property
    def by_rows(self) -> bool:
        """Whether what a row of the kernel reads of an interleaved picture is one vector that sdot takes by fours."""
        fits = self.geometry.kernel[1] * self.in_channels <= _VECTOR_BYTES and self.geometry.dilation[1] == 1
        return self.dot == "sdot" and self.source == "interleaved" and fits

    @property
    def row_quads(self) -> int:
        """Dot products of such a row."""
        return -(-self.geometry.kernel[1] * self.in_channels // QUAD)

    @property
    def slack(self) -> int:
        """Bytes behind an interleaved source."""
        return _VECTOR_BYTES if self.by_rows else QUAD

    @property
    def stored_weights(self) -> int:
        """Weights of one output channel as they are packed, those that are zero included."""
        if self.by_rows:
            return self.geometry.kernel[0] * self.row_quads * QUAD
        channels = self.octets * OCTET if self.dot == "usmmla" else self.quads_in_all * QUAD
        return channels * self.geometry.taps

    @property
    def _last_channels(self) -> int:
        return self.in_channels - (self.in_blocks - 1) * self.channel_block


def write_integer_convolution(name: str, work: IntegerConvolution, tile: Tile) -> tirx.PrimFunc:
    """`name(source, weight, start, multiplier, [shift,] numbers, [factors,] [table,] [residual,] target, begin, end)`.

    The parameters between start and target are those of `requantize.Requantizer`.
    """
    return IntegerConvolutionWriter(name, work, tile).write()


class IntegerConvolutionWriter:
    """Writes one kernel; its methods follow the loops from the outside in."""

    def __init__(self, name: str, work: IntegerConvolution, tile: Tile) -> None:
        self.work, self.tile, self.lanes = work, tile, work.lanes
        self.geometry = work.geometry.flat() if work.geometry.is_pointwise else work.geometry
        self.f = Function(name)
        channels = work.out_blocks * self.lanes
        self.source = self.f.buffer("source", self._source_size(), "uint8", self._alignment(work.source))
        weights = channels * work.stored_weights * work.parts
        self.weight = self.f.buffer("weight", weights, dot_of(work.dot).dtype)
        classes = [len(work.geometry.border_classes(axis)) for axis in (0, 1)]
        self.column_classes = classes[1]
        self.start = self.f.buffer("start", classes[0] * classes[1] * channels, "int32")
        pixels = work.geometry.out_pixels
        self.end = Requantizer(self.f, work.ending, channels, self.lanes, channels * pixels)
        size = channels * pixels if work.target == "blocked" else work.out_channels * pixels
        self.target = self.f.buffer("target", size, "uint8", self._alignment(work.target))

    def _alignment(self, layout: Layout) -> int:
        return self.lanes if layout == "blocked" else 1

    def _source_size(self) -> int:
        work = self.work
        slack = work.slack if work.source == "interleaved" else 0
        return work.in_blocks * work.channel_block * work.geometry.pixels + slack

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            first, row = self.tile.split(self.f, self.work.geometry, self.work.out_blocks, task)
            for_tiles(self.f, self.work.geometry, row, self.tile.pixels, lambda place: self._tile(first, place))
        return self.f.finish()

    def _tile(self, first: Expr, place: Place) -> None:
        groups = range(self.tile.groups)
        tile = [[self.f.register(self.lanes, "int32") for _ in range(place.pixels)] for _ in groups]
        for group in groups:
            for pixel in range(place.pixels):
                tile[group][pixel].set(self._initial(first + group, place, pixel))
        self._reduce(tile, first, place)
        index = place.row * self.geometry.out[1] + place.start
        for group, registers in enumerate(tile):
            self._finish([register.get() for register in registers], first + group, index)

    def _initial(self, block: Expr, place: Place, pixel: int) -> Expr:
        """The sum before the first tap: depends on which taps the borders leave."""
        geometry = self.geometry
        if geometry.is_pointwise:
            border: Expr = 0
        else:
            column = geometry.class_of(1, inner_column(geometry) if place.inside else place.start + pixel)
            border = geometry.class_of(0, place.row) * self.column_classes + column
        return self.start.vector((border * self.work.out_blocks + block) * self.lanes, self.lanes)

    def _reduce(self, tile: list[list[Register]], first: Expr, place: Place) -> None:
        work = self.work
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(0, work.in_blocks, "in") as block, self.f.loop(top, stop, "kh") as kh:
            for columns_, taps in self._columns(place):
                with self.f.loop(*columns_, "kw") as kw, self.f.loop(0, work.quads(block), "quad") as quad:
                    self._accumulate(tile, taps, first, place, (block, kh, kw, quad))

    def _columns(self, place: Place) -> Iterator[tuple[tuple[int, int], list[int]]]:
        """Ranges of kernel columns with the pixels for which they exist.

        A loop over the columns where nothing is missing: unrolled, LLVM keeps the pixels that neighbouring
        columns share in registers, until the sums no longer fit.
        """
        if place.inside:
            yield (0, self.geometry.kernel[1]), list(range(place.pixels))
            return
        for kw, taps in columns(self.geometry, place):
            yield (kw, kw + 1), taps

    def _accumulate(
        self, tile: list[list[Register]], taps: list[int], first: Expr, place: Place, step: tuple[Expr, ...]
    ) -> None:
        """Add the products of one quad under one tap; step: input block, kernel row and column, quad."""
        lanes, parts, dot = self.lanes, self.work.parts, quad_dot_of(self.work.dot)
        block, kh, kw, quad = step
        y = self.geometry.source(0, place.row, kh)
        weights = self._weight_index(first, block, kh, kw, quad)
        for p in taps:
            x = self.geometry.source(1, place.start + p, kw)
            pixel = block * self.geometry.source_plane + y * self.geometry.size[1] + x
            four = dot.spread(self.f, self.source, pixel * self.work.channel_block + quad * QUAD, lanes)
            for group, registers in enumerate(tile):
                for number in range(parts):
                    at = weights + (group * parts + number) * lanes * QUAD
                    registers[p].set(dot.multiply(registers[p].get(), four, self.weight, at, lanes))

    def _weight_index(self, first: Expr, block: Expr, kh: Expr, kw: Expr, quad: Expr) -> Expr:
        """Where the vectors of one step of the reduction start: [O/(g v)][C/b][kh][kw][quad][g][part][v][4]."""
        work, taps = self.work, self.geometry.taps
        full = -(-work.channel_block // QUAD)
        before = first // self.tile.groups * work.quads_in_all * taps + block * full * taps
        step = before + (kh * self.geometry.kernel[1] + kw) * work.quads(block) + quad
        return step * self.tile.groups * work.parts * self.lanes * QUAD

    def _finish(self, totals: list[Expr], block: Expr, pixel: Expr) -> None:
        """Store the sums of neighbouring pixels, the first of which is `pixel`."""
        other, channel = (block * self.geometry.out_pixels + pixel) * self.lanes, block * self.lanes
        if self.work.target == "blocked":
            index = (block * self.geometry.target_plane + pixel) * self.lanes
            self.end.store(self.target, index, totals, channel, other)
            return
        for first in range(0, len(totals), VECTORS):
            some = totals[first : first + VECTORS]
            value = self.end.finish(some, channel, other + first * self.lanes)
            bytes_ = self.f.let("bytes", value, f"uint8x{VECTORS * self.lanes}")
            for place in range(len(some)):
                self._store_interleaved(part(bytes_, place * self.lanes, self.lanes), block, pixel + first + place)

    def _store_interleaved(self, value: Expr, block: Expr, pixel: Expr) -> None:
        """Write one vector of channels to [H][W][C], where the last block may be short."""
        work, lanes = self.work, self.lanes
        full, rest = divmod(work.out_channels, lanes)
        at = pixel * work.out_channels + block * lanes
        spill = self.f.stack(lanes, "uint8")
        spill.store(0, lanes, value)
        if full:
            with self.f.when(block < full if rest else True):
                self.target.store(at, lanes, spill.vector(0, lanes))
        if rest:
            with self.f.when(block == full):
                for lane in range(rest):
                    self.target[at + lane] = spill[lane]
