"""Bytes that each call moves between memory and the processor, operand by operand.

What a kernel reads again for every tile counts every time: HVX has no cache of its own before L2. Vectors and scalars
are told apart, because scalar loads go through the L1 cache and vectors do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mdcompiler.backends.clib.program import Call
from mdcompiler.backends.hexagon.depthwise import HvxWindow
from mdcompiler.backends.hexagon.instructions import LANES, QUAD, VECTOR_BYTES
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource, HvxSimpleSource, HvxWindowSource
from mdcompiler.backends.hexagon.store import VECTOR_PIXELS

_WORD = 4


@dataclass(frozen=True)
class Operand:
    """What one call moves of one buffer or constant. by_vectors: by vector instructions alone, but for odd ends."""

    name: str
    bytes: int
    by_vectors: bool


def operands(call: Call, sizes: Mapping[str, int]) -> list[Operand]:
    """The operands of a call, reads and writes. sizes: bytes of every buffer and constant."""
    function, names = call.function, (*call.reads, *call.writes)
    if isinstance(function, HvxConvolutionSource):
        return _convolution(call, function, sizes)
    if isinstance(function, HvxWindowSource):
        moved = {0: _window_bytes(function.work, function.schedule.rows)}
        return [Operand(name, moved.get(i, sizes[name]), True) for i, name in enumerate(names)]
    by_vectors = isinstance(function, HvxSimpleSource)
    return [Operand(name, sizes.get(name, 0), by_vectors) for name in names]


def set_bytes(function: HvxConvolutionSource) -> int:
    """Weights of the output channels that one tile computes."""
    return function.tile.groups * function.work.window.total_quads * VECTOR_BYTES


def tiles_of_set(function: HvxConvolutionSource) -> int:
    """How often the weights of a set are read."""
    return function.work.out[0] * -(-function.work.out[1] // function.tile.pixels)


def _convolution(call: Call, function: HvxConvolutionSource, sizes: Mapping[str, int]) -> list[Operand]:
    """source, weight, start, sums, scale, numbers, then a table, a residual, and the target."""
    work, tile = function.work, function.tile
    tiles = tiles_of_set(function) * (call.tasks // work.out[0])
    share = tiles / (tiles_of_set(function) * (work.out_blocks // tile.groups))
    vectors = tiles * tile.groups * VECTOR_BYTES
    scalars = {0: tiles * tile.pixels * work.window.total_quads * QUAD, 3: tiles * tile.pixels * _WORD, 5: 0}
    moved = {1: tiles * set_bytes(function), 2: vectors, 4: vectors * work.ending.scale_vectors}
    found = []
    for place, name in enumerate((*call.reads, *call.writes)):
        bytes_ = scalars.get(place, moved.get(place, round(sizes[name] * share)))
        found.append(Operand(name, bytes_, place not in scalars))
    return found


def _window_bytes(work: HvxWindow, rows: int) -> int:
    """What a depthwise convolution reads of its source."""
    lines = (rows - 1) * work.stride + work.kernel[0]
    loads = work.kernel[1] if work.stride == 1 else 2 * -(-work.kernel[1] // 2)
    tiles = -(-work.out[0] // rows) * -(-work.out[1] // VECTOR_PIXELS)
    return work.blocks * tiles * lines * loads * VECTOR_PIXELS * LANES
