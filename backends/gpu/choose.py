"""Which tile a kernel runs under: a small space, and a model of the time that each point of it takes.

The model counts clocks of one multiprocessor, for a machine of 128 multiply-adds a clock and 32 lanes a warp, as
NVIDIA's since Volta are (NVIDIA, "Volta Architecture and performance optimization", 2018: shared memory moves 128
bytes a clock). A workgroup is busy for the largest of its arithmetic, its shared memory traffic and its loads; several
stay on a multiprocessor at once and hide each other's waits, but a reduction of many steps never takes less than the
latency of its loads. What a tile computes beyond the edge of the picture or of the channels counts in full.
No GPU was at hand when the model was made; measured records may replace it without another line changing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from mdcompiler.backends.gpu.convolution import GpuConvolution, GpuTile
from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.traits import GpuTraits
from mdcompiler.backends.gpu.window import WindowTile
from mdcompiler.backends.kernels.depthwise import Window

_MACS_PER_CLOCK = 128
_SHARED_BYTES_PER_CLOCK = 128
_GLOBAL_BYTES_PER_CLOCK = 20
_WARP = 32
_STEP_CLOCKS = 400
"""From the issue of a load to its use, and a barrier."""
_SCHEDULERS = 4
"""Of one multiprocessor: each issues an instruction of a warp a clock."""
_RESIDENT_THREADS = 1536
_RESIDENT_WORKGROUPS = 16
_RESIDENT_SHARED_BYTES = 65536
_REGISTERS = 65536
_ADDRESS_REGISTERS = 32
_STEP_INSTRUCTIONS = 30
_INPUT_INSTRUCTIONS = 16
_WEIGHT_INSTRUCTIONS = 6
_START_CLOCKS = 1000
"""Of a workgroup: decoding its place, its first load, its store."""
_LEAST_THREADS = 32
_SLICES = (1, 2, 4, 8)
_WINDOW_REGISTERS = 64
FLAT_CLOCKS = 2.0 * _START_CLOCKS
"""Of a kernel without a tile: it starts, waits for its loads and stores."""


@lru_cache(maxsize=1024)
def choose_tile(problem: GpuConvolution, traits: GpuTraits) -> GpuTile:
    """The tile of a convolution that the model finds fastest."""
    tiles = [tile for tile in tile_space(problem) if fits(tile, traits) and traits.allows(problem, tile)]
    return min(tiles, key=lambda tile: tile_clocks(problem, tile, traits))


def tile_space(problem: GpuConvolution) -> Iterator[GpuTile]:
    """All tiles that make up `problem` and are no larger than it, whatever the device."""
    depths = [depth for depth in range(1, 9) if problem.allows(depth)]
    shapes = product((16, 32, 64, 128), (8, 16, 32, 64, 128), (1, 2, 4, 8), (4, 8), depths, _SLICES)
    for pixels, channels, thread_pixels, thread_channels, depth, slices in shapes:
        tile = GpuTile(pixels, channels, thread_pixels, thread_channels, depth, slices)
        if depth % slices == 0 and _is_sensible(problem, tile):
            yield tile


def _is_sensible(problem: GpuConvolution, tile: GpuTile) -> bool:
    too_wide = tile.pixels >= 2 * max(problem.pixels, 16) or tile.channels >= 2 * max(problem.out_blocks * LANES, 8)
    return not too_wide and tile.channels >= tile.thread_channels and tile.threads >= _LEAST_THREADS


def fits(tile: GpuTile, traits: GpuTraits) -> bool:
    """Whether a workgroup of this tile may run on the device."""
    return tile.threads <= traits.max_threads and tile.shared_bytes(traits.element_bytes) <= traits.shared_bytes


def tile_clocks(problem: GpuConvolution, tile: GpuTile, traits: GpuTraits) -> float:
    """The model's estimate for the whole launch."""
    across, down = problem.grid(tile)
    steps = problem.steps(tile)
    step = max(_product_clocks(tile) + _overhead_clocks(tile), _load_clocks(tile, traits))
    busy = steps * step + _START_CLOCKS + _exchange_clocks(tile)
    room = _Room(tile.threads, _registers(tile), tile.shared_bytes(traits.element_bytes))
    return _launch_clocks(across * down, busy, steps * _STEP_CLOCKS, room, traits)


