"""What a kernel does under a schedule, counted: the terms of the cost model.

Each function returns counts; `cost_model` multiplies them by fitted times. Counts are in vectors, steps or
cache lines, so that one set of times serves all sizes.
"""

from __future__ import annotations

import math

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution, Tile
from mdcompiler.backends.kernels.depthwise import WindowShape
from mdcompiler.backends.kernels.geometry import rows_of
from mdcompiler.backends.kernels.spaces import WindowTile, row_length
from mdcompiler.backends.kernels.winograd import WinogradTile, patch_bytes, patches, scratch_bytes
from mdcompiler.target import Target

Counts = tuple[float, ...]

_IN_FLIGHT = 8
"""Independent multiply-adds that hide the latency of one: 4 cycles on two units (Agner Fog's tables)."""
_LINE_BYTES = 64
_BUSY = 0.5
"""Share of a cache that one operand can have before the others drive it out."""

CONVOLUTION_TERMS = (
    "multiply_adds",
    "latency",
    "weight_loads",
    "pixel_loads",
    "loads_beyond_arithmetic",
    "inner_loops",
    "results",
    "tiles",
    "tasks",
    "lines_from_l2",
    "lines_from_l3",
    "full_registers",
)
WINOGRAD_TERMS = (
    "multiply_adds",
    "latency",
    "weight_loads",
    "patch_loads",
    "tiles",
    "large_patches",
    "small_patches",
    "large_weights",
    "small_weights",
    "large_results",
    "small_results",
    "lines_from_l2",
    "full_registers",
)
WINDOW_TERMS = (
    "multiply_adds",
    "latency",
    "wide_tiles",
    "kernel_rows",
    "results",
    "border_results",
    "tiles",
    "tasks",
)


def float_convolution(work: Convolution, tile: Tile, target: Target) -> Counts:
    """Counts of a float32 convolution, in the order of CONVOLUTION_TERMS."""
    geometry, groups = work.geometry, tile.groups
    rows = 1 if geometry.is_pointwise else geometry.out[0]
    steps = work.in_channels * geometry.taps
    sums = dict.fromkeys(CONVOLUTION_TERMS, 0.0)
    used = groups - 0.5 * work.is_half_empty(groups)
    for times, width in _tiles(row_length(geometry), tile.pixels):
        sums["multiply_adds"] += times * steps * width * used
        sums["latency"] += times * steps * max(0, _IN_FLIGHT - width * groups)
        sums["weight_loads"] += times * steps * groups
        sums["pixel_loads"] += times * steps * width
        sums["loads_beyond_arithmetic"] += times * steps * max(0, width + groups - width * groups)
        sums["full_registers"] += times * _full(steps, width, groups, target)
        sums["inner_loops"] += times * work.in_blocks * geometry.taps
        sums["results"] += times * width * groups
        sums["tiles"] += times
    repeats = rows * (work.out_blocks // groups)
    counts = {name: count * repeats for name, count in sums.items()}
    counts["tasks"] = rows_of(geometry, tile.pixels) * (work.out_blocks // groups)
    counts["lines_from_l2"], counts["lines_from_l3"] = _traffic(work, tile, target)
    return tuple(counts[name] for name in CONVOLUTION_TERMS)


def winograd(work: Convolution, tile: WinogradTile, target: Target) -> Counts:
    """Counts of both functions of Winograd's filtering, in the order of WINOGRAD_TERMS. Large: 4 x 4 outputs."""
    count = math.prod(patches(work, tile.outputs))
    steps = tile.points * work.in_channels
    sums = dict.fromkeys(WINOGRAD_TERMS, 0.0)
    for times, width in _tiles(count, tile.patches):
        sums["multiply_adds"] += times * steps * width * tile.groups
        sums["latency"] += times * steps * max(0, _IN_FLIGHT - width * tile.groups)
        sums["weight_loads"] += times * steps * tile.groups
        sums["patch_loads"] += times * steps * width
        sums["full_registers"] += times * _full(steps, width, tile.groups, target)
        sums["tiles"] += times * tile.points
    counts = {name: total * (work.out_blocks // tile.groups) for name, total in sums.items()}
    size = "large" if tile.outputs > 2 else "small"
    counts[f"{size}_patches"] = count * work.in_blocks
    counts[f"{size}_weights"] = work.in_channels * work.out_blocks
    counts[f"{size}_results"] = count * work.out_blocks
    kept = patch_bytes(work, tile.outputs)
    times = 1 if kept + scratch_bytes(work, tile) <= target.l1_bytes else work.out_blocks // tile.groups
    counts["lines_from_l2"] = kept * times / _LINE_BYTES
    return tuple(counts[name] for name in WINOGRAD_TERMS)


def window(work: WindowShape, tile: WindowTile, target: Target) -> Counts:
    """Counts of a depthwise or pooling kernel, in the order of WINDOW_TERMS."""
    geometry = work.geometry
    rows = work.blocks * geometry.out[0]
    sums = dict.fromkeys(WINDOW_TERMS, 0.0)
    for index in range(0, geometry.out[1], tile.pixels):
        width = min(tile.pixels, geometry.out[1] - index)
        sums["multiply_adds"] += width * geometry.taps
        sums["latency"] += max(0, _IN_FLIGHT // 2 - width) * geometry.taps
        sums["wide_tiles"] += max(0, width - target.vector_registers // 2) * geometry.taps
        sums["kernel_rows"] += geometry.kernel[0]
        sums["results"] += width
        sums["border_results"] += 0 if geometry.inside(index, width) else width
        sums["tiles"] += 1
    sums["tasks"] = 1.0
    return tuple(rows * sums[name] for name in WINDOW_TERMS)


def _tiles(row: int, pixels: int) -> list[tuple[int, int]]:
    """The tiles of a row: how many of which width."""
    full, rest = divmod(row, pixels)
    return [(full, pixels), (1, rest)] if rest else [(full, pixels)]


def _full(steps: int, width: int, groups: int, target: Target) -> float:
    """The multiply-adds of a tile that leaves no register for the values it multiplies by."""
    sums = width * groups
    return float(steps * sums) if sums + groups >= target.vector_registers else 0.0


def _traffic(work: Convolution, tile: Tile, target: Target) -> tuple[float, float]:
    """Cache lines that weights and input bring from L2 and from beyond it."""
    geometry = work.geometry
    rows, groups = rows_of(geometry, tile.pixels), work.out_blocks // tile.groups
    weights = geometry.taps * work.in_channels * work.out_blocks * work.lanes * ELEMENT_BYTES
    image = geometry.pixels * work.in_channels * ELEMENT_BYTES
    row = image / rows * min(geometry.kernel[0], rows)
    parts: tuple[tuple[float, float, float], ...]
    if tile.rows_outer:
        parts = ((weights, weights, rows), (row, image, 1.0 if row <= target.l1_bytes * _BUSY else groups))
    else:
        parts = ((weights / groups, weights, rows), (image, image, groups))
    near = far = 0.0
    for reused, once, times in parts:
        near += once * (times if reused > target.l1_bytes * _BUSY else 1.0)
        far += once * (times if reused > target.l2_bytes * _BUSY else 0.0)
    return near / _LINE_BYTES, far / _LINE_BYTES
