"""Bytes through a table of 256 entries."""

from __future__ import annotations

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.saturate import Processor
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, splat

TABLE_SIZE = 256
PERMUTED = 64
"""Bytes that one instruction of AVX512-VBMI permutes."""
_ROW = 16
"""Bytes that pshufb looks up in."""
_PSHUFB = {16: "llvm.x86.ssse3.pshuf.b.128", 32: "llvm.x86.avx2.pshuf.b", 64: "llvm.x86.avx512.pshuf.b.512"}
_VPERMI2B = "llvm.x86.avx512.vpermi2var.qi.512"


def look_up(
    f: Function, table: Memory, value: Expr, size: int, permutes_bytes: bool, processor: Processor = "any"
) -> Expr:
    """`table[value]`, element by element; value and result are uint8 vectors of `size`."""
    if permutes_bytes and size == PERMUTED:
        return _permute(table, f.let("index", value, f"uint8x{size}"))
    if processor == "neon" and size == neon.BYTES:
        return neon.look_up(table, f.let("index", value, f"uint8x{size}"))
    if processor == "x86" and size in _PSHUFB:
        return _shuffle(f, table, f.let("index", value, f"uint8x{size}"), size)
    spill = f.stack(size, "uint8")
    spill.store(0, size, value)
    for lane in range(size):
        spill[lane] = table[spill[lane].astype("int32")]
    return spill.vector(0, size)


def _shuffle(f: Function, table: Memory, index: Expr, size: int) -> Expr:
    """Sixteen look-ups in 16 bytes, each of which gives zero where the index lies in another part of the table.

    The upper half of the index is compared by an exclusive or; the saturating sum then sets the top bit of what
    was not equal, for which pshufb gives zero.
    """
    signed = f"int8x{size}"
    found = splat(0, size, "int8")
    for row in range(TABLE_SIZE // _ROW):
        part = tirx.reinterpret(f"int8x{_ROW}", table.vector(row * _ROW, _ROW))
        entries = tirx.Shuffle([part] * (size // _ROW), [tirx.const(byte, "int32") for byte in range(size)])
        apart = index ^ splat(row * _ROW, size, "uint8")
        place = tirx.call_llvm_pure_intrin(f"uint8x{size}", "llvm.uadd.sat", apart, splat(0x70, size, "uint8"))
        taken = tirx.call_llvm_pure_intrin(signed, _PSHUFB[size], entries, tirx.reinterpret(signed, place))
        found = f.let("found", found | taken, signed)
    return tirx.reinterpret(f"uint8x{size}", found)


def _permute(table: Memory, index: Expr) -> Expr:
    """64 entries of the table at once: two look-ups in 128 bytes, chosen by the top bit of the index."""

    def entries(start: int) -> Expr:
        return tirx.reinterpret(f"int8x{PERMUTED}", table.vector(start, PERMUTED))

    signed = tirx.reinterpret(f"int8x{PERMUTED}", index)
    low, high = (
        tirx.call_llvm_pure_intrin(f"int8x{PERMUTED}", _VPERMI2B, entries(start), signed, entries(start + PERMUTED))
        for start in (0, 2 * PERMUTED)
    )
    chosen = tirx.Select(signed < splat(0, PERMUTED, "int8"), high, low)
    return tirx.reinterpret(f"uint8x{PERMUTED}", chosen)
