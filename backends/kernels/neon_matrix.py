"""Convolution k x k and pointwise on bytes with Arm's matrix products (usmmla), channels in blocks of four.

Memory is that of `integer_convolution` with four lanes. usmmla multiplies two pixels of eight channels with the weights
of two output channels: 32 multiply-adds, twice those of sdot, and its first operand is unsigned, so no sign is
flipped. Eight channels of a pixel are one word of each of two channel blocks: a vector of four words from either block,
interleaved word by word, are two operands.

    block b:     a0 a1 a2 a3        operands:  a0 b0 | a1 b1
    block b + 1: b0 b1 b2 b3                   a2 b2 | a3 b3

Two vectors of sums hold a pair of pixels: output channels 0, 1 of either, and output channels 2, 3 of either.
A pixel of a pair that has no value under a tap is multiplied as zeros. Where the channel blocks are odd in number the
last one is read twice and meets weights that are zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.convolution import Tile
from mdcompiler.backends.kernels.dot_product import QUAD
from mdcompiler.backends.kernels.geometry import Place, columns
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution, IntegerConvolutionWriter
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.neon_rows import column_of, columns_of, pieces
from mdcompiler.backends.kernels.tir import Expr, Function, Register

_PIXELS = 2
"""Of one operand."""
_HALVES = 2
"""Vectors of weights, and of sums, that four output channels take."""
_STEP_BYTES = _HALVES * neon.BYTES
"""Weights of eight input and four output channels."""
_UNROLLED = (2, 1)
"""Pairs of channel blocks in one turn of a pointwise kernel's loop: as many as divide them."""
_LOW, _HIGH = [0, 1, 4, 5], [2, 3, 6, 7]

Sums = list[list[tuple[Register, Register]]]
"""[group][pair of pixels]: output channels 0, 1 and 2, 3 of both pixels."""


def suits_matrix(work: IntegerConvolution) -> bool:
    """Whether usmmla computes it."""
    return work.dot == "usmmla"


def write_matrix_convolution(name: str, work: IntegerConvolution, tile: Tile) -> tirx.PrimFunc:
    """The kernel with the parameters of `write_integer_convolution`; weights as `pack_weights` orders octets."""
    return _Writer(name, work, tile).write()


