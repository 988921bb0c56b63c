"""Depthwise convolution on bytes, channels in blocks of one vector.

The products are formed and added in float32: |x| <= 255 and |w| <= 255 over at most 256 taps stay below
2^24, so every sum is exact, and float32 multiply-adds are faster than int32 ones. The zero point of the
input is in `start`, as in `integer_convolution`. Where the processor has better instructions,
`integer_window` and `neon_window` take four taps at a time.
"""

from __future__ import annotations

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.geometry import Place, columns
from mdcompiler.backends.kernels.integer_window import IntegerWindow, QuadWriter, WindowWriter
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.neon_depthwise import HalvesWriter
from mdcompiler.backends.kernels.neon_window import NeonQuadWriter
from mdcompiler.backends.kernels.tir import Expr, Register, splat

MOST_TAPS = 256


def write_integer_window(name: str, work: IntegerWindow, pixels: int) -> tirx.PrimFunc:
    """`name(source, weight, start, …requantizer…, target, begin, end)`; weight: see `pack_integer_window`."""
    if work.by_halves:
        return HalvesWriter(name, work, pixels).write()
    if work.by_quads and work.lanes == neon.LANES:
        return NeonQuadWriter(name, work, pixels).write()
    return (QuadWriter if work.by_quads else _FloatWriter)(name, work, pixels).write()


class _FloatWriter(WindowWriter):
    """weight float32 [C/v][kh][kw][v]."""

    def __init__(self, name: str, work: IntegerWindow, pixels: int) -> None:
        size = work.blocks * work.lanes * work.geometry.taps
        super().__init__(name, work, pixels, (size, "float32"), work.geometry)

    def totals(self, block: Expr, place: Place) -> list[Expr]:
        registers = [self.f.register(self.lanes) for _ in range(place.pixels)]
        for register in registers:
            register.set(splat(0.0, self.lanes))
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(top, stop, "kh") as kh:
            for kw, taps in columns(self.geometry, place):
                for pixel in taps:
                    self._tap(registers[pixel], block, place, pixel, kh, kw)
        integers = f"int32x{self.lanes}"
        return [
            register.get().astype(integers) + self.initial(block, place, pixel)
            for pixel, register in enumerate(registers)
        ]

    def _tap(self, register: Register, block: Expr, place: Place, pixel: int, kh: Expr, kw: int) -> None:
        geometry, lanes = self.geometry, self.lanes
        y, x = geometry.source(0, place.row, kh), geometry.source(1, place.start + pixel, kw)
        value = self.source.vector(self.source_index(block, y, x), lanes)
        weight = self.weight.vector((block * geometry.taps + kh * geometry.kernel[1] + kw) * lanes, lanes)
        register.set(register.get() + value.astype(f"int32x{lanes}").astype(f"float32x{lanes}") * weight)
