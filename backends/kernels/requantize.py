"""From int32 sums back to bytes: requantization, tables and residuals at the end of an integer tile.

The arithmetic is that of the integer reference (`mdcompiler.quantization`), bit for bit. Zero points,
bounds and factors are read from parameter buffers, so kernels of equal shape share their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.look_up import TABLE_SIZE, look_up
from mdcompiler.backends.kernels.saturate import VECTORS, Processor, nearest, part, to_bytes
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, splat, vector_type
from mdcompiler.known import unknown

Rounding = Literal["float-half-even", "fixed-point-double", "fixed-point-single"]
ADD_BITS = 20
"""Bits that TFLite's 8-bit ADD gains before it rescales its operands (kernels/add.cc)."""

# Places in the buffer of numbers.
ZERO, LOW, HIGH = 0, 1, 2
SUM_ZERO, SUM_LOW, SUM_HIGH, OWN_ZERO, OTHER_ZERO = 3, 4, 5, 6, 7
FACTORS = 8
"""Fixed point: multiplier and shift of own, other and sum follow here."""
NUMBERS = 14


@dataclass(frozen=True)
class Ending:
    """What follows the sums of a tile.

    rounding: rule of requantization. table: bytes go through a table of 256 afterwards. residual: a second
    tensor is added after that. permutes_bytes: the processor permutes bytes by a 512-bit table (AVX512-VBMI).
    processor: whose instructions round and pack. clamp: the bounds of what the multiplier gives are not 0 and 255.
    """

    rounding: Rounding = "float-half-even"
    table: bool = False
    residual: bool = False
    permutes_bytes: bool = False
    processor: Processor = "any"
    clamp: bool = True


PLAIN_ENDING = Ending()


class Requantizer:
    """The parameters of one kernel's ending, and the code that uses them."""

    def __init__(self, f: Function, ending: Ending, channels: int, lanes: int, residual_size: int) -> None:
        self.f, self.ending, self.lanes = f, ending, lanes
        fixed = ending.rounding != "float-half-even"
        self.multiplier = f.buffer("multiplier", channels, "int32" if fixed else "float32")
        self.shift = f.buffer("shift", channels, "int32") if fixed else None
        self.numbers = f.buffer("numbers", NUMBERS, "int32")
        self.factors = f.buffer("factors", 2) if ending.residual else None
        self.table = f.buffer("table", TABLE_SIZE, "uint8") if ending.table else None
        self.residual = f.buffer("residual", residual_size, "uint8") if ending.residual else None

    def finish(self, totals: Sequence[Expr], channel: Expr, index: Expr) -> Expr:
        """Bytes for the int32 sums of 1 to 4 neighbouring pixels, one after the other in a vector of 4 x lanes.

        totals: vectors of the channels from `channel` on. index: where the first lies in the residual. What
        stands beyond the last pixel given is not defined.
        """
        lanes, ending = self.lanes, self.ending
        shift = self.shift.vector(channel, lanes) if self.shift is not None else None
        multiplier = self.multiplier.vector(channel, lanes)
        scaled = [rescale(total, multiplier, shift, lanes, ending.rounding, ending.processor) for total in totals]
        value = self._bytes(scaled, ZERO, (LOW, HIGH) if ending.clamp else None)
        if self.table is not None:
            value = look_up(self.f, self.table, value, VECTORS * lanes, ending.permutes_bytes, ending.processor)
        if self.residual is None:
            return value
        return self._add(self.f.let("bytes", value, f"uint8x{VECTORS * lanes}"), len(totals), index)

    def store(self, target: Memory, index: Expr, totals: Sequence[Expr], channel: Expr, other: Expr) -> None:
        """Finish any number of neighbouring pixels and write them to a blocked target from `index` on.

        other: where the first lies in the residual.
        """
        lanes = self.lanes
        for first in range(0, len(totals), VECTORS):
            some = totals[first : first + VECTORS]
            value, size = self.finish(some, channel, other + first * lanes), len(some) * lanes
            target.store(index + first * lanes, size, value if len(some) == VECTORS else part(value, 0, size))

    def _bytes(self, values: Sequence[Expr], zero: int, places: tuple[int, int] | None) -> Expr:
        bounds = (self.numbers[places[0]], self.numbers[places[1]]) if places else None
        return to_bytes(self.f, values, self.numbers[zero], bounds, self.lanes, self.ending.processor)

    def _add(self, own: Expr, count: int, index: Expr) -> Expr:
        assert self.factors is not None
        ending = self.ending
        sums = [
            add_quantized(*pair, self.numbers, self.factors, self.lanes, ending.rounding, ending.processor)
            for pair in self._operands(own, count, index)
        ]
        return self._bytes(sums, SUM_ZERO, (SUM_LOW, SUM_HIGH))

    def _operands(self, own: Expr, count: int, index: Expr) -> list[tuple[Expr, Expr]]:
        """Each pixel of `own` and of the residual as int32 vectors without their zero points."""
        assert self.residual is not None
        lanes, integers = self.lanes, vector_type("int32", self.lanes)
        zeros = [self.numbers[place] for place in (OWN_ZERO, OTHER_ZERO)]
        if self.ending.processor == "neon" and count == VECTORS:
            both = (own, self.f.let("other", self.residual.vector(index, count * lanes), f"uint8x{count * lanes}"))
            first, second = (neon.words(neon.less(*pair)) for pair in zip(both, zeros, strict=True))
            return list(zip(first, second, strict=True))
        pairs = []
        for at in range(0, count * lanes, lanes):
            values = part(own, at, lanes), self.residual.vector(index + at, lanes)
            first, second = (
                value.astype(integers) - splat(zero, lanes) for value, zero in zip(values, zeros, strict=True)
            )
            pairs.append((first, second))
        return pairs


