"""Bytes in, bytes out: tables, sums, means, gates, and the way to floats.

A run of bytes is worked on by vectors; what is left at its end goes through a vector on the stack.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from mdcompiler.backends.hexagon import instructions as hvx
from mdcompiler.backends.hexagon.ending import (
    HIGH,
    LEFT,
    LOW,
    MULTIPLIER,
    NUMBERS,
    OTHER_ZERO,
    OWN_ZERO,
    RIGHT,
    TWICE_ZERO,
    Sum,
    add_bytes,
    clamp,
    halves_of,
    raise_sum,
    rescale,
)
from mdcompiler.backends.hexagon.instructions import LANES, VECTOR_BYTES
from mdcompiler.backends.hexagon.store import VECTOR_PIXELS, store_pixels
from mdcompiler.backends.kernels.look_up import TABLE_SIZE
from mdcompiler.backends.kernels.tir import Expr, Function, Memory

_FLOAT_BYTES = 4


def write_table(name: str, size: int) -> tirx.PrimFunc:
    """`name(source, table [256] (see `table_order`), target, begin, end)`: may work in place; one task."""
    f = Function(name)
    source = f.buffer("source", size, "uint8", 1)
    table = f.buffer("table", TABLE_SIZE, "uint8", VECTOR_BYTES)
    target = f.buffer("target", size, "uint8", 1)
    _over_bytes(f, size, [source], target, lambda found: hvx.look_up(halves_of(table), found[0]))
    return f.finish()


def write_add(name: str, size: int, add: Sum) -> tirx.PrimFunc:
    """`name(left, right, numbers, target, begin, end)`: may work in place; one task."""
    f = Function(name)
    sources = [f.buffer(part, size, "uint8", 1) for part in ("left", "right")]
    numbers = f.buffer("numbers", NUMBERS, "int32", VECTOR_BYTES)
    target = f.buffer("target", size, "uint8", 1)
    _over_bytes(f, size, sources, target, lambda found: add_bytes(found[0], found[1], numbers, add))
    return f.finish()


def write_mean(name: str, blocks: int, pixels: int) -> tirx.PrimFunc:
    """`name(source [C/32][P][32], factor [3], numbers, target [C/32][32], begin, end)`: a task is one block.

    factor: multiplier and shifts (`ending`) of 1 / P and the scales; numbers[OWN_ZERO]: the zero point of the source.
    """
    f = Function(name)
    source = f.buffer("source", blocks * pixels * LANES, "uint8", VECTOR_BYTES)
    factor, numbers = _parameters(f)
    target = f.buffer("target", blocks * LANES, "uint8", VECTOR_BYTES)
    full = pixels // VECTOR_PIXELS
    with f.range() as block:
        total = f.register(LANES, "int32")
        total.set(hvx.words(0) - hvx.words(numbers[OWN_ZERO] * pixels))
        with f.loop(0, full, "vector") as index:
            found = hvx.unpack_bytes(hvx.load_bytes(source, (block * pixels + index * VECTOR_PIXELS) * LANES))
            total.set(total.get() + (found[0] + found[1]) + (found[2] + found[3]))
        for pixel in range(full * VECTOR_PIXELS, pixels):
            total.set(total.get() + _pixel(f, source, (block * pixels + pixel) * LANES))
        mean = _rescale(total.get(), factor, numbers)
        store_pixels(f, target, block * LANES, clamp(hvx.pack_bytes([mean] * 4), numbers, LOW, HIGH), 1)
    return f.finish()


def write_gate(name: str, blocks: int, pixels: int) -> tirx.PrimFunc:
    """`name(source [C/32][P][32], gate [C/32][32], factor [3], numbers, target, begin, end)`: a task is one block."""
    f = Function(name)
    source = f.buffer("source", blocks * pixels * LANES, "uint8", VECTOR_BYTES)
    gate = f.buffer("gate", blocks * LANES, "uint8", VECTOR_BYTES)
    factor, numbers = _parameters(f)
    target = f.buffer("target", blocks * pixels * LANES, "uint8", VECTOR_BYTES)
    with f.range() as block:
        other = _pixel(f, gate, block * LANES) - hvx.words(numbers[OTHER_ZERO])
        other = f.let("other", other, f"int32x{LANES}")

        def product(own: Expr) -> Expr:
            value = (own - hvx.words(numbers[OWN_ZERO])) * other
            return _rescale(value, factor, numbers)

        with f.loop(0, pixels // VECTOR_PIXELS, "vector") as index:
            at = (block * pixels + index * VECTOR_PIXELS) * LANES
            four = [product(part) for part in hvx.unpack_bytes(hvx.load_bytes(source, at))]
            hvx.store_bytes(target, at, clamp(hvx.pack_bytes(four), numbers, LOW, HIGH))
        for pixel in range(pixels - pixels % VECTOR_PIXELS, pixels):
            at = (block * pixels + pixel) * LANES
            value = product(_pixel(f, source, at))
            store_pixels(f, target, at, clamp(hvx.pack_bytes([value] * 4), numbers, LOW, HIGH), 1)
    return f.finish()


def write_floats(name: str, size: int) -> tirx.PrimFunc:
    """`name(source [size], planes [4][256], target float32, begin, end)`: every byte has its float; one task.

    planes: byte 0, 1, 2 and 3 of the 256 floats, each a table (`table_order`).
    """
    f = Function(name)
    source = f.buffer("source", size, "uint8", 1)
    planes = f.buffer("planes", _FLOAT_BYTES * TABLE_SIZE, "uint8", VECTOR_BYTES)
    target = f.buffer("target", size * _FLOAT_BYTES, "uint8", 4)
    full, rest = divmod(size, VECTOR_BYTES)
    tables = [
        [hvx.load_bytes(planes, plane * TABLE_SIZE + half) for half in (0, VECTOR_BYTES)]
        for plane in range(_FLOAT_BYTES)
    ]
    with f.range() as _:
        with f.loop(0, full, "vector") as index:
            found = f.let("x", hvx.load_bytes(source, index * VECTOR_BYTES), f"int32x{LANES}")
            for part, floats in enumerate(_floats(f, tables, found)):
                hvx.store_bytes(target, (index * _FLOAT_BYTES + part) * VECTOR_BYTES, floats)
        if rest:
            spill = _gathered(f, source, full * VECTOR_BYTES, rest)
            made = f.stack(VECTOR_BYTES * _FLOAT_BYTES // 4, "int32")
            for part, floats in enumerate(_floats(f, tables, hvx.load_bytes(spill, 0))):
                made.store(part * LANES, LANES, floats)
            with f.loop(0, rest, "byte") as index:
                for byte in range(_FLOAT_BYTES):
                    value = (made[index] >> (8 * byte)).astype("uint8")
                    target[(full * VECTOR_BYTES + index) * _FLOAT_BYTES + byte] = value
    return f.finish()


def _floats(f: Function, tables: list[list[Expr]], index: Expr) -> list[Expr]:
    """The floats of 128 bytes, in order: their bytes looked up apart and interleaved."""
    pair = f"int32x{2 * LANES}"
    planes = [f.let("plane", hvx.look_up(table, index), f"int32x{LANES}") for table in tables]
    low, high = (f.let("half", hvx.interleave(planes[i], planes[i + 1], 1), pair) for i in (0, 2))
    pairs = [f.let("word", hvx.interleave(take(low), take(high), 2), pair) for take in (hvx.low, hvx.high)]
    return [take(item) for item in pairs for take in (hvx.low, hvx.high)]


def _parameters(f: Function) -> tuple[Memory, Memory]:
    return f.buffer("factor", 3, "int32", VECTOR_BYTES), f.buffer("numbers", NUMBERS, "int32", VECTOR_BYTES)


def _rescale(value: Expr, factor: Memory, numbers: Memory) -> Expr:
    """`value` times one factor of any size, plus the result's zero point."""
    raised = raise_sum(value, hvx.words(factor[LEFT]))
    return rescale(raised, hvx.words(factor[MULTIPLIER]), hvx.words(factor[RIGHT]), hvx.words(numbers[TWICE_ZERO]))


