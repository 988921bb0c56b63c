"""Instructions of Arm's NEON that are worth naming: byte products, saturated narrowing, table look-up.

Vectors have 16 bytes. Names and meaning: Arm Architecture Reference Manual, C7.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Memory, splat

LANES = 4
"""int32 in a vector."""
BYTES = 16
SIGN = 128
"""What flipping the top bit takes from an unsigned byte: 0 … 255 becomes -128 … 127."""
_TABLE_PART = 64
"""Bytes of a table that one tbl or tbx reads."""


def signed(values: Expr, count: int) -> Expr:
    """`count` uint8 less SIGN, as int8."""
    return tirx.reinterpret(f"int8x{count}", values ^ splat(SIGN, count, "uint8"))


def four_times(word: Expr) -> Expr:
    """Four uint8 in every word of sixteen: one load (ld1r), where four bytes alone take several instructions."""
    return tirx.reinterpret(f"uint8x{BYTES}", splat(tirx.reinterpret("int32", word), LANES))


def sdot(total: Expr, weights: Expr, values: Expr, count: int, quad: int) -> Expr:
    """total[o] + sum of weights[4 o + i] * values[4 quad + i], i < 4.

    total: int32x4; weights: int8x16; values: `count` int8.
    """
    if count == LANES:
        word = tirx.reinterpret("int32", values)
    else:
        word = tirx.Shuffle([tirx.reinterpret(f"int32x{count // LANES}", values)], [quad])
    return sdot_each(total, weights, tirx.reinterpret(f"int8x{BYTES}", splat(word, LANES)))


def sdot_each(total: Expr, weights: Expr, values: Expr) -> Expr:
    """total[o] + sum of weights[4 o + i] * values[4 o + i], i < 4; int32x4 and int8x16."""
    return _call(f"int32x{LANES}", "sdot", total, weights, values)


def usmmla(total: Expr, values: Expr, weights: Expr) -> Expr:
    """total[2 p + o] + sum over i < 8 of values[8 p + i] * weights[8 o + i] for p, o < 2.

    total: int32x4; values: int8x16, read as unsigned; weights: int8x16.
    """
    return _call(f"int32x{LANES}", "usmmla", total, values, weights)


def alternate(words: Sequence[Expr], start: int, count: int) -> Expr:
    """int32x4: words `start` and `start` + 1 of two vectors of `count`, in turn (zip); one word is taken twice."""
    if count == 1:
        once = tirx.Shuffle(list(words), [0, 1])
        return _join(once, once, 2)
    return tirx.Shuffle(list(words), [start, count + start, start + 1, count + start + 1])


def pairs(values: Expr, count: int) -> list[Expr]:
    """The `count` words of bytes in `values`, two by two as int16x8; one word is taken twice."""
    if count == 1:
        return [_join(values, values, LANES).astype("int16x8")]
    return [
        tirx.Shuffle([values], list(range(start, start + 2 * LANES))).astype("int16x8")
        for start in range(0, count * LANES, 2 * LANES)
    ]


def less(values: Expr, zero: Expr) -> Expr:
    """uint8x16 - zero (0 … 255) as int16x16: two subtractions that widen (usubl)."""
    return values.astype(f"int16x{BYTES}") - splat(zero.astype("uint8").astype("int16"), BYTES)


def words(values: Expr) -> list[Expr]:
    """int16x16 as four int32x4."""
    return [quarter.astype(f"int32x{LANES}") for quarter in quarters(values)]


def quarters(values: Expr) -> list[Expr]:
    """Sixteen elements by fours."""
    return [tirx.Shuffle([values], list(range(start, start + LANES))) for start in range(0, BYTES, LANES)]


def smull(left: Expr, right: Expr) -> Expr:
    """The products of two int16x4; int32x4."""
    return _call(f"int32x{LANES}", "smull", left, right)


def smlal(total: Expr, left: Expr, right: Expr, half: int) -> Expr:
    """total + the products of one half of two int16x8; int32x4."""
    part = list(range(half * LANES, (half + 1) * LANES))
    return total + _call(f"int32x{LANES}", "smull", tirx.Shuffle([left], part), tirx.Shuffle([right], part))


def nearest(values: Expr) -> Expr:
    """float32x4 -> int32x4, halves to even (fcvtns)."""
    return _call(f"int32x{LANES}", "fcvtns", values)


def saturate(parts: Sequence[Expr], zero: Expr) -> Expr:
    """Four int32x4 plus `zero` (int16, 0 … 255) as uint8x16 within 0 … 255."""
    first, second, third, fourth = (_call("int16x4", "sqxtn", part) for part in parts)
    halves = [_join(first, second, 4), _join(third, fourth, 4)]
    moved = [tirx.call_llvm_pure_intrin("int16x8", "llvm.sadd.sat", half, splat(zero, 8)) for half in halves]
    low, high = (_call("int8x8", "sqxtun", half) for half in moved)
    return tirx.reinterpret(f"uint8x{BYTES}", _join(low, high, 8))


def look_up(table: Memory, index: Expr) -> Expr:
    """table[index] for sixteen bytes; `table` has 256."""
    index = tirx.reinterpret(f"int8x{BYTES}", index)
    result = None
    for start in range(0, 256, _TABLE_PART):
        parts = [
            tirx.reinterpret(f"int8x{BYTES}", table.vector(start + offset, BYTES))
            for offset in range(0, _TABLE_PART, BYTES)
        ]
        # An index beyond the part gives 0 in tbl and leaves the result alone in tbx.
        place = index if start == 0 else index - splat(tirx.const(start - 256 if start > 127 else start, "int8"), BYTES)
        result = _call(f"int8x{BYTES}", *(("tbl4",) if result is None else ("tbx4", result)), *parts, place)
    return tirx.reinterpret(f"uint8x{BYTES}", result)


def _join(low: Expr, high: Expr, lanes: int) -> Expr:
    """One vector of two halves of `lanes` elements."""
    return tirx.Shuffle([low, high], list(range(2 * lanes)))


def _call(dtype: str, name: str, *arguments: Expr) -> Expr:
    return tirx.call_llvm_pure_intrin(dtype, f"llvm.aarch64.neon.{name}", *arguments)
