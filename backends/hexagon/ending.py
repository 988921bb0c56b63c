"""From int32 sums back to bytes, four vectors of 32 words at a time.

Requantization multiplies by a 31-bit fraction, shifts and rounds once, halves up (`fixed-point-single`). With
x the sum, m the fraction and s >= 1 the shift, four instructions do it and add the zero point z, exactly for
every int32 x, because (x m + 2^(30+s)) / 2^(31+s) rounded down is ((h >> (s - 1)) + 1) / 2 rounded down:

    e = vmpye(x, m)               x * low half of m / 2^16
    h = vmpyo(e, x, m):<<1:sat    x m / 2^31, rounded down
    vavg(vasr(h, s - 1), 2 z):rnd

Factors from 1/2 on would need s < 1: their sums are shifted left first (`raises`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from mdcompiler.backends.hexagon import instructions as hvx
from mdcompiler.backends.hexagon.instructions import LANES, VECTOR_BYTES
from mdcompiler.backends.kernels.look_up import TABLE_SIZE
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, splat

ADD_BITS = 20
"""Bits that TFLite's 8-bit ADD gains before it rescales its operands (kernels/add.cc)."""

# Places in the buffer of numbers.
TWICE_ZERO, LOW, HIGH = 0, 1, 2
OWN_ZERO, OTHER_ZERO, TWICE_SUM_ZERO, SUM_LOW, SUM_HIGH = 3, 4, 5, 6, 7
FACTORS = 8
"""Multiplier and shift of own, other and sum follow here."""
NUMBERS = 14
MULTIPLIER, RIGHT, LEFT = 0, 1, 2
"""Vectors of the scale of one block of channels; LEFT is there only when some factor needs it."""


@dataclass(frozen=True)
class Sum:
    """An addition of two tensors of bytes. Operands whose factor is 1/2 (the larger scale) need no product."""

    own_is_half: bool
    other_is_half: bool


@dataclass(frozen=True)
class Ending:
    """What follows the sums of a tile.

    raises: some factor is 1/2 or more. table: bytes go through a table of 256 afterwards. add: a second tensor is
    added after that.
    """

    raises: bool = False
    table: bool = False
    add: Sum | None = None

    @property
    def scale_vectors(self) -> int:
        """Vectors of scale for one block of channels."""
        return 3 if self.raises else 2


PLAIN = Ending()


class Finisher:
    """The parameters of one kernel's ending, and the code that uses them."""

    def __init__(self, f: Function, ending: Ending, blocks: int, residual_size: int) -> None:
        self.f, self.ending = f, ending
        self.scale = f.buffer("scale", blocks * ending.scale_vectors * LANES, "int32", VECTOR_BYTES)
        self.numbers = f.buffer("numbers", NUMBERS, "int32", VECTOR_BYTES)
        self.table = f.buffer("table", TABLE_SIZE, "uint8", VECTOR_BYTES) if ending.table else None
        self.residual = f.buffer("residual", residual_size, "uint8", VECTOR_BYTES) if ending.add else None

    def load_scale(self, block: Expr) -> list[Expr]:
        """The scale of one block, to be passed to `rescale`."""
        count = self.ending.scale_vectors
        return [self.scale.vector((block * count + part) * LANES, LANES) for part in range(count)]

    def rescale(self, total: Expr, scale: list[Expr]) -> Expr:
        """Words of the result with its zero point, not yet saturated."""
        if self.ending.raises:
            total = raise_sum(total, scale[LEFT])
        return rescale(total, scale[MULTIPLIER], scale[RIGHT], hvx.words(self.numbers[TWICE_ZERO]))

    def finish(self, four: list[Expr], index: Expr) -> Expr:
        """The bytes of four rescaled vectors. index: where they lie in the residual."""
        bytes_ = clamp(hvx.pack_bytes(four), self.numbers, LOW, HIGH)
        if self.table is not None:
            bytes_ = hvx.look_up(halves_of(self.table), bytes_)
        if self.residual is None or self.ending.add is None:
            return bytes_
        return add_bytes(bytes_, hvx.load_bytes(self.residual, index), self.numbers, self.ending.add)


def rescale(total: Expr, multiplier: Expr, right: Expr, twice_zero: Expr) -> Expr:
    """`total * multiplier / 2^(32 + right)`, rounded half up, plus half of `twice_zero`; see above."""
    product = hvx.high_product(hvx.low_product(total, multiplier), total, multiplier)
    return hvx.average_up(hvx.shift_right(product, right), twice_zero)


def raise_sum(total: Expr, left: Expr) -> Expr:
    """`total << left`; sums that would wrap are cut to where every result is saturated anyway."""
    bound = hvx.words(1 << 30) >> left
    return tirx.min(tirx.max(total, hvx.words(0) - bound), bound) << left


def add_bytes(own: Expr, other: Expr, numbers: Memory, add: Sum) -> Expr:
    """TFLite's ADD of 128 bytes, saturated and clamped."""
    four = [
        _sum(mine, theirs, numbers, add)
        for mine, theirs in zip(hvx.unpack_bytes(own), hvx.unpack_bytes(other), strict=True)
    ]
    return clamp(hvx.pack_bytes(four), numbers, SUM_LOW, SUM_HIGH)


def _sum(own: Expr, other: Expr, numbers: Memory, add: Sum) -> Expr:
    left = _operand(own - hvx.words(numbers[OWN_ZERO]), numbers, 0, add.own_is_half)
    right = _operand(other - hvx.words(numbers[OTHER_ZERO]), numbers, 1, add.other_is_half)
    return rescale(left + right, *_factor(numbers, 2), hvx.words(numbers[TWICE_SUM_ZERO]))


def _operand(value: Expr, numbers: Memory, place: int, is_half: bool) -> Expr:
    if is_half:
        return value << hvx.words(ADD_BITS - 1)
    return rescale(value << hvx.words(ADD_BITS), *_factor(numbers, place), hvx.words(0))


def _factor(numbers: Memory, place: int) -> tuple[Expr, Expr]:
    start = FACTORS + 2 * place
    return hvx.words(numbers[start]), hvx.words(numbers[start + 1])


def clamp(bytes_: Expr, numbers: Memory, low: int, high: int) -> Expr:
    """128 bytes within two of the numbers."""
    bounds = [splat(numbers[place].astype("uint8"), VECTOR_BYTES) for place in (low, high)]
    return hvx.as_words(tirx.min(tirx.max(hvx.as_bytes(bytes_), bounds[0]), bounds[1]))


def halves_of(table: Memory) -> list[Expr]:
    """Both halves of a table in the order of `hvx.look_up`."""
    return [hvx.load_bytes(table, start) for start in (0, VECTOR_BYTES)]
