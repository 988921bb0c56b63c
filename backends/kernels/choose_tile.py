"""Which register tile a convolution gets when nothing was measured.

A tile of p pixels x g channel groups does p * g multiply-adds for p + g loads in every step of the
reduction. It must hide the latency of the multiply-add, must fit the registers, and the short tile at
the end of a row must not waste much. All candidates are counted; the cheapest wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, ConvolutionShape, Tile
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.target import Target

_LATENCY_IN_FLIGHT = 8
"""Independent multiply-adds that hide the latency of one: 4 cycles on two units (Agner Fog's tables)."""
_WEIGHT_COST = 1.0
"""Cost of loading one vector of weights, in multiply-adds: they stream from L2, half a vector a cycle."""
_PIXEL_COST = 0.25
"""Cost of broadcasting one input value: it comes from L1."""
_EXPOSED = 0.25
"""Share of the loads that the multiply-adds do not hide."""
_WINDOW_PIXELS = 10


def choose_convolution_tile(work: ConvolutionShape, target: Target) -> Tile:
    """The tile with the least estimated time."""
    geometry = work.geometry
    row = geometry.out_pixels if geometry.is_pointwise else geometry.out[1]
    candidates = _candidates(work.out_blocks, row, target.vector_registers)
    pixels, groups = min(candidates, key=lambda shape: _cost(work.out_blocks, row, *shape))
    weights_bytes = geometry.taps * work.in_channels * work.out_blocks * work.lanes * ELEMENT_BYTES
    return Tile(pixels, groups, rows_outer=weights_bytes <= target.l1_bytes)


def choose_window_pixels(geometry: Geometry, target: Target) -> int:
    """Pixels of a depthwise tile: as even a split of the row as the registers allow."""
    limit = min(_WINDOW_PIXELS, target.vector_registers // 2)
    tiles = math.ceil(geometry.out[1] / limit)
    return math.ceil(geometry.out[1] / tiles)


def _candidates(blocks: int, row: int, registers: int) -> Iterator[tuple[int, int]]:
    for groups in range(1, blocks + 1):
        if blocks % groups:
            continue
        for pixels in range(1, row + 1):
            if pixels * groups + groups + 1 > registers:
                break
            yield pixels, groups


def _cost(blocks: int, row: int, pixels: int, groups: int) -> float:
    """Estimated time of one row over all channel blocks, in multiply-adds."""
    full, rest = divmod(row, pixels)
    tiles = full * _step_cost(pixels, groups) + (_step_cost(rest, groups) if rest else 0.0)
    return tiles * (blocks // groups)


def _step_cost(pixels: int, groups: int) -> float:
    """One step of the reduction: arithmetic or latency, and the part of the loads that does not overlap."""
    loads = _WEIGHT_COST * groups + _PIXEL_COST * pixels
    return max(pixels * groups, _LATENCY_IN_FLIGHT, loads) + _EXPOSED * loads