def add_quantized(
    own: Expr,
    other: Expr,
    numbers: Memory,
    factors: Memory,
    lanes: int,
    rounding: Rounding,
    processor: Processor = "any",
) -> Expr:
    """`own * a + other * b` rounded by the rule; int32 vectors without their zero points."""
    if rounding == "float-half-even":
        floats = vector_type("float32", lanes)
        # The reference rounds each product apart, so no multiply-add may be fused here.
        first = _rounded(own.astype(floats) * splat(factors[0], lanes), lanes)
        second = _rounded(other.astype(floats) * splat(factors[1], lanes), lanes)
        return nearest(first + second, lanes, processor)
    gained = splat(ADD_BITS, lanes, "int32")

    def scaled(value: Expr, place: int) -> Expr:
        multiplier, shift = splat(numbers[FACTORS + place], lanes), splat(numbers[FACTORS + place + 1], lanes)
        return rescale_fixed(value, multiplier, shift, lanes, rounding)

    return scaled(scaled(own << gained, 0) + scaled(other << gained, 2), 4)


def rescale(
    value: Expr, multiplier: Expr, shift: Expr, lanes: int, rounding: Rounding, processor: Processor = "any"
) -> Expr:
    """`value` times the multiplier, rounded by the rule, as an int32 vector. shift: of fixed-point rules only."""
    if rounding == "float-half-even":
        return nearest(value.astype(vector_type("float32", lanes)) * multiplier, lanes, processor)
    return rescale_fixed(value, multiplier, shift, lanes, rounding)


def rescale_fixed(value: Expr, multiplier: Expr, shift: Expr, lanes: int, rounding: Rounding) -> Expr:
    """`value * multiplier * 2^(shift - 31)` as TFLite rounds it (`mdcompiler.quantization.fixed_point`)."""
    wide = vector_type("int64", lanes)

    def const(number: int, dtype: str = "int64") -> Expr:
        return splat(number, lanes, dtype)

    if rounding not in ("fixed-point-single", "fixed-point-double"):
        raise unknown(rounding, "the rounding of a requantization", get_args(Rounding))
    if rounding == "fixed-point-single":
        total = const(31) - shift.astype(wide)
        nudge = const(1) << (total - const(1))
        return ((value.astype(wide) * multiplier.astype(wide) + nudge) >> total).astype(vector_type("int32", lanes))
    zero, one = const(0, "int32"), const(1, "int32")
    left, right = tirx.max(shift, zero), zero - tirx.min(shift, zero)
    product = (value << left).astype(wide) * multiplier.astype(wide)
    high = ((product + const(1 << 30)) >> const(31)).astype(vector_type("int32", lanes))
    mask = (one << right) - one
    threshold = (mask >> one) + (high >> const(31, "int32") & one)
    carry = tirx.Select((high & mask) > threshold, one, zero)
    return (high >> right) + carry


def _rounded(value: Expr, lanes: int) -> Expr:
    """`value` as a float32 of its own: the code generator fuses products and sums across anything but a fence."""
    return tirx.call_llvm_pure_intrin(vector_type("float32", lanes), "llvm.arithmetic.fence", value)
