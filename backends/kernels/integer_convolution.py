"""Convolution k x k and pointwise on bytes: uint8 x int8 -> int32 -> uint8, channels in blocks of one vector.

Memory: activations [C/v][H][W][v] uint8, weights in fours of input channels, see
`pack_weights.pack_integer_convolution`. With AVX512-VNNI one instruction (vpdpbusd) multiplies 64 bytes
and adds them by fours into 16 sums; without, the same sums are formed one channel at a time.

The zero point of the input never enters the loop: `start` holds, for every output channel and for every
set of taps that a border leaves, bias - zero_point * sum of the weights under those taps.

Weights that less their zero point do not fit int8 come in two parts that are added (`parts` = 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from mdcompiler.backends.kernels.convolution import ConvolutionShape, Layout, Tile
from mdcompiler.backends.kernels.geometry import Place, columns, for_tiles
from mdcompiler.backends.kernels.requantize import PLAIN_ENDING, Ending, Requantizer
from mdcompiler.backends.kernels.tir import Expr, Function, Register, splat

QUAD = 4
"""Input channels that one dot product takes."""
_VNNI = "llvm.x86.avx512.vpdpbusd.512"
_VNNI_LANES = 16


@dataclass(frozen=True)
class IntegerConvolution(ConvolutionShape):
    """A workload. An interleaved source has QUAD bytes of slack behind it.

    ending: what follows the sums. dot_product: the processor has AVX512-VNNI. parts: how many int8 tensors the
    weights are the sum of.
    """

    ending: Ending = PLAIN_ENDING
    dot_product: bool = False
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
    def _last_channels(self) -> int:
        return self.in_channels - (self.in_blocks - 1) * self.channel_block


def write_integer_convolution(name: str, work: IntegerConvolution, tile: Tile) -> tirx.PrimFunc:
    """`name(source, weight, start, multiplier, [shift,] numbers, [factors,] [table,] [residual,] target, begin, end)`.

    The parameters between start and target are those of `requantize.Requantizer`.
    """
    return _Writer(name, work, tile).write()


class _Writer:
    def __init__(self, name: str, work: IntegerConvolution, tile: Tile) -> None:
        self.work, self.tile, self.lanes = work, tile, work.lanes
        self.geometry = work.geometry.flat() if work.geometry.is_pointwise else work.geometry
        self.f = Function(name)
        channels = work.out_blocks * self.lanes
        self.source = self.f.buffer("source", self._source_size(), "uint8", self._alignment(work.source))
        weights = channels * work.quads_in_all * QUAD * work.geometry.taps * work.parts
        self.weight = self.f.buffer("weight", weights, "int8")
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
        slack = QUAD if work.source == "interleaved" else 0
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
        for group in groups:
            for pixel in range(place.pixels):
                index = place.row * self.geometry.out[1] + place.start + pixel
                self._finish(tile[group][pixel].get(), first + group, index)

    def _initial(self, block: Expr, place: Place, pixel: int) -> Expr:
        """The sum before the first tap: depends on which taps the borders leave."""
        geometry = self.geometry
        if geometry.is_pointwise:
            border: Expr = 0
        else:
            column = geometry.class_of(1, geometry.out[1] // 2 if place.inside else place.start + pixel)
            border = geometry.class_of(0, place.row) * self.column_classes + column
        return self.start.vector((border * self.work.out_blocks + block) * self.lanes, self.lanes)

    def _reduce(self, tile: list[list[Register]], first: Expr, place: Place) -> None:
        work = self.work
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(0, work.in_blocks, "in") as block, self.f.loop(top, stop, "kh") as kh:
            for kw, taps in columns(self.geometry, place):
                with self.f.loop(0, work.quads(block), "quad") as quad:
                    self._accumulate(tile, taps, first, place, block, kh, kw, quad)

    def _accumulate(
        self,
        tile: list[list[Register]],
        taps: list[int],
        first: Expr,
        place: Place,
        block: Expr,
        kh: Expr,
        kw: int,
        quad: Expr,
    ) -> None:
        plane, width = self.geometry.source_plane, self.geometry.size[1]
        y = self.geometry.source(0, place.row, kh)
        weights = self._weight_index(first, block, kh, kw, quad)
        for p in taps:
            x = self.geometry.source(1, place.start + p, kw)
            pixel = (block * plane + y * width + x) * self.work.channel_block + quad * QUAD
            for group, registers in enumerate(tile):
                for part in range(self.work.parts):
                    at = weights + (group * self.work.parts + part) * self.lanes * QUAD
                    registers[p].set(self._dot(registers[p].get(), pixel, at))

    def _dot(self, total: Expr, pixel: Expr, weights: Expr) -> Expr:
        """total[o] + sum over i of source[pixel + i] * weight[o, i], i < 4."""
        lanes = self.lanes
        if self.work.dot_product and lanes == _VNNI_LANES:
            four = tirx.reinterpret("int32", self.source.vector(pixel, QUAD))
            spread = tirx.reinterpret(f"int8x{lanes * QUAD}", splat(four, lanes))
            bytes_ = self.weight.vector(weights, lanes * QUAD)
            return tirx.call_llvm_pure_intrin(f"int32x{lanes}", _VNNI, total, spread, bytes_)
        for i in range(QUAD):
            value = splat(self.source[pixel + i].astype("int32"), lanes)
            weight = self.weight[tirx.Ramp(weights + i, QUAD, lanes)].astype(f"int32x{lanes}")
            total = total + value * weight
        return total

    def _weight_index(self, first: Expr, block: Expr, kh: Expr, kw: int, quad: Expr) -> Expr:
        """Where the vectors of one step of the reduction start: [O/(g v)][C/b][kh][kw][quad][g][part][v][4]."""
        work, taps = self.work, self.geometry.taps
        full = -(-work.channel_block // QUAD)
        before = first // self.tile.groups * work.quads_in_all * taps + block * full * taps
        step = before + (kh * self.geometry.kernel[1] + kw) * work.quads(block) + quad
        return step * self.tile.groups * work.parts * self.lanes * QUAD

    def _finish(self, total: Expr, block: Expr, pixel: Expr) -> None:
        work, lanes = self.work, self.lanes
        other = (block * self.geometry.out_pixels + pixel) * lanes
        value = self.end.finish(total, block * lanes, other).astype(f"uint8x{lanes}")
        if work.target == "blocked":
            self.target.store((block * self.geometry.target_plane + pixel) * lanes, lanes, value)
            return
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
