"""Sums of the bytes that a window reads, 128 times: what weights stored plus 128 add too much (see `convolution`).

They are the same for every output channel, so they are made once, before the convolution: 32 pixels at a time with
`vrmpy` by 128, then, where the window has several taps, by adding up pixels. A tile takes them as scalars.

    pixels [C/32][P][32]  ->  sums [P]  ->  sums of windows, at the pixel where each window starts
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx

from mdcompiler.backends.hexagon import instructions as hvx
from mdcompiler.backends.hexagon.instructions import LANES, QUAD, VECTOR_BYTES
from mdcompiler.backends.kernels.tir import Expr, Function, Memory

WEIGHT_OFFSET = 128
_QUAD_OFFSET = 0x80808080 - (1 << 32)
"""Four bytes of 128."""
_DOUBLE_WORD = 8


def sum_tasks(count: int) -> int:
    """Iterations of `write_pixel_sums`: 32 sums each, the last 32 where 32 does not divide them."""
    return -(-count // LANES)


def sum_offsets(last_quads: int) -> NDArray[Any]:
    """What bytes are multiplied by, in all blocks but the last and in the last one: 128, or 0 where nobody reads."""
    last = np.repeat(np.array([WEIGHT_OFFSET, 0], np.uint8), [last_quads * QUAD, LANES - last_quads * QUAD])
    return np.stack([np.full(VECTOR_BYTES, WEIGHT_OFFSET, np.uint8), np.tile(last, VECTOR_BYTES // LANES)])


def write_pixel_sums(name: str, blocks: int, pixels: int, last_quads: int) -> tirx.PrimFunc:
    """`name(source [blocks][pixels][32], offsets [2][128], target [pixels] int32, begin, end)`

    last_quads: groups of four channels that count in the last block. offsets:
    see `sum_offsets`.
    """
    f = Function(name)
    source = f.buffer("source", blocks * pixels * LANES, "uint8", VECTOR_BYTES)
    offsets = f.buffer("offsets", 2 * VECTOR_BYTES, "uint8", VECTOR_BYTES)
    target = f.buffer("target", pixels, "int32", VECTOR_BYTES)
    with f.range() as task:
        if pixels < LANES:
            _few_sums(f, source, target, (blocks, pixels), last_quads)
        else:
            first = f.let("first", tirx.min(task * LANES, pixels - LANES) if pixels % LANES else task * LANES)
            vectors = [f.register(LANES, "int32") for _ in range(LANES // QUAD)]

            def add(block: Expr, offset: Expr) -> None:
                for part, register in enumerate(vectors):
                    at = (block * pixels + first) * LANES + part * VECTOR_BYTES
                    register.set(hvx.dot_bytes(register.get(), hvx.load_bytes(source, at), offset))

            for register in vectors:
                register.set(hvx.words(0))
            if blocks > 1:
                whole = f.let("whole", hvx.load_bytes(offsets, 0), f"int32x{LANES}")
                with f.loop(0, blocks - 1, "block") as block:
                    add(block, whole)
            add(blocks - 1, f.let("part", hvx.load_bytes(offsets, VECTOR_BYTES), f"int32x{LANES}"))
            target.store(first, LANES, _joined(f, [register.get() for register in vectors]))
    return f.finish()


def _joined(f: Function, vectors: Sequence[Expr]) -> Expr:
    """Eight vectors of four pixels, a word for every quad, as one of 32 pixels; order is kept."""
    while len(vectors) > 1:
        pairs = [
            f.let("pair", hvx.separate(vectors[i], vectors[i + 1], QUAD), f"int32x{2 * LANES}")
            for i in range(0, len(vectors), 2)
        ]
        vectors = [f.let("sum", hvx.low(pair) + hvx.high(pair), f"int32x{LANES}") for pair in pairs]
    return vectors[0]


def _few_sums(f: Function, source: Memory, target: Memory, shape: tuple[int, int], last_quads: int) -> None:
    """Fewer pixels than a vector has lanes: one after the other. shape: blocks and pixels."""
    blocks, pixels = shape
    total = f.stack(1, "int64")

    def add(at: Expr, count: int) -> None:
        for start in range(0, count, 2 * _DOUBLE_WORD):
            words = [_words(source, at + start + i, min(count - start - i, _DOUBLE_WORD)) for i in (0, _DOUBLE_WORD)]
            total[0] = hvx.sum_bytes(total[0], *words)

    with f.loop(0, pixels, "pixel") as pixel:
        total[0] = tirx.const(0, "int64")
        if blocks > 1:
            with f.loop(0, blocks - 1, "block") as block:
                add((block * pixels + pixel) * LANES, LANES)
        add(((blocks - 1) * pixels + pixel) * LANES, last_quads * QUAD)
        both = total[0]
        halves = both.astype("int32") + (both >> tirx.const(32, "int64")).astype("int32")
        target[pixel] = halves * WEIGHT_OFFSET


def _words(source: Memory, at: Expr, size: int) -> Expr:
    """`size` bytes as int64: 8, 4 or none."""
    if size == _DOUBLE_WORD:
        return tirx.reinterpret("int64", source.vector(at, size))
    if size == QUAD:
        return tirx.reinterpret("uint32", source.vector(at, size)).astype("int64")
    return tirx.const(0, "int64")


@dataclass(frozen=True)
class Rows:
    """Where windows start in a picture: `count` rows, `step` pixels apart, of `span` neighbouring pixels each."""

    count: int
    step: int
    span: int

    @property
    def end(self) -> int:
        """Behind the last of them."""
        return (self.count - 1) * self.step + self.span


def write_window_sums(name: str, pixels: int, offsets: tuple[int, ...], rows: Rows) -> tirx.PrimFunc:
    """`name(source [pixels] int32, target int32, begin, end)`: target[i] = sum of source[i + each offset]."""
    f = Function(name)
    source = f.buffer("source", pixels, "int32", VECTOR_BYTES)

    def sums(first: Expr, lanes: int) -> Expr:
        return _added([source.vector(first + offset, lanes) for offset in offsets])

    return _over_rows(f, rows, sums)


def write_picture_sums(name: str, pixels: int, offsets: tuple[int, ...], rows: Rows) -> tirx.PrimFunc:
    """`name(source [pixels][4], target int32, begin, end)`: both steps in one, since a pixel is a word already."""
    f = Function(name)
    source = f.buffer("source", pixels * QUAD, "uint8", VECTOR_BYTES)
    four = tirx.const(_QUAD_OFFSET, "int32")

    def sums(first: Expr, lanes: int) -> Expr:
        if lanes == 1:
            parts = [source[(first + offset) * QUAD + i].astype("int32") for offset in offsets for i in range(QUAD)]
            return _added(parts) * WEIGHT_OFFSET
        total = hvx.words(0)
        for offset in offsets:
            total = hvx.dot_unsigned(total, hvx.load_bytes(source, (first + offset) * QUAD), four)
        return total

    return _over_rows(f, rows, sums)


def _over_rows(f: Function, rows: Rows, sums: Callable[[Expr, int], Expr]) -> tirx.PrimFunc:
    """target = sums(first pixel, how many) over all rows; a task is one of them."""
    target = f.buffer("target", rows.end, "int32", VECTOR_BYTES)
    with f.range() as row:
        lanes = LANES if rows.span >= LANES else 1
        with f.loop(0, -(-rows.span // lanes), "run") as run:
            first = run * lanes if rows.span % lanes == 0 else tirx.min(run * lanes, rows.span - lanes)
            first = f.let("first", row * rows.step + first)
            target.store(first, lanes, sums(first, lanes))
    return f.finish()


def _added(parts: Sequence[Expr]) -> Expr:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
