"""Schedules of float convolutions where a multiply-add takes one element of a vector (Arm's fmla), best first.

A tile of p pixels x g channel groups holds p * g sums, p vectors of input and a pair of weight vectors. For every
four input channels it does 4 p g multiply-adds, p + 4 g loads, two in an instruction where they are neighbours
(ldp), and the loop itself. Instructions are what is counted: small cores issue few a cycle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution, Tile
from mdcompiler.backends.kernels.neon_picture import row_vectors, suits_picture
from mdcompiler.backends.kernels.spaces import row_length
from mdcompiler.backends.kernels.winograd import WinogradTile, patches, suits_winograd
from mdcompiler.target import Target

_OTHER_REGISTERS = 3
"""A pair of weight vectors, and one without which the compiler spills sums."""
_LOOP = 4
_START_AND_END = 5.0
"""Instructions for each sum outside the reduction: the bias, the activation, the store."""
_CURVE_SUMS = 16
"""Sums that fit the registers beside the constants of a curved activation; each one more is spilled as it ends."""
_SPILL = 1.0
_LEAST_SUMS = 8
"""Independent multiply-adds that hide the latency of one: 4 cycles on two units (Cortex-A76 optimization guide)."""
_TRANSFORMS = {4: (330, 170, 220), 2: (130, 80, 90)}
"""m -> instructions to transform one patch, one vector of weights, and one result back."""
_MARGIN = 1.2
"""By how much Winograd's filtering must be better: its intermediate results pass through the second-level cache."""


def element_tiles(work: Convolution, target: Target) -> list[Tile]:
    """Tiles of the direct kernel that fit the registers."""
    row = row_length(work.geometry)
    weights_bytes = work.geometry.taps * work.in_channels * work.out_blocks * work.lanes * ELEMENT_BYTES
    shapes = _shapes(work, row, target.vector_registers)
    ranked = sorted(shapes, key=lambda shape: _cost(work, row, *shape))
    return [Tile(*shape, rows_outer=weights_bytes <= target.l1_bytes) for shape in ranked]


def element_winograd_tiles(work: Convolution, target: Target) -> list[WinogradTile]:
    """One tile for each size of patch: those whose patches divide the picture most evenly."""
    groups = 2 if work.out_blocks % 2 == 0 else 1
    limit = (target.vector_registers - groups - 1) // (groups + 1)
    tiles = []
    for outputs in sorted(_TRANSFORMS, key=lambda outputs: _winograd_cost(work, outputs)):
        count = math.prod(patches(work, outputs))
        tiles.append(WinogradTile(outputs, math.ceil(count / math.ceil(count / limit)), groups))
    return tiles


def prefers_winograd(work: Convolution) -> bool:
    """Whether Winograd's filtering takes fewer instructions than the direct kernel."""
    if not work.by_element or not suits_winograd(work):
        return False
    return min(_winograd_cost(work, outputs) for outputs in _TRANSFORMS) * _MARGIN < work.macs / work.lanes


def _shapes(work: Convolution, row: int, registers: int) -> Iterator[tuple[int, int]]:
    """Pixels and groups. Read one by one, the channels of an interleaved pixel take a register each."""
    inputs = 1 if work.source == "blocked" or suits_picture(work) else work.in_channels
    for groups in (groups for groups in range(1, work.out_blocks + 1) if work.out_blocks % groups == 0):
        for pixels in range(1, row + 1):
            if pixels * (groups + inputs) + _OTHER_REGISTERS > registers:
                break
            yield pixels, groups


def _cost(work: Convolution, row: int, pixels: int, groups: int) -> float:
    """Instructions of one row over all channel blocks."""
    full, rest = divmod(row, pixels)
    tiles = full * _tile_cost(work, pixels, groups) + (_tile_cost(work, rest, groups) if rest else 0.0)
    return tiles * (work.out_blocks // groups)


def _tile_cost(work: Convolution, pixels: int, groups: int) -> float:
    """The channels of an interleaved picture are no vector: a row of the kernel is read, or each by itself."""
    if suits_picture(work):
        return _picture_cost(work, pixels, groups)
    together = work.lanes if work.source == "blocked" else 1
    steps = work.geometry.taps * math.ceil(work.in_channels / together)
    loads = math.ceil(pixels / 2) if work.source == "blocked" else pixels
    step = together * (max(pixels * groups, _LEAST_SUMS) + groups / 2) + loads + _LOOP
    return steps * step + _end_cost(work, pixels * groups)


def _end_cost(work: Convolution, sums: int) -> float:
    """What a tile takes outside the reduction."""
    curved = work.activation.kind not in ("none", "clip")
    return _START_AND_END * sums + (_SPILL * max(0, sums - _CURVE_SUMS) if curved else 0.0)


def _picture_cost(work: Convolution, pixels: int, groups: int) -> float:
    rows, columns = work.geometry.kernel
    sums = columns * work.in_channels * (max(pixels * groups, _LEAST_SUMS) + groups / 2)
    return rows * (sums + row_vectors(work) * pixels + _LOOP) + _end_cost(work, pixels * groups)


def _winograd_cost(work: Convolution, outputs: int) -> float:
    count, size = math.prod(patches(work, outputs)), outputs + 2
    patch, weight, result = _TRANSFORMS[outputs]
    products = size**2 * count * work.in_channels * work.out_blocks
    return products + count * work.in_blocks * patch + work.out_blocks * (work.in_channels * weight + count * result)
