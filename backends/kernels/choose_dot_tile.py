"""Which register tiles kernels on bytes may get on NEON, the one with the fewest instructions first.

A tile of p pixels x g channel groups holds p * g sums, a vector of input for every four pixels and a pair of weight
vectors. See `neon_convolution`, `neon_matrix` and `neon_depthwise` for what they do with them. Instructions are what is
counted: small cores issue few a cycle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from mdcompiler.backends.kernels.convolution import ConvolutionShape, Tile
from mdcompiler.backends.kernels.dot_product import QUAD
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution
from mdcompiler.backends.kernels.integer_window import IntegerWindow
from mdcompiler.backends.kernels.saturate import VECTORS
from mdcompiler.backends.kernels.spaces import WindowTile, row_length
from mdcompiler.target import Target

_OTHER_REGISTERS = 5
"""Two vectors of weights, the mask of the sign, two more so that the compiler spills no sum."""
_LOOP = 2.0
_LOAD = 1.5
"""Of four pixels: the load, which may be half of a pair, and the sign."""
_LOAD_AND_MIX = 4.0
"""Of four pixels of eight channels: a load from either block, and two operands of a matrix product."""
_WIDEN = 3.0
"""Of four pixels of a depthwise kernel: the load and two halves widened."""
_FINISH = 24.0
"""From four sums to sixteen bytes."""
_LEAST_SUMS = 8
"""Independent sums that hide the latency of one sdot: 4 cycles on two units (Cortex-A76 optimization guide)."""
_WINDOW_PIXELS = 16


def dot_tiles(work: ConvolutionShape, target: Target) -> list[Tile]:
    """Tiles of a convolution that fit the registers."""
    steps = work.geometry.taps * math.ceil(work.in_channels / work.lanes)
    row = row_length(work.geometry)
    weights_bytes = work.geometry.taps * work.in_channels * work.out_blocks * work.lanes
    shapes = sorted(
        _shapes(work.out_blocks, row, target.vector_registers),
        key=lambda shape: _cost(work.out_blocks, row, steps, *shape),
    )
    return [Tile(*shape, rows_outer=weights_bytes <= target.l1_bytes) for shape in shapes]


def picture_tiles(work: IntegerConvolution, target: Target) -> list[Tile]:
    """The same where a row of the kernel is one vector of an interleaved picture."""
    row = row_length(work.geometry)
    shapes = [
        (pixels, groups)
        for groups in range(1, work.out_blocks + 1)
        for pixels in range(1, row + 1)
        if work.out_blocks % groups == 0 and pixels * (groups + 1) + _OTHER_REGISTERS <= target.vector_registers
    ]
    shapes.sort(key=lambda shape: _picture_cost(work, row, *shape))
    return [Tile(*shape, rows_outer=True) for shape in shapes]


def matrix_tiles(work: ConvolutionShape, target: Target) -> list[Tile]:
    """The same for matrix products: even numbers of pixels, unless the row is shorter."""
    row = row_length(work.geometry)
    shapes = sorted(
        _matrix_shapes(work.out_blocks, row, target.vector_registers),
        key=lambda shape: _matrix_cost(work, row, *shape),
    )
    weights_bytes = work.geometry.taps * work.in_channels * work.out_blocks * work.lanes
    return [Tile(*shape, rows_outer=weights_bytes <= target.l1_bytes) for shape in shapes]


def halves_tiles(geometry: Geometry) -> list[WindowTile]:
    """Widths of a depthwise kernel's tile: whole vectors of bytes, or a short row."""
    limit = _WINDOW_PIXELS if geometry.stride[1] == 1 else _WINDOW_PIXELS // 2
    widths = {min(pixels, geometry.out[1]) for pixels in (*range(VECTORS, limit + 1, VECTORS), *range(1, VECTORS))}
    return [WindowTile(width) for width in sorted(widths, key=lambda width: (_window_cost(geometry, width), -width))]


def neon_window_tiles(work: IntegerWindow) -> list[WindowTile]:
    """Widths of a depthwise kernel's tile by quads: whole vectors of bytes, at least one; or the row."""
    geometry = work.geometry
    widths = {min(pixels, geometry.out[1]) for pixels in range(VECTORS, _WINDOW_PIXELS + 1, VECTORS)}
    return [WindowTile(width) for width in sorted(widths, key=lambda width: (_quads_cost(work, width), -width))]


def _quads_cost(work: IntegerWindow, pixels: int) -> float:
    """Instructions of one row of one channel block."""
    full, rest = divmod(work.geometry.out[1], pixels)
    return full * _quads_tile_cost(work, pixels) + (_quads_tile_cost(work, rest) if rest else 0.0)


