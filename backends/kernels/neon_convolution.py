"""Convolution k x k and pointwise on bytes with Arm's dot products (sdot), channels in blocks of four.

Memory is that of `integer_convolution` with four lanes: one pixel of a channel block is one word, so a vector of
input holds four neighbouring pixels, and sdot multiplies the weights of four output channels with any of them.

sdot wants signed bytes: the top bit of the input is flipped as it is loaded, which takes 128 from every value.
The table `start` is made for a zero point that is 128 lower, so the sums are the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.convolution import Tile
from mdcompiler.backends.kernels.dot_product import QUAD
from mdcompiler.backends.kernels.geometry import Place, columns
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution, IntegerConvolutionWriter
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.neon_rows import column_of, columns_of, pieces
from mdcompiler.backends.kernels.tir import Expr, Register

Words = dict[int, tuple[Expr, int, int]]
"""Column -> a vector that holds its four channels, the bytes of the vector, and which word of it they are."""
_UNROLLED = (4, 2, 1)
"""Channel blocks in one turn of a pointwise kernel's loop: as many as divide them."""


def suits_neon(work: IntegerConvolution) -> bool:
    """Whether each pixel of a channel block is one word that sdot can take."""
    return work.dot == "sdot" and work.source == "blocked"


def write_neon_convolution(name: str, work: IntegerConvolution, tile: Tile) -> tirx.PrimFunc:
    """The kernel with the parameters of `write_integer_convolution`."""
    return _Writer(name, work, tile).write()


class _Writer(IntegerConvolutionWriter):
    """Reads a row of input once for all columns of the kernel."""

    def _reduce(self, tile: list[list[Register]], first: Expr, place: Place) -> None:
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        taps = list(columns(self.geometry, place))
        for block in self._blocks():
            with self.f.loop(top, stop, "kh") as kh:
                words = self._row(block, kh, place, columns_of(self.geometry, taps))
                for kw, pixels in taps:
                    weights = self._weight_index(first, block, kh, kw, 0)
                    self._tap(tile, words, pixels, weights, kw)

    def _blocks(self) -> Iterator[Expr]:
        count = self.work.in_blocks
        together = next(n for n in _UNROLLED if count % n == 0) if self.geometry.is_pointwise else 1
        with self.f.loop(0, count // together, "in") as index:
            yield from (index * together + i for i in range(together))

    def _tap(self, tile: list[list[Register]], words: Words, pixels: list[int], weights: Expr, kw: int) -> None:
        parts = self.work.parts
        for group, sums in enumerate(tile):
            for part in range(parts):
                vector = self.weight.vector(weights + (group * parts + part) * neon.BYTES, neon.BYTES)
                for pixel in pixels:
                    word = words[column_of(self.geometry, pixel, kw)]
                    sums[pixel].set(neon.sdot(sums[pixel].get(), vector, *word))

    def _row(self, block: Expr, kh: Expr, place: Place, wanted: list[int]) -> Words:
        """Load what one kernel row of a tile reads."""
        y, x = self.geometry.source(0, place.row, kh), self.geometry.source(1, place.start, 0)
        origin = block * self.geometry.source_plane + y * self.geometry.size[1] + x
        words: Words = {}
        for start, count in pieces(wanted[0], wanted[-1] + 1):
            loaded = self.source.vector((origin + start) * self.work.channel_block, count * QUAD)
            loaded, size = (neon.four_times(loaded), neon.BYTES) if count == 1 else (loaded, count * QUAD)
            vector = self.f.let("x", neon.signed(loaded, size), f"int8x{size}")
            words = {start + i: (vector, size, i) for i in range(count)} | words
        return words
