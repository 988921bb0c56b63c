"""Depthwise convolution on bytes, channels in blocks of one vector.

The products are formed and added in float32: |x| <= 255 and |w| <= 255 over at most 256 taps stay below
2^24, so every sum is exact, and float32 multiply-adds are faster than int32 ones. The zero point of the
input is in `start`, as in `integer_convolution`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from mdcompiler.backends.kernels.depthwise import WindowShape
from mdcompiler.backends.kernels.geometry import Place, columns, row_tiles
from mdcompiler.backends.kernels.requantize import PLAIN_ENDING, Ending, Requantizer
from mdcompiler.backends.kernels.tir import Expr, Function, Register, splat

MOST_TAPS = 256


@dataclass(frozen=True)
class IntegerWindow(WindowShape):
    """A workload: one filter for each channel. ending: what follows the sums."""

    ending: Ending = PLAIN_ENDING


def write_integer_window(name: str, work: IntegerWindow, pixels: int) -> tirx.PrimFunc:
    """`name(source, weight, start, …requantizer…, target, begin, end)`; weight float32 [C/v][kh][kw][v]."""
    return _Writer(name, work, pixels).write()


class _Writer:
    def __init__(self, name: str, work: IntegerWindow, pixels: int) -> None:
        self.work, self.pixels, self.lanes, self.geometry = work, pixels, work.lanes, work.geometry
        self.f = Function(name)
        channels = work.blocks * self.lanes
        self.source = self.f.buffer("source", channels * self.geometry.pixels, "uint8", self.lanes)
        self.weight = self.f.buffer("weight", channels * self.geometry.taps)
        rows, self.column_classes = (len(self.geometry.border_classes(axis)) for axis in (0, 1))
        self.start = self.f.buffer("start", rows * self.column_classes * channels, "int32")
        self.end = Requantizer(self.f, work.ending, channels, self.lanes, channels * self.geometry.out_pixels)
        self.target = self.f.buffer("target", channels * self.geometry.out_pixels, "uint8", self.lanes)

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            block = self.f.let("block", task // self.geometry.out[0])
            row = self.f.let("row", task % self.geometry.out[0])
            for start, count, pixels, inside in row_tiles(self.geometry, self.pixels):
                with self.f.loop(0, count, "tile") as index:
                    self._tile(block, Place(row, start + index * pixels, pixels, inside))
        return self.f.finish()

    def _tile(self, block: Expr, place: Place) -> None:
        registers = [self.f.register(self.lanes) for _ in range(place.pixels)]
        for register in registers:
            register.set(splat(0.0, self.lanes))
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(top, stop, "kh") as kh:
            for kw, taps in columns(self.geometry, place):
                for pixel in taps:
                    self._tap(registers[pixel], block, place, pixel, kh, kw)
        for pixel, register in enumerate(registers):
            total = register.get().astype(f"int32x{self.lanes}") + self._initial(block, place, pixel)
            index = place.row * self.geometry.out[1] + place.start + pixel
            other = (block * self.geometry.out_pixels + index) * self.lanes
            value = self.end.finish(total, block * self.lanes, other).astype(f"uint8x{self.lanes}")
            self.target.store((block * self.geometry.target_plane + index) * self.lanes, self.lanes, value)

    def _tap(self, register: Register, block: Expr, place: Place, pixel: int, kh: Expr, kw: int) -> None:
        geometry, lanes = self.geometry, self.lanes
        y, x = geometry.source(0, place.row, kh), geometry.source(1, place.start + pixel, kw)
        index = (block * geometry.source_plane + y * geometry.size[1] + x) * lanes
        value = self.source.vector(index, lanes).astype(f"int32x{lanes}").astype(f"float32x{lanes}")
        weight = self.weight.vector((block * geometry.taps + kh * geometry.kernel[1] + kw) * lanes, lanes)
        register.set(register.get() + value * weight)

    def _initial(self, block: Expr, place: Place, pixel: int) -> Expr:
        geometry = self.geometry
        column = geometry.class_of(1, geometry.out[1] // 2 if place.inside else place.start + pixel)
        border = geometry.class_of(0, place.row) * self.column_classes + column
        return self.start.vector((border * self.work.blocks + block) * self.lanes, self.lanes)