class _Writer(IntegerConvolutionWriter):
    """Reads a row of input once for all columns of the kernel."""

    def _tile(self, first: Expr, place: Place) -> None:
        sums = [self._start(first + group, place) for group in range(self.tile.groups)]
        self._sum(sums, first, place)
        index = place.row * self.geometry.out[1] + place.start
        for group, pairs in enumerate(sums):
            totals = [_half(pair, lanes) for pair in pairs for lanes in (_LOW, _HIGH)]
            self._finish(totals[: place.pixels], first + group, index)

    def _start(self, block: Expr, place: Place) -> list[tuple[Register, Register]]:
        """Registers of all pairs of pixels, with what their sums start from."""
        pairs = []
        for pixel in range(0, place.pixels, _PIXELS):
            own = [self._initial(block, place, min(pixel + i, place.pixels - 1)) for i in range(_PIXELS)]
            registers = self.f.register(neon.LANES, "int32"), self.f.register(neon.LANES, "int32")
            for register, lanes in zip(registers, (_LOW, _HIGH), strict=True):
                register.set(tirx.Shuffle(own, lanes))
            pairs.append(registers)
        return pairs

    def _sum(self, sums: Sums, first: Expr, place: Place) -> None:
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        taps = list(columns(self.geometry, place))
        for octet in self._octets():
            with self.f.loop(top, stop, "kh") as kh:
                row = _Row(self.f, self._row(octet, kh, place, columns_of(self.geometry, taps)))
                for kw, pixels in taps:
                    wanted = [column_of(self.geometry, p, kw) if p in pixels else None for p in range(place.pixels)]
                    self._tap(sums, row.operands(wanted), self._octet_index(first, octet, kh, kw))

    def _octets(self) -> Iterator[Expr]:
        count = self.work.octets
        together = next(n for n in _UNROLLED if count % n == 0) if self.geometry.is_pointwise else 1
        with self.f.loop(0, count // together, "in") as index:
            yield from (index * together + i for i in range(together))

    def _tap(self, sums: Sums, operands: Sequence[Expr | None], weights: Expr) -> None:
        """Add the products of eight channels under one tap. None: no pixel of a pair has the tap."""
        for group, pairs in enumerate(sums):
            for part in range(self.work.parts):
                at = weights + (group * self.work.parts + part) * _STEP_BYTES
                for half in range(_HALVES):
                    vector = self.weight.vector(at + half * neon.BYTES, neon.BYTES)
                    for pair, operand in zip(pairs, operands, strict=True):
                        if operand is not None:
                            pair[half].set(neon.usmmla(pair[half].get(), operand, vector))

    def _octet_index(self, first: Expr, octet: Expr, kh: Expr, kw: int) -> Expr:
        """Where the weights of one step start: [O/(g 4)][C/8][kh][kw][g][part][2][2][8]."""
        taps = self.geometry.taps
        step = (first // self.tile.groups * self.work.octets + octet) * taps + kh * self.geometry.kernel[1] + kw
        return step * self.tile.groups * self.work.parts * _STEP_BYTES

    def _row(self, octet: Expr, kh: Expr, place: Place, wanted: list[int]) -> dict[int, tuple[Expr, int]]:
        """Column -> two pixels of eight channels as int64x2, and which of the two it is."""
        y, x = self.geometry.source(0, place.row, kh), self.geometry.source(1, place.start, 0)
        inside = y * self.geometry.size[1] + x
        blocks = [octet * _HALVES, self._second(octet)]
        found: dict[int, tuple[Expr, int]] = {}
        for start, count in pieces(wanted[0], wanted[-1] + 1):
            words = [self._words(block * self.geometry.source_plane + inside + start, count) for block in blocks]
            for pair in range(-(-count // _PIXELS)):
                mixed = tirx.reinterpret("int64x2", neon.alternate(words, pair * _PIXELS, count))
                vector = self.f.let("x", mixed, "int64x2")
                place_of = range(pair * _PIXELS, min(count, (pair + 1) * _PIXELS))
                found = {start + i: (vector, i % _PIXELS) for i in place_of} | found
        return found

    def _second(self, octet: Expr) -> Expr:
        """The channel block that fills up an octet."""
        second = octet * _HALVES + 1
        if self.work.in_blocks % _HALVES == 0:
            return second
        last = self.work.in_blocks - 1
        return min(second, last) if isinstance(second, int) else tirx.min(second, last)

    def _words(self, pixel: Expr, count: int) -> Expr:
        """`count` pixels of one channel block as int32."""
        return tirx.reinterpret(_words_type(count), self.source.vector(pixel * QUAD, count * QUAD))


class _Row:
    """The pixels of one row of eight channels, in any pairs."""

    def __init__(self, f: Function, columns_: dict[int, tuple[Expr, int]]) -> None:
        self._f, self._columns = f, columns_
        self._made: dict[tuple[int | None, int | None], Expr] = {}

    def operands(self, wanted: Sequence[int | None]) -> list[Expr | None]:
        """The columns two by two as uint8x16; None: zeros. What is behind an odd last one is not defined."""
        pairs = [(wanted[i], wanted[i + 1] if i + 1 < len(wanted) else wanted[i]) for i in range(0, len(wanted), 2)]
        return [None if pair == (None, None) else self._pair(*pair) for pair in pairs]

    def _pair(self, left: int | None, right: int | None) -> Expr:
        if (left, right) not in self._made:
            self._made[left, right] = self._f.let("pair", self._mix(left, right), f"int8x{neon.BYTES}")
        return self._made[left, right]

    def _mix(self, left: int | None, right: int | None) -> Expr:
        nothing = (tirx.Broadcast(tirx.const(0, "int64"), _PIXELS), 0)
        low, high = (nothing if column is None else self._columns[column] for column in (left, right))
        mixed = tirx.Shuffle([low[0], high[0]], [low[1], _PIXELS + high[1]])
        return tirx.reinterpret(f"int8x{neon.BYTES}", mixed)


def _half(pair: tuple[Register, Register], lanes: list[int]) -> Expr:
    """The four output channels of one pixel."""
    return tirx.Shuffle([register.get() for register in pair], lanes)


def _words_type(count: int) -> str:
    return "int32" if count == 1 else f"int32x{count}"
