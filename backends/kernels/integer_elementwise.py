"""Bytes in, bytes out: means, gates, sums, tables, and the way between bytes and floats.

Memory is blocked [C/v][P][v] for what works on channels, of any equal layout otherwise. Arithmetic as in
the integer reference; parameters come in buffers (`requantize`).
"""

from __future__ import annotations

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.channelwise import over_elements
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.look_up import PERMUTED, TABLE_SIZE, look_up
from mdcompiler.backends.kernels.requantize import (
    HIGH,
    LOW,
    NUMBERS,
    OTHER_ZERO,
    OWN_ZERO,
    SUM_HIGH,
    SUM_LOW,
    SUM_ZERO,
    ZERO,
    Rounding,
    add_quantized,
)
from mdcompiler.backends.kernels.saturate import Processor
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, splat, vector_type


def write_table(name: str, size: int, permutes_bytes: bool = False, processor: Processor = "any") -> tirx.PrimFunc:
    """`name(source, table [256], target, begin, end)`: target = table[source]; may work in place."""
    f = Function(name)
    source = f.buffer("source", size, "uint8", 1)
    table = f.buffer("table", TABLE_SIZE, "uint8", 1)
    target = f.buffer("target", size, "uint8", 1)

    def entries(index: Expr, width: int) -> None:
        target.store(index, width, look_up(f, table, source.vector(index, width), width, permutes_bytes, processor))

    over_elements(f, size, PERMUTED if permutes_bytes else 16, entries)
    return f.finish()


def write_integer_add(name: str, size: int, lanes: int, rounding: Rounding) -> tirx.PrimFunc:
    """`name(left, right, numbers, factors [2], target, begin, end)`."""
    f = Function(name)
    left, right = (f.buffer(part, size, "uint8", 1) for part in ("left", "right"))
    numbers, factors = f.buffer("numbers", NUMBERS, "int32"), f.buffer("factors", 2)
    target = f.buffer("target", size, "uint8", 1)

    def add(index: Expr, width: int) -> None:
        own = _integers(left, index, width) - splat(numbers[OWN_ZERO], width)
        other = _integers(right, index, width) - splat(numbers[OTHER_ZERO], width)
        total = add_quantized(own, other, numbers, factors, width, rounding) + splat(numbers[SUM_ZERO], width)
        _store(target, index, _clamp(total, numbers, SUM_LOW, SUM_HIGH, width), width)

    over_elements(f, size, lanes, add)
    return f.finish()


def write_quantize(name: str, size: int, lanes: int) -> tirx.PrimFunc:
    """`name(source float32, scale [1], numbers, target uint8, begin, end)`: rounded half to even, saturated."""
    f = Function(name)
    source, scale = f.buffer("source", size, alignment=4), f.buffer("scale", 1)
    numbers, target = f.buffer("numbers", NUMBERS, "int32"), f.buffer("target", size, "uint8", 1)

    def convert(index: Expr, width: int) -> None:
        steps = tirx.nearbyint(source.vector(index, width) / splat(scale[0], width))
        # saturated as floats first: a float beyond int32 has no defined conversion
        bounded = tirx.min(tirx.max(steps, splat(-1024.0, width)), splat(1024.0, width))
        value = bounded.astype(vector_type("int32", width)) + splat(numbers[ZERO], width)
        _store(target, index, _clamp(value, numbers, LOW, HIGH, width), width)

    over_elements(f, size, lanes, convert)
    return f.finish()


def write_dequantize(name: str, size: int, lanes: int, processor: Processor = "any") -> tirx.PrimFunc:
    """`name(source uint8, scale [1], numbers, target float32, begin, end)`: numbers[OWN_ZERO] is the zero point."""
    f = Function(name)
    source, scale = f.buffer("source", size, "uint8", 1), f.buffer("scale", 1)
    numbers, target = f.buffer("numbers", NUMBERS, "int32"), f.buffer("target", size, alignment=4)
    by_words = processor == "neon"

    def convert(index: Expr, width: int) -> None:
        if by_words and width == neon.BYTES:
            bytes_ = f.let("bytes", source.vector(index, width), f"uint8x{width}")
            parts, lanes = neon.words(neon.less(bytes_, numbers[OWN_ZERO])), neon.LANES
        else:
            parts, lanes = [_integers(source, index, width) - splat(numbers[OWN_ZERO], width)], width
        for place, part in enumerate(parts):
            value = part.astype(vector_type("float32", lanes)) * splat(scale[0], lanes)
            target.store(index + place * lanes, lanes, value)

    over_elements(f, size, neon.BYTES if by_words else lanes, convert)
    return f.finish()


def write_integer_pack(name: str, channels: int, pixels: int, lanes: int) -> tirx.PrimFunc:
    """`name(source [C][P], target [C/v][P][v], begin, end)` for bytes; a task is one block."""
    f = Function(name)
    source = f.buffer("source", channels * pixels, "uint8", 1)
    target = f.buffer("target", -(-channels // lanes) * lanes * pixels, "uint8", lanes)
    with (
        f.range() as block,
        f.loop(0, lanes, "lane") as lane,
        f.when(block * lanes + lane < channels),
        f.loop(0, pixels, "pixel") as pixel,
    ):
        target[(block * pixels + pixel) * lanes + lane] = source[(block * lanes + lane) * pixels + pixel]
    return f.finish()


def write_integer_unpack(name: str, channels: int, pixels: int, lanes: int) -> tirx.PrimFunc:
    """`name(source [C/v][P][v], target [C][P], begin, end)` for bytes; a task is one block."""
    f = Function(name)
    source = f.buffer("source", -(-channels // lanes) * lanes * pixels, "uint8", lanes)
    target = f.buffer("target", channels * pixels, "uint8", 1)
    with (
        f.range() as block,
        f.loop(0, lanes, "lane") as lane,
        f.when(block * lanes + lane < channels),
        f.loop(0, pixels, "pixel") as pixel,
    ):
        target[(block * lanes + lane) * pixels + pixel] = source[(block * pixels + pixel) * lanes + lane]
    return f.finish()


def _integers(memory: Memory, index: Expr, lanes: int) -> Expr:
    return memory.vector(index, lanes).astype(vector_type("int32", lanes))


def _store(memory: Memory, index: Expr, value: Expr, lanes: int) -> None:
    memory.store(index, lanes, value.astype(vector_type("uint8", lanes)))


def _clamp(value: Expr, numbers: Memory, low: int, high: int, lanes: int) -> Expr:
    return tirx.min(tirx.max(value, splat(numbers[low], lanes)), splat(numbers[high], lanes))
