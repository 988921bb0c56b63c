"""From int32 sums back to bytes: requantization, tables and residuals at the end of an integer tile.

The arithmetic is that of the integer reference (`mdcompiler.quantization`), bit for bit. Zero points,
bounds and factors are read from parameter buffers, so kernels of equal shape share their code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tvm import tirx

from mdcompiler.backends.kernels.tir import Expr, Function, Memory, splat, vector_type

Rounding = Literal["float-half-even", "fixed-point-double", "fixed-point-single"]
TABLE_SIZE = 256
_PERMUTED = 64
"""Bytes that one instruction of AVX512-VBMI permutes."""
_VPERMI2B = "llvm.x86.avx512.vpermi2var.qi.512"
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
    """

    rounding: Rounding = "float-half-even"
    table: bool = False
    residual: bool = False
    permutes_bytes: bool = False


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

    def finish(self, total: Expr, channel: Expr, index: Expr) -> Expr:
        """Bytes (int32 vector within 0 … 255) for the int32 vector `total` of channels from `channel` on.

        index: where these elements lie in the residual.
        """
        lanes = self.lanes
        shift = self.shift.vector(channel, lanes) if self.shift is not None else None
        scaled = rescale(total, self.multiplier.vector(channel, lanes), shift, lanes, self.ending.rounding)
        value = self._clamp(scaled + self._number(ZERO), LOW, HIGH)
        if self.table is not None:
            value = look_up(self.f, self.table, value, lanes, self.ending.permutes_bytes)
        return self._add(value, index) if self.residual is not None else value

    def _number(self, place: int) -> Expr:
        return splat(self.numbers[place], self.lanes)

    def _clamp(self, value: Expr, low: int, high: int) -> Expr:
        return tirx.min(tirx.max(value, self._number(low)), self._number(high))

    def _add(self, value: Expr, index: Expr) -> Expr:
        assert self.residual is not None
        assert self.factors is not None
        other = self.residual.vector(index, self.lanes).astype(vector_type("int32", self.lanes))
        own, other = value - self._number(OWN_ZERO), other - self._number(OTHER_ZERO)
        total = add_quantized(own, other, self.numbers, self.factors, self.lanes, self.ending.rounding)
        return self._clamp(total + self._number(SUM_ZERO), SUM_LOW, SUM_HIGH)


def add_quantized(own: Expr, other: Expr, numbers: Memory, factors: Memory, lanes: int, rounding: Rounding) -> Expr:
    """`own * a + other * b` rounded by the rule; int32 vectors without their zero points."""
    if rounding == "float-half-even":
        floats = vector_type("float32", lanes)
        # The reference rounds each product apart, so no multiply-add may be fused here.
        first = _rounded(own.astype(floats) * splat(factors[0], lanes), lanes)
        second = _rounded(other.astype(floats) * splat(factors[1], lanes), lanes)
        return _rint(first + second, lanes)
    gained = splat(ADD_BITS, lanes, "int32")

    def scaled(value: Expr, place: int) -> Expr:
        multiplier, shift = splat(numbers[FACTORS + place], lanes), splat(numbers[FACTORS + place + 1], lanes)
        return rescale_fixed(value, multiplier, shift, lanes, rounding)

    return scaled(scaled(own << gained, 0) + scaled(other << gained, 2), 4)


def rescale(value: Expr, multiplier: Expr, shift: Expr, lanes: int, rounding: Rounding) -> Expr:
    """`value` times the multiplier, rounded by the rule, as an int32 vector. shift: of fixed-point rules only."""
    if rounding == "float-half-even":
        return _rint(value.astype(vector_type("float32", lanes)) * multiplier, lanes)
    return rescale_fixed(value, multiplier, shift, lanes, rounding)


def rescale_fixed(value: Expr, multiplier: Expr, shift: Expr, lanes: int, rounding: Rounding) -> Expr:
    """`value * multiplier * 2^(shift - 31)` as TFLite rounds it (`mdcompiler.quantization.fixed_point`)."""
    wide = vector_type("int64", lanes)

    def const(number: int, dtype: str = "int64") -> Expr:
        return splat(number, lanes, dtype)

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


def look_up(f: Function, table: Memory, value: Expr, lanes: int, permutes_bytes: bool) -> Expr:
    """`table[value]`, element by element; value and result are int32 vectors."""
    spill = f.stack(_PERMUTED if permutes_bytes else lanes, "uint8")
    spill.store(0, lanes, value.astype(vector_type("uint8", lanes)))
    if permutes_bytes:
        spill.store(0, _PERMUTED, _permute(table, spill.vector(0, _PERMUTED)))
    else:
        for lane in range(lanes):
            spill[lane] = table[spill[lane].astype("int32")]
    return spill.vector(0, lanes).astype(vector_type("int32", lanes))


def _permute(table: Memory, index: Expr) -> Expr:
    """64 entries of the table at once: two look-ups in 128 bytes, chosen by the top bit of the index."""

    def part(start: int) -> Expr:
        return tirx.reinterpret(f"int8x{_PERMUTED}", table.vector(start, _PERMUTED))

    signed = tirx.reinterpret(f"int8x{_PERMUTED}", index)
    low, high = (
        tirx.call_llvm_pure_intrin(f"int8x{_PERMUTED}", _VPERMI2B, part(start), signed, part(start + _PERMUTED))
        for start in (0, 2 * _PERMUTED)
    )
    chosen = tirx.Select(signed < splat(0, _PERMUTED, "int8"), high, low)
    return tirx.reinterpret(f"uint8x{_PERMUTED}", chosen)


def _rounded(value: Expr, lanes: int) -> Expr:
    """`value` as a float32 of its own: the code generator fuses products and sums across anything but a fence."""
    return tirx.call_llvm_pure_intrin(vector_type("float32", lanes), "llvm.arithmetic.fence", value)


def _rint(value: Expr, lanes: int) -> Expr:
    """Nearest integers, halves to even, as an int32 vector."""
    return tirx.nearbyint(value).astype(vector_type("int32", lanes))
