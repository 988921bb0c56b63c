"""Depthwise convolution on bytes on NEON: 16-bit products added into 32 bits (smlal), channels in blocks of four.

A row of input is widened to 16 bits once and serves all columns of the kernel; two pixels share a vector, so the
four weights of a tap are stored twice, one copy for each half. The zero point of the input is in `start`, as in
`integer_convolution`.
"""

from __future__ import annotations

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.geometry import Place, columns
from mdcompiler.backends.kernels.integer_window import IntegerWindow
from mdcompiler.backends.kernels.neon_rows import column_of, columns_of, pieces
from mdcompiler.backends.kernels.neon_window import RowWriter
from mdcompiler.backends.kernels.tir import Expr, Register

_HALVES = 2
_PAIR = neon.LANES * _HALVES


class HalvesWriter(RowWriter):
    """weight int16 [C/4][kh][kw][2][4]."""

    def __init__(self, name: str, work: IntegerWindow, pixels: int) -> None:
        size = work.blocks * work.geometry.taps * _PAIR
        super().__init__(name, work, pixels, (size, "int16"), work.geometry)

    def row(self, sums: list[Register], block: Expr, place: Place, kh: Expr) -> None:
        """All taps of one kernel row."""
        taps = list(columns(self.geometry, place))
        words = self._words(block, kh, place, columns_of(self.geometry, taps))
        for kw, pixels in taps:
            tap = block * self.geometry.taps + kh * self.geometry.kernel[1] + kw
            weights = self.weight.vector(tap * _PAIR, _PAIR)
            for pixel in pixels:
                pair, half = words[column_of(self.geometry, pixel, kw)]
                sums[pixel].set(neon.smlal(sums[pixel].get(), pair, weights, half))

    def _words(self, block: Expr, kh: Expr, place: Place, wanted: list[int]) -> dict[int, tuple[Expr, int]]:
        """Column -> the int16x8 that holds its four channels, and which half of it they are."""
        words: dict[int, tuple[Expr, int]] = {}
        y, x = self.geometry.source(0, place.row, kh), self.geometry.source(1, place.start, 0)
        for start, count in pieces(wanted[0], wanted[-1] + 1):
            loaded = self.source.vector(self.source_index(block, y, x + start), count * neon.LANES)
            for pair, values in enumerate(neon.pairs(loaded, count)):
                vector = self.f.let("x", values, "int16x8")
                words = {start + _HALVES * pair + half: (vector, half) for half in range(min(_HALVES, count))} | words
        return words
