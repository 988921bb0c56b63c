"""Words in, words out, element by element: tables, sums, gates, and the way between bytes and floats.

Memory is [C/4][P] words for what works on channels, one int32 an element for plain tensors, whose bytes cannot be
written one by one. Arithmetic as in the integer reference; parameters come in buffers (`integer_ending`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdcompiler.backends.gpu import integer_ending as end
from mdcompiler.backends.gpu.function import LANES, GpuFunction, div, mod
from mdcompiler.backends.gpu.integer_ending import TABLE_SIZE, WORD, Sum
from mdcompiler.backends.gpu.integer_instructions import join, pack, unsigned_byte
from mdcompiler.backends.gpu.traits import Dot4, Element
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr

THREADS = 128
"""Of a workgroup."""
_BEYOND = 1024.0
"""More steps than any zero point brings back into a byte."""


def write_table(name: str, words: int) -> Any:
    """`name(source, table [64 words], target)`: each byte through a table; may work in place."""
    f = _function(name, words)
    source, table = f.buffer("source", words, WORD), f.buffer("table", TABLE_SIZE // LANES, WORD)
    target = f.buffer("target", words, WORD)
    near = end.share(f, table, TABLE_SIZE // LANES, WORD)
    f.barrier()

    def entries(index: Expr) -> None:
        word = f.let("word", source[index])
        target[index] = join([end.look_up(near, unsigned_byte(word, place)) for place in range(LANES)])

    return _each(f, words, entries)


def write_plain_table(name: str, elements: int, dtype: str) -> Any:
    """`name(source int32, table [256] int32 or float32, target)`: `target = table[source]`, plain tensors."""
    f = _function(name, elements)
    source, table = f.buffer("source", elements, WORD), f.buffer("table", TABLE_SIZE, dtype)
    target = f.buffer("target", elements, dtype)

    def entry(index: Expr) -> None:
        target[index] = table[source[index]]

    return _each(f, elements, entry)


def write_add(name: str, words: int, lanes: int, add: Sum, dot: Dot4) -> Any:
    """`name(left, right, numbers, target)`; may work in place. lanes: bytes of a word, 1 for plain tensors."""
    f = _function(name, words)
    left, right = f.buffer("left", words, WORD), f.buffer("right", words, WORD)
    numbers, target = f.buffer("numbers", end.NUMBERS, WORD), f.buffer("target", words, WORD)

    def sums(index: Expr) -> None:
        word, other = f.let("word", left[index]), f.let("other", right[index])
        own = [unsigned_byte(word, place) for place in range(lanes)]
        sums = end.add_bytes(f, dot, own, other, numbers, add)
        target[index] = pack(f, dot, sums, add.clamp)

    return _each(f, words, sums)


def write_gate(name: str, words: int, pixels: int, raises: bool, dot: Dot4) -> Any:
    """`name(source [words][pixels], gate [words], numbers, target)`: products of each channel with its gate."""
    f = _function(name, words * pixels)
    source, gate = f.buffer("source", words * pixels, WORD), f.buffer("gate", words, WORD)
    numbers, target = f.buffer("numbers", end.NUMBERS, WORD), f.buffer("target", words * pixels, WORD)

    def products(index: Expr) -> None:
        word, other = f.let("word", source[index]), f.let("gate", gate[div(index, pixels)])
        found = []
        for place in range(LANES):
            own = unsigned_byte(word, place) - numbers[end.OWN_ZERO]
            total = f.let("total", own * (unsigned_byte(other, place) - numbers[end.OTHER_ZERO]))
            found.append(f.let("byte", end.finish_one(f, dot, total, numbers, raises)))
        target[index] = join(found)

    return _each(f, words * pixels, products)


def write_quantize(name: str, words: int, element: Element = "float32") -> Any:
    """`name(source [words][4], scale [1], numbers, target)`: rounded half to even, saturated. element: of source."""
    f = _function(name, words)
    source, scale = f.buffer("source", words * LANES, element), f.buffer("scale", 1)
    numbers, target = f.buffer("numbers", end.NUMBERS, WORD), f.buffer("target", words, WORD)

    def convert(index: Expr) -> None:
        target[index] = join([_quantized(f, source[index * LANES + place], scale, numbers) for place in range(LANES)])

    return _each(f, words, convert)


def write_plain_quantize(name: str, elements: int, element: Element = "float32") -> Any:
    """`name(source, scale [1], numbers, target int32)`: plain tensors."""
    f = _function(name, elements)
    source, scale = f.buffer("source", elements, element), f.buffer("scale", 1)
    numbers, target = f.buffer("numbers", end.NUMBERS, WORD), f.buffer("target", elements, WORD)

    def convert(index: Expr) -> None:
        target[index] = _quantized(f, source[index], scale, numbers)

    return _each(f, elements, convert)


def _quantized(f: GpuFunction, value: Expr, scale: Any, numbers: Any) -> Expr:
    """A float as a byte with its zero point. It is saturated first: beyond int32 no conversion is defined."""
    steps = tirx.nearbyint(value.astype("float32") / scale[0])
    bounded = tirx.min(tirx.max(steps, tirx.const(-_BEYOND, "float32")), tirx.const(_BEYOND, "float32"))
    zero = numbers[end.SHIFTED_ZERO] >> 1
    return f.let("byte", end.clamp(bounded.astype("int32") + zero, numbers, end.LOW, end.HIGH))


def write_dequantize(name: str, words: int, element: Element = "float32") -> Any:
    """`name(source, floats [256], target [words][4])`: every byte has its float. element: of target."""
    f = _function(name, words)
    source, floats = f.buffer("source", words, WORD), f.buffer("floats", TABLE_SIZE)
    target = f.buffer("target", words * LANES, element)

    def convert(index: Expr) -> None:
        word = f.let("word", source[index])
        for place in range(LANES):
            target[index * LANES + place] = floats[unsigned_byte(word, place)].astype(element)

    return _each(f, words, convert)


def write_pack(name: str, channels: int, pixels: int) -> Any:
    """`name(source int32 [C][P], target [C/4][P])`."""
    words = -(-channels // LANES)
    f = _function(name, words * pixels)
    source, target = f.buffer("source", channels * pixels, WORD), f.buffer("target", words * pixels, WORD)

    def gather(index: Expr) -> None:
        channel, pixel = f.let("channel", div(index, pixels) * LANES), f.let("pixel", mod(index, pixels))
        # what stands in channels beyond the last never counts: any will do
        places = [tirx.min(channel + place, channels - 1) * pixels + pixel for place in range(LANES)]
        target[index] = join([f.let("byte", source[place]) for place in places])

    return _each(f, words * pixels, gather)


def write_unpack(name: str, channels: int, pixels: int) -> Any:
    """`name(source [C/4][P], target int32 [C][P])`."""
    words = -(-channels // LANES)
    f = _function(name, words * pixels)
    source, target = f.buffer("source", words * pixels, WORD), f.buffer("target", channels * pixels, WORD)

    def scatter(index: Expr) -> None:
        channel, pixel = f.let("channel", div(index, pixels) * LANES), f.let("pixel", mod(index, pixels))
        word = f.let("word", source[index])
        for place in range(LANES):
            with f.when(True if channels % LANES == 0 else channel + place < channels):
                target[(channel + place) * pixels + pixel] = unsigned_byte(word, place)

    return _each(f, words * pixels, scatter)


def write_copy(name: str, elements: int, offset: int, whole: int) -> Any:
    """`name(source int32 [elements], target int32 [whole])`: a part put into its place, `offset` elements on."""
    f = _function(name, elements)
    source, target = f.buffer("source", elements, WORD), f.buffer("target", whole, WORD)

    def move(index: Expr) -> None:
        target[index + offset] = source[index]

    return _each(f, elements, move)


def _function(name: str, items: int) -> GpuFunction:
    """A function with a thread for each of `items`."""
    return GpuFunction(name, (-(-items // THREADS), 1), THREADS)


def _each(f: GpuFunction, items: int, body: Callable[[Expr], None]) -> Any:
    """Finish `f`, whose threads do `body` for one item each."""
    index = f.let("index", f.block_x * THREADS + f.thread)
    with f.when(True if items % THREADS == 0 else index < items):
        body(index)
    return f.finish()
