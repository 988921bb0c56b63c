"""The kernel of a float convolution: k x k or pointwise, on activations or a picture.

A workgroup computes `pixels` x `channels` outputs. It goes through the reduction in steps: each step's inputs and
weights are loaded once into shared memory, from where every thread reads what it needs for its register tile of
`thread_pixels` x `thread_channels`. There are two such buffers: while one is multiplied from, the next step's loads
are on their way (V. Volkov, "Better Performance at Lower Occupancy", GTC 2010; A. Kerr et al., "CUTLASS: Fast Linear
Algebra in CUDA C++", NVIDIA 2017). Slices of the threads may share out a step and add up their sums at the end. Bias,
residual and activation are applied as the tile is stored.
"""

from __future__ import annotations

from typing import Any

from mdcompiler.backends.gpu.convolution import PICTURE_CHANNELS, STAGES, GpuConvolution, GpuTile
from mdcompiler.backends.gpu.convolution_loads import Loads
from mdcompiler.backends.gpu.curves import apply_curve
from mdcompiler.backends.gpu.function import LANES, GpuFunction, div, lane, mod, spread
from mdcompiler.backends.kernels.tir import Expr, Memory, splat

_SUM = "float32x4"


def write_convolution(name: str, problem: GpuConvolution, tile: GpuTile) -> Any:
    """The kernel `name(source, weight, bias, [residual,] target)`."""
    return _Writer(name, problem, tile).write()


