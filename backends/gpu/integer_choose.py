"""Which tile an integer kernel gets: the fastest of a small space under a model of the machine.

The model counts cycles of one multiprocessor that issues 64 lanes a cycle, half a cycle for an instruction of a warp
of 32 (NVIDIA, "CUDA C++ Programming Guide", arithmetic throughput of compute capability 7.x and 8.x), and reads 128
bytes of shared memory a cycle. Workgroups are shared out evenly, and one that ends makes room for the next: a kernel
takes as long as the instructions of all of a multiprocessor's, but never less than they wait for their loads, as many
at once as it has room for. Ties go to the first candidate.
No device was at hand when the model was made: measured records may replace it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.integer_depthwise import GpuIntegerWindow, IntegerWindowTile
from mdcompiler.backends.gpu.integer_workload import GpuIntegerConvolution, IntegerTile
from mdcompiler.backends.gpu.traits import GpuTraits

_ISSUE_CYCLES = 0.5
"""Of one instruction of a warp."""
_WARP = 32
_RESIDENT_WARPS = 20
"""Warps that one multiprocessor holds with the 96 registers that these kernels need (65536 of them)."""
_RESIDENT_BLOCKS = 16
_LOAD_CYCLES = 400
"""From a load of memory to its use."""
_START_CYCLES = 1500
"""Of a workgroup: its launch, its first load, its constants and its store."""
_SHARED_LOAD_CYCLES = 10
"""That one warp waits for a step of a stage, where the loads of some steps are on their way at once."""
_BARRIER_CYCLES = 40
_SHARED_LINE_BYTES = 128
_GATHER_INSTRUCTIONS = 12
"""To find, read, check and keep one word of a window."""
_VECTOR_INSTRUCTIONS = 10
"""The same for four words in one."""
_WEIGHT_INSTRUCTIONS = 2
"""To read a vector of weights."""
_PERMUTATIONS = 8
"""To turn four words of four bytes."""
_ENDING_INSTRUCTIONS = 10
"""To requantize one byte and store it."""
_RESIDENT_SHARED_BYTES = 65536
_MOST_HELD_WORDS = 16
_TABLE_BYTES = 1024
"""Room left for the tables of an ending."""
_DEPTHS = (4, 8, 16, 32)
_MOST_DEPTH = 16
_LEAST_THREADS = 32
_REGISTER_TILES = ((1, 1), (2, 1), (1, 2))
"""Quads and words of a thread: 16 or 32 sums. With 64, kernels need up to 190 registers and spill some."""
_WINDOW_TILES = tuple(
    IntegerWindowTile(rows, columns, threads, by_quads)
    for rows, columns, threads, by_quads in itertools.product((1, 2), (1, 2, 4), (128, 64, 32), (False, True))
)


def choose_tile(work: GpuIntegerConvolution, traits: GpuTraits) -> IntegerTile:
    """The tile of a convolution; the space always has one that fits the traits."""
    allowed = (tile for tile in tiles(work, traits) if traits.allows(work, tile))
    return min(allowed, key=lambda tile: tile_cycles(work, tile, traits))


def tiles(work: GpuIntegerConvolution, traits: GpuTraits) -> Iterator[IntegerTile]:
    """The space of a convolution: threads along both sides, words of each thread, depth of a stage."""
    sides = itertools.product((4, 8, 16, 32), (1, 2, 4, 8, 16, 32), _REGISTER_TILES, _depths(work))
    for across, down, (quads, words), depth in sides:
        tile = IntegerTile(across, down, quads, words, depth)
        if not _LEAST_THREADS <= tile.threads <= traits.max_threads:
            continue
        if tile.shared_bytes + _TABLE_BYTES <= traits.shared_bytes and _held_words(tile) <= _MOST_HELD_WORDS:
            yield tile


def _held_words(tile: IntegerTile) -> int:
    """Registers in which a thread holds its part of the next stage."""
    inputs, weights = tile.depth * tile.pixels, tile.depth * tile.out_words
    return -(-inputs // tile.threads) + -(-weights // tile.threads) * LANES


def _depths(work: GpuIntegerConvolution) -> list[int]:
    """Depths of a stage: for a window those that end with a tap, because then no word needs a division."""
    if work.source == "picture":
        return [work.geometry.taps]
    if work.is_pointwise:
        return [depth for depth in _DEPTHS if depth < 2 * work.in_words] or [_DEPTHS[0]]
    return [depth for depth in range(1, _MOST_DEPTH + 1) if work.in_words % depth == 0]


def tile_cycles(work: GpuIntegerConvolution, tile: IntegerTile, traits: GpuTraits) -> float:
    """Cycles of the whole kernel by the model."""
    blocks = -(-work.geometry.out_pixels // tile.pixels) * -(-work.out_words // tile.out_words)
    waits = tile.stages(work) * (_LOAD_CYCLES + tile.depth * _SHARED_LOAD_CYCLES)
    busy, shared_bytes = _warp_cycles(work, tile), tile.shared_bytes + _TABLE_BYTES
    return _time(blocks, tile.threads, busy, waits, traits, shared_bytes)


def _warp_cycles(work: GpuIntegerConvolution, tile: IntegerTile) -> float:
    """Cycles of one warp of a convolution."""
    sums = tile.quads * tile.words * LANES * LANES
    across = min(tile.across, _WARP)
    lines = tile.quads * _lines(across) + tile.words * _lines(max(1, _WARP // across))
    step = sums * _ISSUE_CYCLES + lines
    vectors = work.loads_vectors
    units = tile.depth * tile.pixels // (LANES if vectors else 1)
    each = _VECTOR_INSTRUCTIONS if vectors else _GATHER_INSTRUCTIONS
    loads = -(-units // tile.threads) * each + -(-tile.depth * tile.out_words // tile.threads) * _VECTOR_INSTRUCTIONS
    ending = sums * _ENDING_INSTRUCTIONS * _ISSUE_CYCLES
    return tile.stages(work) * (tile.depth * step + loads * _ISSUE_CYCLES + _BARRIER_CYCLES) + ending


def _lines(threads: int) -> float:
    """Cycles of a read of 16 bytes by each of `threads` neighbours, which others of their warp share."""
    return max(1.0, threads * LANES * LANES / _SHARED_LINE_BYTES)


def choose_window(work: GpuIntegerWindow, traits: GpuTraits) -> IntegerWindowTile:
    """The tile of a depthwise convolution."""
    return min(window_tiles(work, traits), key=lambda tile: window_cycles(work, tile, traits))


def window_tiles(work: GpuIntegerWindow, traits: GpuTraits) -> Iterator[IntegerWindowTile]:
    """The space of a depthwise convolution; by quads only where an instruction permutes bytes."""
    for tile in _WINDOW_TILES:
        fits = tile.threads <= traits.max_threads and (work.dot == "dp4a" or not tile.by_quads)
        if fits and traits.allows(work, tile):
            yield tile


def window_cycles(work: GpuIntegerWindow, tile: IntegerWindowTile, traits: GpuTraits) -> float:
    """Cycles of the whole kernel by the model."""
    geometry = work.geometry
    lines, width = (
        (count - 1) * geometry.stride[axis] + geometry.kernel[axis]
        for axis, count in enumerate((tile.rows, tile.columns))
    )
    outputs = tile.rows * tile.columns
    quads = tile.quads(geometry)
    instructions = lines * width * _GATHER_INSTRUCTIONS + outputs * LANES * _ENDING_INSTRUCTIONS
    instructions += tile.rows * geometry.kernel[0] * tile.weight_vectors(geometry) * _WEIGHT_INSTRUCTIONS
    if tile.by_quads:
        instructions += lines * len(quads.starts) * _PERMUTATIONS
        instructions += tile.rows * geometry.kernel[0] * quads.products * LANES
    else:
        instructions += outputs * LANES * geometry.taps
    blocks = -(-tile.all(work) // tile.threads)
    return _time(blocks, tile.threads, instructions * _ISSUE_CYCLES, _LOAD_CYCLES, traits, _TABLE_BYTES)


def _time(blocks: int, threads: int, busy: float, waits: float, traits: GpuTraits, shared_bytes: int) -> float:
    """Cycles of the busiest multiprocessor for `blocks` workgroups.

    busy: cycles that the instructions of one warp take; waits: cycles that one warp alone would wait.
    """
    warps = -(-threads // _WARP)
    each = -(-blocks // traits.units)
    room = min(_RESIDENT_BLOCKS, _RESIDENT_WARPS // warps, _RESIDENT_SHARED_BYTES // shared_bytes)
    together = max(1, min(each, room))
    rounds = -(-each // together)
    return max(each * warps * busy, rounds * (busy + waits + _START_CYCLES))
