"""The first convolution in float32 on NEON: a row of the kernel over an interleaved picture is read in whole vectors.

Pixels [H][W][C] of few channels lie side by side, so what one kernel row of one output reads is kw C floats in a row.
They are loaded by fours across the borders of pixels, the last four overlapping those before, and each multiplies the
weights of all output channels as an element of its vector (fmla). Read one by one every float takes a register and a
load of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from mdcompiler.backends.kernels.convolution import Convolution, ConvolutionWriter, Tile
from mdcompiler.backends.kernels.geometry import Place
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.neon import LANES
from mdcompiler.backends.kernels.tir import Expr, Register, splat


def suits_picture(work: Convolution) -> bool:
    """Whether the floats under a row of the kernel follow one another and fill a vector."""
    floats = work.geometry.kernel[1] * work.in_channels
    return work.by_element and work.source == "interleaved" and work.geometry.dilation[1] == 1 and floats >= LANES


def row_vectors(work: Convolution) -> int:
    """Vectors that hold the floats under a row of the kernel."""
    return -(-work.geometry.kernel[1] * work.in_channels // LANES)


def write_picture_convolution(name: str, work: Convolution, tile: Tile) -> tirx.PrimFunc:
    """The kernel with the parameters and the weights of `write_convolution`."""
    return _Writer(name, work, tile).write()


class _Writer(ConvolutionWriter):
    def _reduce(self, tile: list[list[Register]], first: Expr, place: Place) -> None:
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(top, stop, "kh") as kh:
            for start in range(0, self.geometry.kernel[1] * self.work.in_channels, LANES):
                self._vector(tile, first, place, kh, start)

    def _vector(self, tile: list[list[Register]], first: Expr, place: Place, kh: Expr, start: int) -> None:
        """Add the products of up to four floats of a row, the first of which is number `start`."""
        elements: dict[int, list[tuple[int, Expr]]] = {}
        for pixel in range(place.pixels):
            for element, value in self._elements(place, pixel, kh, start):
                elements.setdefault(element, []).append((pixel, value))
        for element, values in sorted(elements.items()):
            kw, c = divmod(element, self.work.in_channels)
            weights = self._weight_index(first, 0, kh, kw, c)
            for group, registers in enumerate(tile):
                lanes = registers[0].lanes
                weight = self.weight.vector(weights + group * self.lanes, lanes)
                for pixel, value in values:
                    registers[pixel].set(registers[pixel].get() + splat(value, lanes) * weight)

    def _elements(self, place: Place, pixel: int, kh: Expr, start: int) -> Iterator[tuple[int, Expr]]:
        """The floats from number `start` on of the row under one output, with their numbers; at most four."""
        begin, end = self._existing(place, pixel)
        low, high = max(start, begin), min(start + LANES, end)
        if low >= high:
            return
        at = self._source_index(0, self.geometry.source(0, place.row, kh), self._column(place, pixel), 0)
        if end - begin < LANES:
            yield from ((element, self.source[at + element]) for element in range(low, high))
            return
        first = max(begin, min(low, end - LANES))
        vector = self.f.let("x", self.source.vector(at + first, LANES), f"float32x{LANES}")
        yield from ((element, tirx.Shuffle([vector], [element - first])) for element in range(low, high))

    def _existing(self, place: Place, pixel: int) -> tuple[int, int]:
        """Which of the floats under a row lie inside the picture."""
        taps = range(self.geometry.kernel[1])
        columns = [kw for kw in taps if place.inside or self.geometry.exists(1, place.start + pixel, kw)]
        return columns[0] * self.work.in_channels, (columns[-1] + 1) * self.work.in_channels

    def _column(self, place: Place, pixel: int) -> Expr:
        return self.geometry.source(1, place.start + pixel, 0)
