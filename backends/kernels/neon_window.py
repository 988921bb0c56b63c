"""Depthwise convolution on bytes on NEON by dot products over four neighbours in a row, channels in blocks of four.

A vector of input is four pixels [4][4] of a channel block. What sdot takes is [channel][4 pixels], the pixels being
those under four taps of a kernel row: one table look-up (tbl) in two neighbouring vectors makes it, from any column on.
That is one permutation and one product for four taps, where products of 16 bits (`neon_depthwise`) take four and must
widen the input first. Kernel rows are filled up to fours with zero weights, as in `integer_window`; pixels that do not
exist are permuted in as zeros after their sign was flipped (`neon_convolution`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.dot_product import QUAD
from mdcompiler.backends.kernels.geometry import Place
from mdcompiler.backends.kernels.integer_window import IntegerWindow, WindowWriter
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.neon_rows import pieces
from mdcompiler.backends.kernels.tir import Expr, Register, splat

Word = tuple[Expr, int]
"""A vector of four pixels as int8x16, and which of them."""


class RowWriter(WindowWriter):
    """A window whose sums take one row of the kernel after the other."""

    def totals(self, block: Expr, place: Place) -> list[Expr]:
        sums = [self.f.register(neon.LANES, "int32") for _ in range(place.pixels)]
        for pixel, total in enumerate(sums):
            total.set(self.initial(block, place, pixel))
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(top, stop, "kh") as kh:
            self.row(sums, block, place, kh)
        return [total.get() for total in sums]

    @abstractmethod
    def row(self, sums: list[Register], block: Expr, place: Place, kh: Expr) -> None:
        """Add all taps of one kernel row."""


class NeonQuadWriter(RowWriter):
    """weight int8 [C/4][kh][quads][4][4]."""

    def __init__(self, name: str, work: IntegerWindow, pixels: int) -> None:
        size = work.blocks * work.geometry.kernel[0] * work.quads * neon.BYTES
        super().__init__(name, work, pixels, (size, "int8"), work.geometry)

    def row(self, sums: list[Register], block: Expr, place: Place, kh: Expr) -> None:
        """All taps of one kernel row."""
        words = self._words(block, kh, place)
        made: dict[int, Expr] = {}
        for quad in range(self.work.quads):
            at = ((block * self.geometry.kernel[0] + kh) * self.work.quads + quad) * neon.BYTES
            weights = self.weight.vector(at, neon.BYTES)
            taps = min(QUAD, self.geometry.kernel[1] - quad * QUAD)
            for pixel, total in enumerate(sums):
                column = pixel * self.geometry.stride[1] + quad * QUAD
                if column not in made:
                    made[column] = self._window(words, column, taps)
                total.set(neon.sdot_each(total.get(), weights, made[column]))

    def _words(self, block: Expr, kh: Expr, place: Place) -> dict[int, Word]:
        """The columns under the tile that exist, counted from the first tap's."""
        y, first = self.geometry.source(0, place.row, kh), self.geometry.source(1, place.start, 0)
        start, stop = self._reach(place, first)
        words: dict[int, Word] = {}
        for column, count in pieces(start, stop):
            loaded = self.source.vector(self.source_index(block, y, first + column), count * neon.LANES)
            vector = self.f.let("x", neon.signed(loaded, neon.BYTES), f"int8x{neon.BYTES}")
            words = {column + i: (vector, i) for i in range(count)} | words
        return words

    def _reach(self, place: Place, first: Expr) -> tuple[int, int]:
        """The columns that exist, at least four: a tile at the border knows where it is."""
        start, stop = 0, (place.pixels - 1) * self.geometry.stride[1] + self.geometry.kernel[1]
        if isinstance(first, int):
            start, stop = max(start, -first), min(stop, self.geometry.size[1] - first)
            start = max(min(start, stop - QUAD), -first)
            stop = max(stop, start + QUAD)
        return start, stop

    def _window(self, words: dict[int, Word], column: int, taps: int) -> Expr:
        """[channel][4 pixels] from `column` on; what lies beyond `taps` is not defined."""
        nothing: Word = (splat(0, neon.BYTES, "int8"), 0)
        wanted = [words.get(column + tap, nothing) for tap in range(taps)]
        return self.f.let("quad", _gather(wanted + wanted[:1] * (QUAD - taps)), f"int8x{neon.BYTES}")


def _gather(pixels: Sequence[Word]) -> Expr:
    """Four pixels of four channels as [channel][pixel]: one permutation for two vectors, another for each one more."""
    vectors = list({id(vector): vector for vector, _ in pixels}.values())
    mixed: Expr = None
    for vector in vectors:
        own = [other is vector for other, _ in pixels] * neon.LANES
        bytes_ = [word * neon.LANES + channel for channel in range(neon.LANES) for _, word in pixels]
        if mixed is None:
            mixed, place = vector, bytes_
            continue
        order = [neon.BYTES + byte if mine else at for byte, at, mine in zip(bytes_, place, own, strict=True)]
        mixed, place = tirx.Shuffle([mixed, vector], order), list(range(neon.BYTES))
    return mixed if len(vectors) > 1 else tirx.Shuffle([mixed], place)