@dataclass(frozen=True)
class _Room:
    """What a workgroup takes of a multiprocessor. registers: of a thread."""

    threads: int
    registers: int
    shared_bytes: int

    @property
    def warps(self) -> int:
        return -(-self.threads // _WARP)

    @property
    def resident(self) -> int:
        """Workgroups on one multiprocessor at once."""
        by_registers = _REGISTERS // (self.registers * self.warps * _WARP)
        by_memory = _RESIDENT_SHARED_BYTES // max(self.shared_bytes, 1)
        return max(1, min(_RESIDENT_THREADS // (self.warps * _WARP), by_registers, by_memory, _RESIDENT_WORKGROUPS))


def _launch_clocks(workgroups: int, busy: float, waits: float, room: _Room, traits: GpuTraits) -> float:
    """Clocks of a launch. busy: that a workgroup keeps a multiprocessor at work; waits: that it lasts at least.

    Workgroups are shared out evenly, and one that ends makes room for the next.
    """
    each = -(-workgroups // traits.units)
    together = min(room.resident, each)
    schedulers = min(_SCHEDULERS, together * room.warps)
    return max(each * busy * _SCHEDULERS / schedulers, -(-each // together) * (waits + _START_CLOCKS))


def _registers(tile: GpuTile) -> int:
    """That a thread needs: sums, the operands of a product, the next step's loads, addresses."""
    sums = tile.thread_pixels * tile.thread_channels
    loads = sum(_loads(tile))
    return sums + LANES * tile.thread_pixels + tile.thread_channels + LANES * loads + _ADDRESS_REGISTERS


def _loads(tile: GpuTile) -> tuple[int, int]:
    """Vectors of inputs and of weights that a thread loads in a step."""
    return -(-tile.depth * tile.pixels // tile.threads), -(-tile.depth * tile.channels // tile.threads)


def _overhead_clocks(tile: GpuTile) -> float:
    """Of one step of one workgroup: finding the inputs, moving them, the barrier."""
    inputs, weights = _loads(tile)
    instructions = _STEP_INSTRUCTIONS + _INPUT_INSTRUCTIONS * inputs + _WEIGHT_INSTRUCTIONS * weights
    return instructions * tile.threads / _WARP / _SCHEDULERS


def _product_clocks(tile: GpuTile) -> float:
    """Of one step of one workgroup: multiply-adds and reads to be issued, or shared memory if that takes longer.

    Threads of a warp that read the same vector share the read; those with the same pixels have other channels.
    """
    macs, reads = LANES * tile.thread_pixels * tile.thread_channels, tile.thread_pixels + tile.thread_channels
    columns = min(tile.columns, _WARP)
    memory = tile.thread_pixels * _read_clocks(columns) + tile.thread_channels * _read_clocks(_WARP // columns)
    return tile.depth * tile.slice_threads / _WARP * max((macs + reads) / _SCHEDULERS, memory)


def _exchange_clocks(tile: GpuTile) -> float:
    """Of handing the sums of all slices but one over through shared memory, written and read."""
    return 2.0 * (tile.slices - 1) * tile.pixels * tile.channels * 4 / _SHARED_BYTES_PER_CLOCK


def _read_clocks(vectors: int) -> float:
    """Of one read of shared memory by a warp of so many different vectors of 16 bytes."""
    return max(1.0, vectors * 16 / _SHARED_BYTES_PER_CLOCK)


def _load_clocks(tile: GpuTile, traits: GpuTraits) -> float:
    """Of one step of one workgroup: inputs and weights from the second-level cache."""
    return tile.depth * LANES * (tile.pixels + tile.channels) * traits.element_bytes / _GLOBAL_BYTES_PER_CLOCK


@lru_cache(maxsize=1024)
def choose_window(work: Window, traits: GpuTraits) -> WindowTile | None:
    """The tile of a depthwise convolution or a pooling that the model finds fastest; None when no window fits."""
    tiles = [tile for tile in window_space(work) if _window_fits(tile, work, traits) and traits.allows(work, tile)]
    return min(tiles, key=lambda tile: window_clocks(work, tile, traits), default=None)


def window_space(work: Window) -> Iterator[WindowTile]:
    """All tiles for `work`, whatever the device."""
    for columns, rows, thread_rows, blocks in product((4, 8, 16, 32), (1, 2, 4, 8), (1, 2, 4), (1, 2, 4, 8, 16)):
        tile = WindowTile(columns, rows, thread_rows, blocks)
        too_wide = columns >= 2 * max(work.geometry.out[1], 4) or rows * thread_rows >= 2 * work.geometry.out[0] > 2
        if not too_wide and blocks < 2 * work.blocks:
            yield tile


def _window_fits(tile: WindowTile, work: Window, traits: GpuTraits) -> bool:
    shared_bytes = tile.shared_bytes(work, traits.element_bytes)
    return tile.threads <= traits.max_threads and shared_bytes <= traits.shared_bytes


def window_clocks(work: Window, tile: WindowTile, traits: GpuTraits) -> float:
    """The model's estimate for the whole launch."""
    across, down = tile.grid(work)
    shared_bytes = tile.shared_bytes(work, traits.element_bytes)
    threads = -(-tile.threads // _WARP) * _WARP
    outputs = threads * tile.thread_rows
    rows = (tile.thread_rows - 1) * work.geometry.stride[0] + work.geometry.kernel[0]
    reads = threads * rows * work.geometry.kernel[1] * 16
    busy = _START_CLOCKS + max(
        outputs * work.geometry.taps * LANES / _MACS_PER_CLOCK,
        reads / _SHARED_BYTES_PER_CLOCK,
        (shared_bytes + outputs * LANES * traits.element_bytes) / _GLOBAL_BYTES_PER_CLOCK,
    )
    room = _Room(tile.threads, _WINDOW_REGISTERS, shared_bytes)
    return _launch_clocks(across * down, busy, _STEP_CLOCKS, room, traits)