def _quads_tile_cost(work: IntegerWindow, pixels: int) -> float:
    geometry = work.geometry
    vectors = math.ceil(((pixels - 1) * geometry.stride[1] + geometry.kernel[1]) / VECTORS)
    step = QUAD // math.gcd(QUAD, geometry.stride[1])
    permuted = pixels + (work.quads - 1) * min(pixels, step)
    row = work.quads * (pixels + 1) + permuted + 2 * vectors + _LOOP
    return geometry.kernel[0] * row + pixels + _FINISH * math.ceil(pixels / VECTORS)


def _shapes(blocks: int, row: int, registers: int) -> Iterator[tuple[int, int]]:
    """Pixels and groups."""
    for groups in (groups for groups in range(1, blocks + 1) if blocks % groups == 0):
        for pixels in range(1, row + 1):
            if pixels * groups + math.ceil(pixels / VECTORS) + _OTHER_REGISTERS > registers:
                break
            yield pixels, groups


def _cost(blocks: int, row: int, steps: int, pixels: int, groups: int) -> float:
    """Instructions of one row over all channel blocks; steps: fours of input channels times taps."""
    full, rest = divmod(row, pixels)
    tiles = full * _tile_cost(steps, pixels, groups) + (_tile_cost(steps, rest, groups) if rest else 0.0)
    return tiles * (blocks // groups)


def _tile_cost(steps: int, pixels: int, groups: int) -> float:
    sums, vectors = pixels * groups, math.ceil(pixels / VECTORS)
    step = max(sums, _LEAST_SUMS) + _LOAD * vectors + groups / 2 + _LOOP
    return steps * step + sums + _FINISH * vectors * groups


def _picture_cost(work: IntegerConvolution, row: int, pixels: int, groups: int) -> float:
    """Instructions of one row over all channel blocks."""

    def tile(pixels: int) -> float:
        sums = work.row_quads * (max(pixels * groups, _LEAST_SUMS) + groups / 2)
        rows = work.geometry.kernel[0] * (sums + 2 * pixels + _LOOP)
        return rows + pixels * groups + _FINISH * math.ceil(pixels / VECTORS) * groups

    full, rest = divmod(row, pixels)
    return (full * tile(pixels) + (tile(rest) if rest else 0.0)) * (work.out_blocks // groups)


def _matrix_shapes(blocks: int, row: int, registers: int) -> Iterator[tuple[int, int]]:
    """Pixels and groups: two sums for every two pixels of a group, the pixels themselves, and mixtures of them."""
    for groups in (groups for groups in range(1, blocks + 1) if blocks % groups == 0):
        for pixels in (*range(2, row + 1, 2), *((row,) if row % 2 else ())):
            pairs = math.ceil(pixels / 2)
            if 2 * pairs * groups + pairs + _OTHER_REGISTERS > registers:
                break
            yield pixels, groups


def _matrix_cost(work: ConvolutionShape, row: int, pixels: int, groups: int) -> float:
    """Instructions of one row over all channel blocks."""
    full, rest = divmod(row, pixels)
    tiles = full * _matrix_tile_cost(work, pixels, groups)
    tiles += _matrix_tile_cost(work, rest, groups) if rest else 0.0
    return tiles * (work.out_blocks // groups)


def _matrix_tile_cost(work: ConvolutionShape, pixels: int, groups: int) -> float:
    """A row of the kernel loads and mixes pixels once; taps between two pairs, or at a stride, mix again."""
    geometry, pairs = work.geometry, math.ceil(pixels / 2)
    columns = (pixels - 1) * geometry.stride[1] + geometry.kernel[1]
    load = math.ceil(columns / VECTORS) * _LOAD_AND_MIX + _LOOP
    mixed = geometry.kernel[1] if geometry.stride[1] > 1 else geometry.kernel[1] // 2
    sums = max(2 * pairs * groups, _LEAST_SUMS)
    row = load + mixed * pairs + geometry.kernel[1] * (sums + groups)
    steps = geometry.kernel[0] * math.ceil(work.in_channels / (2 * work.lanes))
    return steps * row + groups * (pixels + 2 * pairs) + _FINISH * math.ceil(pixels / VECTORS) * groups


def _window_cost(geometry: Geometry, pixels: int) -> float:
    """Instructions of one row of one channel block."""
    full, rest = divmod(geometry.out[1], pixels)
    return full * _window_tile_cost(geometry, pixels) + (_window_tile_cost(geometry, rest) if rest else 0.0)


def _window_tile_cost(geometry: Geometry, pixels: int) -> float:
    vectors = math.ceil(((pixels - 1) * geometry.stride[1] + geometry.kernel[1]) / VECTORS)
    row = pixels * geometry.kernel[1] + _WIDEN * vectors + geometry.kernel[1] + _LOOP
    return geometry.kernel[0] * row + pixels + _FINISH * math.ceil(pixels / VECTORS)
