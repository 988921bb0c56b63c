"""The schedules that a template has for a workload: small sets, complete by construction.

A register tile must fit the registers: `pixels` x `groups` sums and one vector of weights a group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution, ConvolutionShape, Tile
from mdcompiler.backends.kernels.depthwise import WindowShape
from mdcompiler.backends.kernels.geometry import Geometry, rows_of
from mdcompiler.backends.kernels.winograd import WinogradTile, patches
from mdcompiler.target import Target

_WINOGRAD_OUTPUTS = (4, 2)
_WINOGRAD_GROUPS = 4
_SHARE_OF_L2 = 0.25
"""Of the second-level cache for the weights of a tile of several groups: every tile reads them anew, and in a network
what the kernels before have left drives them out (3x8 over 960 channels: 118 GFLOP/s alone, 74 in its place)."""
_LONG_ROW = 64
_FINE, _COARSE = 10, 4


@dataclass(frozen=True)
class WindowTile:
    """How many neighbours in a row a window kernel computes at once."""

    pixels: int


def convolution_tiles(work: ConvolutionShape, target: Target) -> list[Tile]:
    """Every tile of a convolution, with both orders of its outer loops where they differ."""
    row = row_length(work.geometry)
    tiles = []
    for pixels, groups in _shapes(work.out_blocks, row, target.vector_registers):
        if groups > 1 and _group_bytes(work) * groups > target.l2_bytes * _SHARE_OF_L2:
            continue
        orders = (False, True) if groups < work.out_blocks and rows_of(work.geometry, pixels) > 1 else (False,)
        tiles += [Tile(pixels, groups, rows_outer) for rows_outer in orders]
    return tiles


def _group_bytes(work: ConvolutionShape) -> int:
    """Weights of one channel block: what a tile of one group reads."""
    return work.geometry.taps * work.in_channels * work.lanes * ELEMENT_BYTES


def window_tiles(work: WindowShape, target: Target) -> list[WindowTile]:
    """Every tile of a kernel that slides over each channel by itself.

    NEON multiplies registers only, so the columns under a tile take some too; x86 multiplies by memory.
    """
    widths = _widths(work.geometry.out[1], target.vector_registers - 2)
    if "asimd" in target.cpu_flags:
        most = target.vector_registers + 1  # the first column is done with when the last is read
        widths = [width for width in widths if width + _columns(work, width) <= most] or widths[:1]
    return [WindowTile(pixels) for pixels in widths]


def _columns(work: WindowShape, pixels: int) -> int:
    """Columns of the picture under one row of the kernel of a tile."""
    return (pixels - 1) * work.geometry.stride[1] + work.geometry.kernel[1]


def winograd_tiles(work: Convolution, target: Target) -> list[WinogradTile]:
    """Tiles of Winograd's filtering: those that cut the patches most evenly."""
    return [
        WinogradTile(outputs, *shape)
        for outputs in _WINOGRAD_OUTPUTS
        for shape in _shapes(work.out_blocks, math.prod(patches(work, outputs)), target.vector_registers)
        if shape[1] <= _WINOGRAD_GROUPS
    ]


def row_length(geometry: Geometry) -> int:
    """Pixels that tiles may line up in: a pointwise kernel knows no rows."""
    return geometry.out_pixels if geometry.is_pointwise else geometry.out[1]


def _shapes(blocks: int, row: int, registers: int) -> Iterator[tuple[int, int]]:
    """Pixels and groups of every tile that fits the registers."""
    for groups in (groups for groups in range(1, blocks + 1) if blocks % groups == 0):
        for pixels in _widths(row, registers // groups - 1):
            yield pixels, groups


def _widths(row: int, most: int) -> list[int]:
    """Widths of tiles up to `most` that cut a row evenly; in a long row, where all do, few of the wide ones."""
    even = [width for width in range(1, min(row, most) + 1) if width == math.ceil(row / math.ceil(row / width))]
    if row <= _LONG_ROW:
        return even
    return [width for width in even if width <= _FINE or width % _COARSE == 0]
