"""From int32 vectors to bytes, four vectors at a time.

x86 packs with saturation: two vectors of int32 become one of int16, two of those one of bytes, and one
permutation undoes the order in which the packs mix their 128-bit parts. Saturating additions of the zero
point between the two give the same bytes as adding and clamping in int32: what saturates in 16 bits lies
outside 0 … 255 after any zero point within 0 … 255, on the side on which it left. Arm's NEON does the same
without mixing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, splat, vector_type
from mdcompiler.target import Target

Processor = Literal["any", "x86", "neon"]
VECTORS = 4
"""Vectors that are packed into one."""
_PART = 4
"""int32 in 128 bits, within which x86 packs."""
_PACK_WORDS = {4: "llvm.x86.sse2.packssdw.128", 8: "llvm.x86.avx2.packssdw", 16: "llvm.x86.avx512.packssdw.512"}
_PACK_BYTES = {4: "llvm.x86.sse2.packuswb.128", 8: "llvm.x86.avx2.packuswb", 16: "llvm.x86.avx512.packuswb.512"}


def choose_processor(target: Target) -> Processor:
    """Whose instructions every processor of the target has: x86 from SSSE3 on, which AVX includes; Arm with NEON."""
    if "asimd" in target.cpu_flags and target.lanes == neon.LANES:
        return "neon"
    is_x86 = str(target.llvm.get("mtriple", "")).startswith("x86_64")
    return "x86" if is_x86 and (target.lanes > _PART or "ssse3" in target.cpu_flags) else "any"


def nearest(value: Expr, lanes: int, processor: Processor) -> Expr:
    """Nearest integers to a float32 vector, halves to even, as an int32 vector."""
    integers = vector_type("int32", lanes)
    if processor == "x86":
        return tirx.call_llvm_pure_intrin(integers, "llvm.lrint", value)
    if processor == "neon":
        return neon.nearest(value)
    return tirx.nearbyint(value).astype(integers)


def to_bytes(
    f: Function, values: Sequence[Expr], zero: Expr, bounds: tuple[Expr, Expr] | None, lanes: int, processor: Processor
) -> Expr:
    """clamp(value + zero) of 1 to 4 int32 vectors, one after the other in a uint8 vector of 4 x lanes.

    zero and bounds: int32 scalars within 0 … 255; None: 0 and 255. What stands beyond the last
    given vector is not defined.
    """
    four = [*values, *[values[-1]] * (VECTORS - len(values))]
    if processor == "neon" or (processor == "x86" and lanes in _PACK_WORDS):
        packed = neon.saturate(four, zero.astype("int16")) if processor == "neon" else _pack(f, four, zero, lanes)
        if bounds is None:
            return packed
        low, high = (splat(bound.astype("uint8"), VECTORS * lanes) for bound in bounds)
        return tirx.min(tirx.max(packed, low), high)
    low, high = (splat(bound, lanes, "int32") for bound in bounds or (0, 255))
    clamped = [tirx.min(tirx.max(value + splat(zero, lanes), low), high) for value in four]
    parts = [value.astype(vector_type("uint8", lanes)) for value in clamped]
    return tirx.Shuffle(parts, _indices(range(VECTORS * lanes)))


def part(value: Expr, start: int, size: int) -> Expr:
    """Elements [start, start + size) of a vector."""
    return tirx.Shuffle([value], _indices(range(start, start + size)))


def _pack(f: Function, four: Sequence[Expr], zero: Expr, lanes: int) -> Expr:
    words, offset = f"int16x{2 * lanes}", splat(zero.astype("int16"), 2 * lanes)
    halves = [
        tirx.call_llvm_pure_intrin(
            words, "llvm.sadd.sat", tirx.call_llvm_pure_intrin(words, _PACK_WORDS[lanes], *pair), offset
        )
        for pair in (four[:2], four[2:])
    ]
    mixed = tirx.call_llvm_pure_intrin(f"int8x{VECTORS * lanes}", _PACK_BYTES[lanes], *halves)
    order = [
        p * VECTORS * _PART + v * _PART + i for v in range(VECTORS) for p in range(lanes // _PART) for i in range(_PART)
    ]
    sorted_ = tirx.Shuffle([mixed], _indices(order))
    return tirx.reinterpret(f"uint8x{VECTORS * lanes}", sorted_)


def _indices(values: Sequence[int] | range) -> list[Expr]:
    return [tirx.const(value, "int32") for value in values]
