"""Which register tiles kernels on bytes may get, the best first where nothing was measured.

A dot product instruction does four times the work of a float multiply-add for the same loads, so weights
reach it in time from L2 and a tile needs no more sums than hide its latency. What decides is the end of
the tile, which packs four pixels at a time, the short tile at the end of a row, and registers: unrolled,
the quads of neighbouring kernel columns are kept as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.choose_dot_tile import (
    dot_tiles,
    halves_tiles,
    matrix_tiles,
    neon_window_tiles,
    picture_tiles,
)
from mdcompiler.backends.kernels.convolution import Tile
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution
from mdcompiler.backends.kernels.integer_window import IntegerWindow
from mdcompiler.backends.kernels.saturate import VECTORS
from mdcompiler.backends.kernels.spaces import WindowTile, row_length
from mdcompiler.target import Target

_MOST = 24
"""Candidates of one kernel."""
_WINDOW_PIXELS = 16
_LATENCY_IN_FLIGHT = 8
"""Independent dot products that hide the latency of one."""
_END_COST = 16.0
"""Finishing up to four pixels of a channel block, in dot products."""
_TILE_COST = 8.0
"""Starting a tile, in dot products."""
_SPILL_COST = 0.3
"""What a tile costs more that needs twice the registers there are."""
_UNROLLED = 2
"""Quads of one pixel that are held at once where neighbouring columns see it again."""
_SPARE = 4
"""Registers that the compiler wants for itself: with fewer it spills sums."""
_INSTRUCTIONS = {"vpdpbusd": 1, "pmaddwd": 4, "plain": 8}
"""Vector operations of one dot product of four."""
_OPERANDS = {"vpdpbusd": 1, "pmaddwd": 2, "plain": 4}
"""Registers that hold the four bytes of a pixel."""


def integer_tiles(work: IntegerConvolution, target: Target) -> list[Tile]:
    """The tiles worth measuring, the one with the least estimated time first."""
    if work.by_rows:
        return picture_tiles(work, target)[:_MOST]
    if work.dot == "usmmla":
        return matrix_tiles(work, target)[:_MOST]
    if work.dot == "sdot":
        return dot_tiles(work, target)[:_MOST]
    tiles = sorted(_tiles(work, target), key=lambda tile: (_cost(work, target, tile), tile.pixels * tile.groups))
    return tiles[:_MOST]


def integer_window_tiles(work: IntegerWindow, target: Target) -> list[WindowTile]:
    """The widths worth measuring of a depthwise kernel's tile, the best guess first: whole fours, evenly cut."""
    if work.by_halves:
        return halves_tiles(work.geometry)
    if work.by_quads and work.lanes == neon.LANES:
        return neon_window_tiles(work)
    row = work.geometry.out[1]
    most = min(_WINDOW_PIXELS, target.vector_registers // 2)
    even = math.ceil(row / math.ceil(row / most) / VECTORS) * VECTORS
    widths = dict.fromkeys(min(width, row) for width in (even, *range(most, 0, -VECTORS), *range(VECTORS - 1, 0, -1)))
    return [WindowTile(width) for width in widths]


def _tiles(work: IntegerConvolution, target: Target) -> Iterator[Tile]:
    """All tiles that fit the registers, their outer loops in the order that suits the caches."""
    for groups in (groups for groups in range(1, work.out_blocks + 1) if work.out_blocks % groups == 0):
        for pixels in range(1, row_length(work.geometry) + 1):
            if pixels * groups + groups + 1 > target.vector_registers:
                break
            yield Tile(pixels, groups, rows_outer=_weight_bytes(work) <= target.l1_bytes)


def _weight_bytes(work: IntegerConvolution) -> int:
    return work.geometry.taps * work.in_channels * work.out_blocks * work.lanes * work.parts


def _cost(work: IntegerConvolution, target: Target, tile: Tile) -> float:
    """Estimated time of one row over all channel blocks, in dot products."""
    full, rest = divmod(row_length(work.geometry), tile.pixels)
    cost = full * _tile_cost(work, target, tile.pixels, tile.groups)
    if rest:
        cost += _tile_cost(work, target, rest, tile.groups)
    return cost * (work.out_blocks // tile.groups)


def _tile_cost(work: IntegerConvolution, target: Target, pixels: int, groups: int) -> float:
    steps = work.quads_in_all * work.geometry.taps * work.parts
    operations: float = _INSTRUCTIONS[work.dot] * max(pixels * groups, _LATENCY_IN_FLIGHT, pixels + groups)
    columns = work.geometry.kernel[1]
    seen = pixels if columns == 1 else _UNROLLED * (pixels + columns - 1)
    needed = pixels * groups + groups + seen * _OPERANDS[work.dot]
    spilled = max(0.0, needed / (target.vector_registers - _SPARE) - 1)
    operations *= 1 + _SPILL_COST * spilled
    return steps * operations + groups * math.ceil(pixels / VECTORS) * _END_COST + _TILE_COST
