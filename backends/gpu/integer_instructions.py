"""Bytes in words: how a processor multiplies four at once, takes one out and puts four together.

A word of activations holds the uint8 of four channels, the first in the lowest byte. Dot products take signed
bytes on both sides, so activations have their top bits flipped first (`signed`), which takes 128 from each; what
that changes is in the sums' start (`integer_pack.pack_constants`).

The three ways to form a dot product give the same integers:

* `dp4a`: CUDA's `__dp4a`, one instruction from sm_61 on;
* `packed`: WGSL's `dot4I8Packed`, which the driver or the browser maps to an instruction where there is one;
* `unpack`: shifts and products, for any processor.
"""

from __future__ import annotations

from mdcompiler.backends.gpu.traits import Dot4
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function

SIGN = 128
"""What flipping the top bit takes from a byte."""
_SIGNS = -0x7F7F7F80
"""0x80808080 as an int32."""
_BYTE, _WORD, _HALF = 8, 32, 16
_BYTES, _MOST = 4, 255


def signed(word: Expr, lanes: int = 1) -> Expr:
    """Four uint8 as four int8 that are smaller by 128."""
    flip = tirx.const(_SIGNS, "int32")
    return word ^ (flip if lanes == 1 else tirx.Broadcast(flip, lanes))


def dot4(dot: Dot4, total: Expr, left: Expr, right: Expr) -> Expr:
    """`total` plus the products of the four signed bytes of two words."""
    if dot == "dp4a":
        return tirx.call_pure_extern("int32", "__dp4a", left, right, total)
    if dot == "packed":
        words = [tirx.reinterpret("uint32", word) for word in (left, right)]
        return total + tirx.call_pure_extern("int32", "dot4I8Packed", *words)
    for place in range(4):
        total = total + signed_byte(left, place) * signed_byte(right, place)
    return total


def signed_byte(word: Expr, place: int) -> Expr:
    """Byte `place` of a word as an int32 from -128 to 127."""
    return word << (_WORD - _BYTE - _BYTE * place) >> (_WORD - _BYTE)


def unsigned_byte(word: Expr, place: int) -> Expr:
    """Byte `place` of a word as an int32 from 0 to 255."""
    return (word >> _BYTE * place if place else word) & 0xFF


def join(four: list[Expr]) -> Expr:
    """Four int32 from 0 to 255 as one word."""
    first, *rest = four
    for place, value in enumerate(rest, 1):
        first = first | value << _BYTE * place
    return first


def pack(f: Function, dot: Dot4, values: list[Expr], bounded: bool) -> Expr:
    """Up to four int32 as bytes of a word, cut to 0 … 255. bounded: they lie there already.

    CUDA has an instruction for two that saturates (PTX ISA, cvt.pack, from sm_72 on).
    """
    if dot == "dp4a" and len(values) == _BYTES:
        return tirx.call_pure_extern("int32", "mdc_saturate_bytes", *values)
    if not bounded:
        values = [f.let("byte", tirx.min(tirx.max(value, 0), _MOST)) for value in values]
    return join(values)


def transposed(f: Function, dot: Dot4, four: list[Expr]) -> list[Expr]:
    """Four words of four bytes each: word i of the result holds byte i of all of them."""
    pairs = ((four[0], four[1]), (four[2], four[3]))
    low, high = ([f.let("pair", _zip_bytes(dot, *pair, upper)) for pair in pairs] for upper in (False, True))
    return [
        f.let("quad", _join_halves(dot, first, second, upper))
        for first, second in (low, high)
        for upper in (False, True)
    ]


def _zip_bytes(dot: Dot4, first: Expr, second: Expr, upper: bool) -> Expr:
    """The two lower, or upper, bytes of both words in turns."""
    if dot == "dp4a":
        return tirx.call_pure_extern("int32", "__byte_perm", first, second, 0x7362 if upper else 0x5140)
    places = (2, 3) if upper else (0, 1)
    return join([unsigned_byte(word, place) for place in places for word in (first, second)])


def _join_halves(dot: Dot4, first: Expr, second: Expr, upper: bool) -> Expr:
    """The lower, or upper, halves of both words."""
    if dot == "dp4a":
        return tirx.call_pure_extern("int32", "__byte_perm", first, second, 0x7632 if upper else 0x5410)
    if upper:
        return ((first >> _HALF) & 0xFFFF) | (second >> _HALF << _HALF)
    return (first & 0xFFFF) | (second << _HALF)


def high_product(f: Function, dot: Dot4, value: Expr, multiplier: Expr) -> Expr:
    """`value * multiplier / 2^32` rounded down, for int32 and a multiplier from 0 to 2^31 - 1.

    WGSL has no integers of 64 bits: the product is formed of halves, of which no intermediate leaves int32
    (Warren, Hacker's Delight, 2nd edition, figure 8-2).
    """
    if dot == "dp4a":
        return tirx.call_pure_extern("int32", "__mulhi", value, multiplier)
    low, high = f.let("low", value & 0xFFFF), f.let("high", value >> _HALF)
    other_low, other_high = f.let("other_low", multiplier & 0xFFFF), f.let("other_high", multiplier >> _HALF)
    middle = f.let("middle", high * other_low + _upper_half(low, other_low))
    carried = low * other_high + (middle & 0xFFFF)
    return high * other_high + (middle >> _HALF) + (carried >> _HALF)


def _upper_half(left: Expr, right: Expr) -> Expr:
    """The upper 16 bits of the product of two numbers of 16 bits, which needs all 32."""
    product = left.astype("uint32") * right.astype("uint32")
    return (product >> tirx.const(_HALF, "uint32")).astype("int32")
