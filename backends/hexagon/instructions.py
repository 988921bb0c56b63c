"""The HVX and scalar instructions that the kernels name, as TIR expressions.

A vector is 128 bytes: `int32x32` here, whatever it holds, as LLVM's intrinsics want it. Names and semantics: Qualcomm
Hexagon V66 HVX Programmer's Reference Manual (80-N2040-44), whose mnemonics the docstrings quote.
"""

from __future__ import annotations

from tvm import tirx

from mdcompiler.backends.kernels.tir import Expr, Memory, splat

VECTOR_BYTES = 128
LANES = 32
"""32-bit lanes of one vector; also the channels in a block."""
QUAD = 4
"""Bytes that one lane of a dot product takes."""
_WORDS, _PAIR = f"int32x{LANES}", f"int32x{2 * LANES}"


def as_bytes(words: Expr) -> Expr:
    """The vector as 128 unsigned bytes."""
    return tirx.reinterpret(f"uint8x{VECTOR_BYTES}", words)


def as_words(vector: Expr) -> Expr:
    """128 bytes as 32 words."""
    return tirx.reinterpret(_WORDS, vector)


def load_bytes(memory: Memory, index: Expr) -> Expr:
    """128 bytes from `index` on, as words."""
    return as_words(memory.vector(index, VECTOR_BYTES))


def store_bytes(memory: Memory, index: Expr, words: Expr) -> None:
    """Write the 128 bytes of `words` from `index` on."""
    memory.store(index, VECTOR_BYTES, as_bytes(words))


def copied(vector: Expr) -> Expr:
    """`Vd=Vu`: keeps LLVM from turning a loop of loads and stores into a call of the scalar memcpy."""
    return _hvx("vassign", _WORDS, vector)


def words(number: Expr) -> Expr:
    """`Vd=vsplat(Rt)`"""
    return splat(number, LANES, "int32")


def dot_unsigned(total: Expr, bytes_: Expr, four: Expr) -> Expr:
    """`Vx.uw+=vrmpy(Vu.ub,Rt.ub)`: every lane adds the products of its four bytes with those of the scalar."""
    return _hvx("vrmpyub.acc", _WORDS, total, bytes_, four)


def dot_bytes(total: Expr, left: Expr, right: Expr) -> Expr:
    """`Vx.uw+=vrmpy(Vu.ub,Vv.ub)`"""
    return _hvx("vrmpyubv.acc", _WORDS, total, left, right)


def dot_signed(total: Expr, unsigned: Expr, signed: Expr) -> Expr:
    """`Vx.w+=vrmpy(Vu.ub,Vv.b)`"""
    return _hvx("vrmpybusv.acc", _WORDS, total, unsigned, signed)


def sum_bytes(total: Expr, left: Expr, right: Expr) -> Expr:
    """`Rxx+=vraddub(Rss,Rtt)`: each half of `total` (int64) adds the bytes in that half of both operands."""
    return tirx.call_llvm_pure_intrin("int64", "llvm.hexagon.A2.vraddub.acc", total, left, right)


def low_product(value: Expr, multiplier: Expr) -> Expr:
    """`Vd.w=vmpye(Vu.w,Vv.uh)`: value * (low half of the multiplier) / 2^16, rounded down."""
    return _hvx("vmpyewuh", _WORDS, value, multiplier)


def high_product(low: Expr, value: Expr, multiplier: Expr) -> Expr:
    """`Vx.w+=vmpyo(Vu.w,Vv.h):<<1:sat:shift`: (low + value * (high half of the multiplier)) / 2^15, rounded down."""
    return _hvx("vmpyowh.sacc", _WORDS, low, value, multiplier)


def shift_right(value: Expr, by: Expr) -> Expr:
    """`Vd.w=vasr(Vu.w,Vv.w)`: arithmetic, rounded down, each lane by its own count."""
    return _hvx("vasrwv", _WORDS, value, by)


def average_up(left: Expr, right: Expr) -> Expr:
    """`Vd.w=vavg(Vu.w,Vv.w):rnd`: (left + right + 1) / 2 rounded down; the sum does not wrap."""
    return _hvx("vavgwrnd", _WORDS, left, right)


def pack_bytes(four: list[Expr]) -> Expr:
    """Four vectors of words as one of unsigned bytes, saturated: `vpack(…):sat` to halves, then to bytes."""
    halves = [_hvx("vpackwh.sat", _WORDS, four[i + 1], four[i]) for i in (0, 2)]
    return _hvx("vpackhub.sat", _WORDS, halves[1], halves[0])


def unpack_bytes(bytes_: Expr) -> list[Expr]:
    """128 unsigned bytes as four vectors of words, in order: `vunpack` twice."""
    halves = _hvx("vunpackub", _PAIR, bytes_)
    pairs = [_hvx("vunpackuh", _PAIR, half) for half in (low(halves), high(halves))]
    return [part for pair in pairs for part in (low(pair), high(pair))]


def low(pair: Expr) -> Expr:
    """The first of two vectors."""
    return _hvx("lo", _WORDS, pair)


def high(pair: Expr) -> Expr:
    """The second of two vectors."""
    return _hvx("hi", _WORDS, pair)


def interleave(first: Expr, second: Expr, size_bytes: int) -> Expr:
    """`Vdd=vshuff(Vu,Vv,Rt)`: a pair that holds elements of `size_bytes` of both in turn, the first one's first."""
    return _hvx("vshuffvdd", _PAIR, second, first, tirx.const(-size_bytes, "int32"))


def separate(first: Expr, second: Expr, size_bytes: int) -> Expr:
    """`Vdd=vdeal(Vu,Vv,Rt)`: a pair of the even and the odd elements of `size_bytes` of both."""
    return _hvx("vdealvdd", _PAIR, second, first, tirx.const(-size_bytes, "int32"))


def permute(bytes_: Expr, control: Expr) -> Expr:
    """`Vd=vdelta(Vu,Vv)`: a network of seven stages; `pack.delta_control` gives the bits that set it."""
    return _hvx("vdelta", _WORDS, bytes_, control)


def look_up(tables: list[Expr], index: Expr) -> Expr:
    """Bytes of a table of 256 for the 128 indices: `vlut32` picks those of 32 entries and leaves the others 0.

    tables: its two halves, each shuffled by bytes (`table_order`), as the instruction takes them.
    """
    found = _hvx("vlutvvbi", _WORDS, index, tables[0], tirx.const(0, "int32"))
    for part in range(1, 8):
        found = _hvx("vlutvvb.oracci", _WORDS, found, index, tables[part // 4], tirx.const(part, "int32"))
    return found


def _hvx(name: str, dtype: str, *operands: Expr) -> Expr:
    return tirx.call_llvm_pure_intrin(dtype, f"llvm.hexagon.V6.{name}.128B", *operands)
