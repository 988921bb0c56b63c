"""Squeeze-excite on bytes: the mean of every channel, and the product of a tensor with one gate a channel.

Memory is blocked [C/v][P][v]. Arithmetic as in the integer reference; parameters come in buffers
(`requantize`).
"""

from __future__ import annotations

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.dot_product import QUAD, vpdpbusd
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.neon_sum import sum_pixels
from mdcompiler.backends.kernels.requantize import (
    HIGH,
    LOW,
    NUMBERS,
    OTHER_ZERO,
    OWN_ZERO,
    ZERO,
    Rounding,
    rescale,
)
from mdcompiler.backends.kernels.saturate import VECTORS, Processor, part, to_bytes
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, Register, splat, vector_type

_SUMS = 4
"""Sums of a mean that run side by side, to hide the latency of a dot product."""


def write_integer_mean(
    name: str,
    blocks: int,
    pixels: int,
    lanes: int,
    rounding: Rounding,
    by_quads: bool = False,
    processor: Processor = "any",
) -> tirx.PrimFunc:
    """`name(source, multiplier [1], shift [1], numbers, target [blocks][v], begin, end)`: a task is one block.

    numbers[OWN_ZERO] is the zero point of the source. by_quads: with AVX512-VNNI, four pixels at a time.
    """
    f = Function(name)
    source = f.buffer("source", blocks * pixels * lanes, "uint8", lanes)
    multiplier, shift = _multiplier(f, rounding)
    numbers = f.buffer("numbers", NUMBERS, "int32")
    target = f.buffer("target", blocks * lanes, "uint8", lanes)
    with f.range() as block:
        start = block * pixels * lanes
        by_words = processor == "neon"
        total = sum_pixels(f, source, start, pixels) if by_words else _sum(f, source, start, pixels, lanes, by_quads)
        centred = total - splat(numbers[OWN_ZERO] * pixels, lanes)
        mean = rescale(centred, splat(multiplier[0], lanes), splat(shift[0], lanes), lanes, rounding)
        value = to_bytes(f, [mean], numbers[ZERO], (numbers[LOW], numbers[HIGH]), lanes, "any")
        target.store(block * lanes, lanes, part(value, 0, lanes))
    return f.finish()


def _sum(f: Function, source: Memory, start: Expr, pixels: int, lanes: int, by_quads: bool) -> Expr:
    """The int32 vector that is the sum of `pixels` byte vectors from `start` on."""
    sums = [f.register(lanes, "int32") for _ in range(_SUMS)]
    for register in sums:
        register.set(splat(0, lanes, "int32"))
    each = QUAD if by_quads else 1
    steps = pixels // (each * _SUMS)
    with f.loop(0, steps, "step") as step:
        for place, register in enumerate(sums):
            at = start + (step * _SUMS + place) * each * lanes
            _take_four(register, source, at, lanes) if by_quads else _take(register, source, at, lanes)
    with f.loop(steps * each * _SUMS, pixels, "pixel") as pixel:
        _take(sums[0], source, start + pixel * lanes, lanes)
    first, second, third, fourth = (register.get() for register in sums)
    return (first + second) + (third + fourth)


def _take(register: Register, source: Memory, at: Expr, lanes: int) -> None:
    register.set(register.get() + source.vector(at, lanes).astype(vector_type("int32", lanes)))


def _take_four(register: Register, source: Memory, at: Expr, lanes: int) -> None:
    """Four pixels, permuted to [v][4], times ones."""
    order = [tirx.const(pixel * lanes + lane, "int32") for lane in range(lanes) for pixel in range(QUAD)]
    four = tirx.Shuffle([tirx.reinterpret(f"int8x{QUAD * lanes}", source.vector(at, QUAD * lanes))], order)
    register.set(vpdpbusd(register.get(), four, splat(1, QUAD * lanes, "int8"), lanes))


def write_integer_gate(
    name: str, blocks: int, pixels: int, lanes: int, rounding: Rounding, processor: Processor = "any"
) -> tirx.PrimFunc:
    """`name(source, gate [blocks][v], multiplier [1], shift [1], numbers, target, begin, end)`: a task is a block."""
    f = Function(name)
    source = f.buffer("source", blocks * pixels * lanes, "uint8", lanes)
    gate = f.buffer("gate", blocks * lanes, "uint8", lanes)
    multiplier, shift = _multiplier(f, rounding)
    numbers = f.buffer("numbers", NUMBERS, "int32")
    target = f.buffer("target", blocks * pixels * lanes, "uint8", lanes)
    integers = vector_type("int32", lanes)

    def scaled(product: Expr) -> Expr:
        return rescale(product, splat(multiplier[0], lanes), splat(shift[0], lanes), lanes, rounding, processor)

    def products(at: Expr, width: int, other: Expr) -> list[Expr]:
        if processor == "neon" and width == VECTORS:
            narrow = other.astype(f"int16x{lanes}")
            own = neon.less(source.vector(at, width * lanes), numbers[OWN_ZERO])
            return [neon.smull(quarter, narrow) for quarter in neon.quarters(own)]
        pixels_ = (source.vector(at + pixel * lanes, lanes).astype(integers) for pixel in range(width))
        return [_product(own, splat(numbers[OWN_ZERO], lanes), other, lanes, rounding) for own in pixels_]

    with f.range() as block:
        other = gate.vector(block * lanes, lanes).astype(integers) - splat(numbers[OTHER_ZERO], lanes)
        other = f.let("gate", other, integers)
        full, rest = divmod(pixels, VECTORS)
        for start, count, width in ((0, full, VECTORS), (full * VECTORS, min(rest, 1), rest)):
            with f.loop(0, count, "some") as some:
                at = (block * pixels + start + some * width) * lanes
                values = [scaled(product) for product in products(at, width, other)]
                if values:
                    value = to_bytes(f, values, numbers[ZERO], (numbers[LOW], numbers[HIGH]), lanes, processor)
                    target.store(at, width * lanes, part(value, 0, width * lanes))
    return f.finish()


def _product(own: Expr, zero: Expr, other: Expr, lanes: int, rounding: Rounding) -> Expr:
    """(own - zero) * other, as float32 where that is what is rescaled.

    All terms stay below 2^24, so the float is exact however it is formed, and this form is one multiply-add.
    """
    if rounding != "float-half-even":
        return (own - zero) * other
    floats = vector_type("float32", lanes)
    return own.astype(floats) * other.astype(floats) - (zero * other).astype(floats)


def _multiplier(f: Function, rounding: Rounding) -> tuple[Memory, Memory]:
    dtype = "float32" if rounding == "float-half-even" else "int32"
    return f.buffer("multiplier", 1, dtype), f.buffer("shift", 1, "int32")