def _pixel(f: Function, source: Memory, index: Expr) -> Expr:
    """The 32 bytes from `index` on, as words."""
    return hvx.unpack_bytes(hvx.load_bytes(_gathered(f, source, index, LANES), 0))[0]


def _gathered(f: Function, source: Memory, start: Expr, count: int) -> Memory:
    """Fewer bytes than a vector, in a vector on the stack: nothing beyond them is read."""
    spill = f.stack(VECTOR_BYTES, "uint8")
    with f.loop(0, count, "byte") as index:
        spill[index] = source[start + index]
    return spill


def _over_bytes(
    f: Function, size: int, sources: list[Memory], target: Memory, body: Callable[[list[Expr]], Expr]
) -> None:
    """target = body(sources), by vectors."""
    full, rest = divmod(size, VECTOR_BYTES)
    with f.range() as _:
        with f.loop(0, full, "vector") as index:
            found = [hvx.load_bytes(source, index * VECTOR_BYTES) for source in sources]
            hvx.store_bytes(target, index * VECTOR_BYTES, body(found))
        if rest:
            start = full * VECTOR_BYTES
            spills = [_gathered(f, source, start, rest) for source in sources]
            made = f.stack(VECTOR_BYTES, "uint8")
            hvx.store_bytes(made, 0, body([hvx.load_bytes(spill, 0) for spill in spills]))
            with f.loop(0, rest, "byte") as index:
                target[start + index] = made[index]
