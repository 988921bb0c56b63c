"""Depthwise convolution on bytes by dot products over four neighbours in a row.

A dot product instruction adds four bytes of one lane, so four pixels [4][v] are turned into [v][4] by one
permutation of bytes and meet four taps of a kernel row at once: with AVX512-VNNI and VBMI two instructions
for what takes three for each tap in float32 (`integer_depthwise`). Kernel rows are filled up to fours with
zero weights. At the left and right border the four pixels are read from inside the row and those that do
not exist are permuted in as zeros, so nothing outside the picture is ever read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mdcompiler.backends.kernels.depthwise import WindowShape
from mdcompiler.backends.kernels.dot_product import QUAD, vpdpbusd
from mdcompiler.backends.kernels.geometry import Geometry, Place, row_tiles
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.requantize import PLAIN_ENDING, Ending, Requantizer
from mdcompiler.backends.kernels.tir import Expr, Function, Register, splat


@dataclass(frozen=True)
class IntegerWindow(WindowShape):
    """A workload: one filter for each channel.

    ending: what follows the sums. by_quads: four taps at once, with the instructions of this file or, four lanes
    being NEON's, of `neon_window`. by_halves: with Arm's smlal (`neon_depthwise`). Otherwise in float32.
    """

    ending: Ending = PLAIN_ENDING
    by_quads: bool = False
    by_halves: bool = False

    @property
    def quads(self) -> int:
        """Dot products of one kernel row."""
        return -(-self.geometry.kernel[1] // QUAD)


def fits_quads(geometry: Geometry) -> bool:
    """Whether four pixels of a row exist and follow one another under a kernel row."""
    return geometry.size[1] >= QUAD and geometry.dilation[1] == 1


class WindowWriter:
    """What every writer of a window on bytes has: parameters, tiles, first and last step of a sum.

    weight: elements and type of its parameter. reach: the window whose tiles are free of borders.
    """

    def __init__(self, name: str, work: IntegerWindow, pixels: int, weight: tuple[int, str], reach: Geometry) -> None:
        self.work, self.pixels, self.lanes, self.geometry, self.reach = work, pixels, work.lanes, work.geometry, reach
        self.f = Function(name)
        channels = work.blocks * self.lanes
        self.source = self.f.buffer("source", channels * self.geometry.pixels, "uint8", self.lanes)
        self.weight = self.f.buffer("weight", *weight)
        rows, self.column_classes = (len(self.geometry.border_classes(axis)) for axis in (0, 1))
        self.start = self.f.buffer("start", rows * self.column_classes * channels, "int32")
        self.end = Requantizer(self.f, work.ending, channels, self.lanes, channels * self.geometry.out_pixels)
        self.target = self.f.buffer("target", channels * self.geometry.out_pixels, "uint8", self.lanes)

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            block = self.f.let("block", task // self.geometry.out[0])
            row = self.f.let("row", task % self.geometry.out[0])
            for start, count, pixels, inside in row_tiles(self.reach, self.pixels):
                with self.f.loop(0, count, "tile") as index:
                    place = Place(row, start + index * pixels, pixels, inside)
                    self._store(self.totals(block, place), block, row * self.geometry.out[1] + place.start)
        return self.f.finish()

    def _store(self, totals: list[Expr], block: Expr, pixel: Expr) -> None:
        """Finish neighbouring pixels, the first of which is `pixel`."""
        other, index = (
            (block * plane + pixel) * self.lanes for plane in (self.geometry.out_pixels, self.geometry.target_plane)
        )
        self.end.store(self.target, index, totals, block * self.lanes, other)

    def totals(self, block: Expr, place: Place) -> list[Expr]:
        """The sums of a tile's pixels as int32 vectors."""
        raise NotImplementedError

    def initial(self, block: Expr, place: Place, pixel: int) -> Expr:
        """The sum before the first tap: depends on which taps the borders leave."""
        geometry = self.geometry
        column = geometry.class_of(1, inner_column(geometry) if place.inside else place.start + pixel)
        border = geometry.class_of(0, place.row) * self.column_classes + column
        return self.start.vector((border * self.work.blocks + block) * self.lanes, self.lanes)

    def source_index(self, block: Expr, y: Expr, x: Expr) -> Expr:
        return (block * self.geometry.source_plane + y * self.geometry.size[1] + x) * self.lanes


def inner_column(geometry: Geometry) -> int:
    """An output column none of whose taps is outside the picture."""
    return next(column for column in range(geometry.out[1]) if geometry.inside(column, 1))


class QuadWriter(WindowWriter):
    """weight int8 [C/v][kh][quads][v][4]."""

    def __init__(self, name: str, work: IntegerWindow, pixels: int) -> None:
        geometry = work.geometry
        self.taps = work.quads * QUAD
        size = work.blocks * work.lanes * geometry.kernel[0] * self.taps
        reach = replace(geometry, kernel=(geometry.kernel[0], self.taps))
        super().__init__(name, work, pixels, (size, "int8"), reach)

    def totals(self, block: Expr, place: Place) -> list[Expr]:
        registers = [self.f.register(self.lanes, "int32") for _ in range(place.pixels)]
        for pixel, register in enumerate(registers):
            register.set(self.initial(block, place, pixel))
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(top, stop, "kh") as kh:
            self._row(registers, block, place, kh)
        return [register.get() for register in registers]

    def _row(self, registers: list[Register], block: Expr, place: Place, kh: Expr) -> None:
        row = self.source_index(block, self.geometry.source(0, place.row, kh), 0)
        seen: dict[int, Expr] = {}
        for quad in range(self.work.quads):
            at = ((block * self.geometry.kernel[0] + kh) * self.work.quads + quad) * QUAD * self.lanes
            weight = self.weight.vector(at, QUAD * self.lanes)
            for pixel, register in enumerate(registers):
                column = pixel * self.geometry.stride[1] + quad * QUAD
                if column not in seen:
                    seen[column] = self._neighbours(row, place, column)
                register.set(vpdpbusd(register.get(), seen[column], weight, self.lanes))

    def _neighbours(self, row: Expr, place: Place, column: int) -> Expr:
        """Four pixels from `column` after the first that the tile sees, as bytes [v][4], zeros outside the row."""
        lanes, width = self.lanes, self.geometry.size[1]
        first = self.geometry.source(1, place.start, 0) + column
        start = first if place.inside else min(max(first, 0), width - QUAD)
        pixels = self.source.vector(row + start * lanes, QUAD * lanes)
        order = []
        for lane in range(lanes):
            for i in range(QUAD):
                exists = place.inside or 0 <= first + i < width
                order.append((first + i - start) * lanes + lane if exists and not place.inside else i * lanes + lane)
                if not exists:
                    order[-1] = QUAD * lanes
        signed = tirx.reinterpret(f"int8x{QUAD * lanes}", pixels)
        zeros = splat(0, QUAD * lanes, "int8")
        mixed = tirx.Shuffle([signed, zeros], [tirx.const(int(index), "int32") for index in order])
        return self.f.let("quad", mixed, f"int8x{QUAD * lanes}")