class _Writer:
    """Writes one kernel; its methods follow it from the outside in."""

    def __init__(self, name: str, problem: GpuConvolution, tile: GpuTile) -> None:
        self.problem, self.work, self.tile = problem, problem.work, tile
        self.steps, self.grid = problem.steps(tile), problem.grid(tile)
        self.f = GpuFunction(name, self.grid, tile.threads)
        self.vector = f"{problem.element}x{LANES}"
        source, weight = self._source(), self._weight()
        self.bias = self.f.buffer("bias", self.grid[1] * tile.channels // LANES, _SUM)
        outputs = problem.out_blocks * problem.pixels
        if self.work.residual != "none":
            self.residual = self.f.buffer("residual", outputs, self.vector)
        self.target = self._target(outputs)
        self.loads = Loads(self.f, problem, tile, source, weight)
        self.thread_blocks = tile.thread_channels // LANES
        self.sums = self.f.local(tile.sums, _SUM)
        within = mod(self.f.thread, tile.slice_threads) if tile.slices > 1 else self.f.thread
        self.within = self.f.let("within", within)
        self.slice = self.f.let("slice", div(self.f.thread, tile.slice_threads)) if tile.slices > 1 else 0
        self.own_pixel = self.f.let("own_pixel", mod(self.within, tile.columns))
        self.own_block = self.f.let("own_block", div(self.within, tile.columns) * self.thread_blocks)

    def _source(self) -> Memory:
        pixels = self.work.geometry.pixels
        if self.problem.is_picture:
            return self.f.buffer("source", -(-pixels * PICTURE_CHANNELS // 4), "uint32")
        return self.f.buffer("source", self.problem.in_blocks * pixels, self.vector)

    def _weight(self) -> Memory:
        return self.f.buffer("weight", self.grid[1] * self.steps * self.tile.depth * self.tile.channels, self.vector)

    def _target(self, outputs: int) -> Memory:
        if self.work.target == "blocked":
            return self.f.buffer("target", outputs, self.vector)
        if self._rows_of_vectors:
            return self.f.buffer("target", self.problem.size // LANES, _SUM)
        return self.f.buffer("target", self.problem.size, "float32")

    @property
    def _rows_of_vectors(self) -> bool:
        """Whether every row of an interleaved result is whole vectors."""
        return not (self.work.out_channels % LANES or self.problem.start % LANES or self.problem.size % LANES)

    def write(self) -> Any:
        for index in range(self.tile.sums):
            self.sums[index] = splat(0.0, LANES)
        self.loads.fetch(0)
        self.loads.stage(0)
        self.f.barrier()
        with self.f.loop(0, self.steps, "step") as step:
            more = step + 1 < self.steps
            with self.f.when(more):
                self.loads.fetch(step + 1)
            self._multiply(step)
            with self.f.when(more):
                self.loads.stage(step + 1)
            self.f.barrier()
        if self.tile.slices > 1:
            self._add_slices()
        with self.f.when(self.slice < 1):
            self._store()
        return self.f.finish()

    def _multiply(self, step: Expr) -> None:
        """sums[pixel][block] += input of the pixel * weights of the block, over the thread's part of the step."""
        f, tile, buffer = self.f, self.tile, self.f.let("buffer", mod(step, STAGES))
        with f.loop(0, tile.depth // tile.slices, "turn") as turn:
            slot = f.let("slot", turn * tile.slices + self.slice)
            source = f.let("source", buffer * self.loads.input_count + slot * tile.pixels + self.own_pixel)
            first = f.let("weight", (buffer * tile.depth + slot) * tile.channels + self.own_block)
            inputs = [self._wide(self.loads.inputs, source + i * tile.columns) for i in range(tile.thread_pixels)]
            for channel in range(LANES):
                row = first + channel * (tile.channels // LANES)
                weights = [self._wide(self.loads.weights, row + j) for j in range(self.thread_blocks)]
                for i, value in enumerate(inputs):
                    for j, weight in enumerate(weights):
                        index = i * self.thread_blocks + j
                        self.sums[index] = self.sums[index] + spread(lane(value, channel)) * weight

    def _wide(self, memory: Memory, index: Expr) -> Expr:
        """A vector of shared memory in a register, as float32."""
        value = memory[index]
        return self.f.let("v", value if self.problem.element == "float32" else value.astype(_SUM), _SUM)

    def _add_slices(self) -> None:
        """All sums to the first slice. The exchange is [slices - 1][sums][threads of a slice]."""
        f, tile = self.f, self.tile
        exchange = f.shared((tile.slices - 1) * tile.sums * tile.slice_threads, _SUM)
        with f.when(self.slice > 0):
            for index in range(tile.sums):
                place = ((self.slice - 1) * tile.sums + index) * tile.slice_threads + self.within
                exchange[place] = self.sums[index]
        f.barrier()
        with f.when(self.slice < 1):
            for index in range(tile.sums):
                for other in range(tile.slices - 1):
                    place = (other * tile.sums + index) * tile.slice_threads + self.within
                    self.sums[index] = self.sums[index] + exchange[place]

    def _store(self) -> None:
        f, tile, problem = self.f, self.tile, self.problem
        for i in range(tile.thread_pixels):
            pixel = f.let("pixel", f.block_x * tile.pixels + self.own_pixel + i * tile.columns)
            with f.when(pixel < problem.pixels if problem.pixels % tile.pixels else True):
                for j in range(self.thread_blocks):
                    block = f.let("block", f.block_y * (tile.channels // LANES) + self.own_block + j)
                    with f.when(block < problem.out_blocks if problem.out_blocks * LANES % tile.channels else True):
                        self._finish(i * self.thread_blocks + j, block, pixel)

    def _finish(self, index: int, block: Expr, pixel: Expr) -> None:
        """Bias, residual and activation of four channels of a pixel, and into memory."""
        f, work = self.f, self.work
        value: Expr = self.sums[index] + self.bias[block]
        place = block * self.problem.pixels + pixel
        if work.residual == "before":
            value = value + self.residual[place].astype(_SUM)
        value = apply_curve(work.activation, f.let("sum", value, _SUM), LANES)
        if work.residual == "after":
            value = value + self.residual[place].astype(_SUM)
        if work.target == "blocked":
            self.target[place] = value.astype(self.vector)
        else:
            self._store_row(value, block, pixel)

    def _store_row(self, value: Expr, block: Expr, pixel: Expr) -> None:
        """Four channels to [H][W][C], where the last block may be short."""
        channels, start = self.work.out_channels, self.problem.start
        if self._rows_of_vectors:
            self.target[start // LANES + pixel * (channels // LANES) + block] = value
            return
        value = self.f.let("row", value, _SUM)
        for channel in range(LANES):
            real = block * LANES + channel < channels if channels % LANES > 0 else True
            with self.f.when(real):
                self.target[start + pixel * channels + block * LANES + channel] = lane(value, channel)
