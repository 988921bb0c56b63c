"""Copies that surround a tensor or the picture with its zero point, so that no window meets a border."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from mdcompiler.backends.hexagon import instructions as hvx
from mdcompiler.backends.hexagon.instructions import LANES, VECTOR_BYTES
from mdcompiler.backends.hexagon.store import VECTOR_PIXELS
from mdcompiler.backends.kernels.tir import Expr, Function, Memory

_DOUBLE_WORD = 8
_MOST_STRAIGHT = 8
"""Vectors that are copied without a loop."""


def write_borders(
    name: str, blocks: int, size: tuple[int, int], before: tuple[int, int], whole: tuple[int, int], slack: int
) -> tirx.PrimFunc:
    """`name(source [C/32][H][W][32], zero [128], target [C/32][whole][32], begin, end)`: a task is one row of target.

    size: H and W; before: rows and columns of border above and to the left. zero: the zero point in every byte.
    slack: bytes behind the target that nobody fills.
    """
    f = Function(name)
    source = f.buffer("source", blocks * size[0] * size[1] * LANES, "uint8", VECTOR_BYTES)
    zero = f.buffer("zero", VECTOR_BYTES, "uint8", VECTOR_BYTES)
    target = f.buffer("target", blocks * whole[0] * whole[1] * LANES + slack, "uint8", VECTOR_BYTES)
    after = whole[1] - size[1] - before[1]
    with f.range() as task:
        row = f.let("row", tirx.floormod(task, whole[0]) - before[0])
        block = f.let("block", tirx.floordiv(task, whole[0]))
        start = f.let("start", task * whole[1])

        def fill(column: int, pixels: int) -> None:
            to = (start + column) * LANES
            _each(f, pixels, lambda at, count: _move(target, to + at, zero, 0, count))

        inside = tirx.all(row >= 0, row < size[0])
        with f.when(inside):
            first = f.let("first", (block * size[0] + row) * size[1])

            def copy(at: Expr, count: int) -> None:
                _move(target, (start + before[1]) * LANES + at, source, first * LANES + at, count)

            # whole vectors, of which the row then takes back its part
            fill(0, _widened(before[1], whole[1]))
            fill(whole[1] - _widened(after, whole[1]), _widened(after, whole[1]))
            _each(f, size[1], copy)
        with f.when(tirx.Not(inside)):
            fill(0, whole[1])
    return f.finish()


def _widened(pixels: int, most: int) -> int:
    """As many pixels as make a vector, if any are wanted and there are that many."""
    return max(pixels, min(VECTOR_PIXELS, most)) if pixels else 0


def _move(target: Memory, to: Expr, source: Memory, start: Expr, count: int) -> None:
    if count == VECTOR_BYTES:
        hvx.store_bytes(target, to, hvx.copied(hvx.load_bytes(source, start)))
    else:
        target.store(to, count, source.vector(start, count))


def _each(f: Function, pixels: int, body: Callable[[Expr, int], None]) -> None:
    """`body(first byte, bytes)` over a run of pixels, by vectors where there are enough of them."""
    vectors = -(-pixels // VECTOR_PIXELS)
    if pixels >= VECTOR_PIXELS and vectors <= _MOST_STRAIGHT:
        for index in range(vectors):
            body(min(index * VECTOR_BYTES, pixels * LANES - VECTOR_BYTES), VECTOR_BYTES)
        return
    if pixels >= VECTOR_PIXELS:
        with f.loop(0, vectors, "vector") as index:
            at = index * VECTOR_BYTES
            body(at if pixels % VECTOR_PIXELS == 0 else tirx.min(at, pixels * LANES - VECTOR_BYTES), VECTOR_BYTES)
        return
    for word in range(pixels * LANES // _DOUBLE_WORD):
        body(word * _DOUBLE_WORD, _DOUBLE_WORD)


def write_picture(name: str, size: tuple[int, int], before: tuple[int, int], whole: tuple[int, int]) -> tirx.PrimFunc:
    """`name(source [H][W][3], zero [128], spread [128], target [whole][4], begin, end)`: a task is one row.

    Pixels get four bytes, of which the last is any: its weights are zero. spread: `pack.picture_spread`. A vector reads
    32 bytes more than it uses, which the next row has; the last row goes pixel by pixel.
    """
    f = Function(name)
    source = f.buffer("source", size[0] * size[1] * 3, "uint8", 1)
    zero = f.buffer("zero", VECTOR_BYTES, "uint8", VECTOR_BYTES)
    spread = f.buffer("spread", VECTOR_BYTES, "uint8", VECTOR_BYTES)
    target = f.buffer("target", whole[0] * whole[1], "int32", VECTOR_BYTES)
    four = tirx.reinterpret("int32", zero.vector(0, 4))
    has_vectors = size[1] >= LANES
    with f.range() as row:
        source_row = f.let("source_row", row - before[0])
        start = f.let("start", row * whole[1])
        inside = tirx.all(source_row >= 0, source_row < size[0])
        with f.when(inside):
            first, to = source_row * size[1], start + before[1]
            _fill(f, target, start, before[1], four)
            is_last = source_row == size[0] - 1
            with f.when(tirx.Not(is_last) if has_vectors else False):
                _spread_row(f, source, target, hvx.load_bytes(spread, 0), (first, to, size[1]))
            with f.when(is_last if has_vectors else True), f.loop(0, size[1], "pixel") as pixel:
                red, green, blue = (source[(first + pixel) * 3 + part].astype("int32") for part in range(3))
                target[to + pixel] = red | green << 8 | blue << 16
            _fill(f, target, to + size[1], whole[1] - before[1] - size[1], four)
        with f.when(tirx.Not(inside)):
            _fill(f, target, start, whole[1], four)
    return f.finish()


def _spread_row(f: Function, source: Memory, target: Memory, spread: Expr, run: tuple[Expr, Expr, int]) -> None:
    """A run of pixels: first in the source, first in the target, how many."""
    first, to, count = run
    with f.loop(0, -(-count // LANES), "vector") as index:
        pixel = f.let("pixel", tirx.min(index * LANES, count - LANES))
        target.store(to + pixel, LANES, hvx.permute(hvx.load_bytes(source, (first + pixel) * 3), spread))


def _fill(f: Function, target: Memory, start: Expr, count: int, value: Expr) -> None:
    with f.loop(0, count, "fill") as index:
        target[start + index] = value


def write_rows(name: str, blocks: int, pixels: int, channels: int) -> tirx.PrimFunc:
    """`name(source [C/32][P][32], target [P][C], begin, end)`; one task, since a vector runs into the next row.

    Pixels come in ascending order and blocks inside them, so that what a vector writes too much is written again.
    The last pixels, whose vectors would leave the target, are written byte by byte.
    """
    f = Function(name)
    source = f.buffer("source", blocks * pixels * LANES, "uint8", VECTOR_BYTES)
    target = f.buffer("target", pixels * channels, "uint8", 1)
    tail = min(pixels, -(-VECTOR_BYTES // channels) + VECTOR_PIXELS)
    with f.range() as _:
        with f.loop(0, pixels - tail, "pixel") as pixel, f.loop(0, blocks, "block") as block:
            found = hvx.copied(hvx.load_bytes(source, (block * pixels + pixel) * LANES))
            hvx.store_bytes(target, pixel * channels + block * LANES, found)
        with f.loop(pixels - tail, pixels, "pixel") as pixel, f.loop(0, channels, "channel") as channel:
            block = channel >> 5
            target[pixel * channels + channel] = source[(block * pixels + pixel) * LANES + (channel & 31)]
    return f.finish()
