"""The first convolution on bytes on NEON: a row of the kernel over an interleaved picture is one vector.

Pixels [H][W][C] of few channels lie side by side, so what one kernel row of one output reads is kw C bytes in a row:
9 of 3 x 3 over three colours. They are loaded at once, and sdot takes them by fours across the borders of pixels; the
weights are packed in the same order, zeros behind the last. At the left and right border bytes that do not exist
become zeros after their sign was flipped (see `neon_convolution`), so that they add nothing.
"""

from __future__ import annotations

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.convolution import Tile
from mdcompiler.backends.kernels.geometry import Place
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution, IntegerConvolutionWriter
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Register, splat


def write_rows_convolution(name: str, work: IntegerConvolution, tile: Tile) -> tirx.PrimFunc:
    """The kernel with the parameters of `write_integer_convolution`; the source has `work.slack` bytes behind it."""
    return _Writer(name, work, tile).write()


class _Writer(IntegerConvolutionWriter):
    """Weights [O/(g v)][kh][quads][g][part][v][4]."""

    def _reduce(self, tile: list[list[Register]], first: Expr, place: Place) -> None:
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(top, stop, "kh") as kh:
            rows = [self._row(place, pixel, kh) for pixel in range(place.pixels)]
            for quad in range(self.work.row_quads):
                self._quad(tile, rows, self._quad_index(first, kh, quad), quad)

    def _quad(self, tile: list[list[Register]], rows: list[Expr], weights: Expr, quad: int) -> None:
        parts = self.work.parts
        for group, sums in enumerate(tile):
            for part in range(parts):
                vector = self.weight.vector(weights + (group * parts + part) * neon.BYTES, neon.BYTES)
                for register, row in zip(sums, rows, strict=True):
                    register.set(neon.sdot(register.get(), vector, row, neon.BYTES, quad))

    def _quad_index(self, first: Expr, kh: Expr, quad: int) -> Expr:
        step = (first // self.tile.groups * self.geometry.kernel[0] + kh) * self.work.row_quads + quad
        return step * self.tile.groups * self.work.parts * neon.BYTES

    def _row(self, place: Place, pixel: int, kh: Expr) -> Expr:
        """What one output reads of one row, signed, and bytes that meet zero weights behind it."""
        y, x = self.geometry.source(0, place.row, kh), self.geometry.source(1, place.start + pixel, 0)
        start = x if place.inside else max(x, 0)
        at = (y * self.geometry.size[1] + start) * self.work.in_channels
        vector = self.f.let("x", neon.signed(self.source.vector(at, neon.BYTES), neon.BYTES), f"int8x{neon.BYTES}")
        return vector if place.inside else self._without_border(vector, x, start)

    def _without_border(self, vector: Expr, x: int, start: int) -> Expr:
        """`vector`, loaded from column `start` on, moved to where column `x` is first; zeros outside the picture."""
        channels, order = self.work.in_channels, []
        for byte in range(neon.BYTES):
            column = x + byte // channels
            exists = 0 <= column < self.geometry.size[1]
            order.append(byte - (start - x) * channels if exists else neon.BYTES)
        nothing = splat(0, neon.BYTES, "int8")
        return self.f.let("x", tirx.Shuffle([vector, nothing], order), f"int8x{neon.BYTES}")
