"""Workload, tile and weights of a float convolution on a GPU; `write_convolution` makes the kernel.

It is an implicit matrix product, pixels x channels, reduced over window positions x input channels. Memory: activations
[C/4][H][W][4] (`blocked`) or, of a head, [H][W][C] (`interleaved`); a picture is [H][W][3] bytes in words of four.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.traits import Element
from mdcompiler.backends.kernels.convolution import Convolution

Array = NDArray[Any]
PICTURE_CHANNELS = 3
STAGES = 2
"""Buffers of a step in shared memory: one is multiplied from while the other is filled."""
_SUM_BYTES = 4


@dataclass(frozen=True)
class GpuTile:
    """pixels, channels: of a workgroup. thread_pixels, thread_channels: of a thread. depth: input blocks of a step.

    All are whole multiples of each other; channels and thread_channels of four. slices: groups of threads that share
    out the blocks of a step among them, so that a small result keeps more threads at work; they divide the depth.
    """

    pixels: int
    channels: int
    thread_pixels: int
    thread_channels: int
    depth: int
    slices: int = 1

    @property
    def columns(self) -> int:
        """Threads side by side along the pixels."""
        return self.pixels // self.thread_pixels

    @property
    def slice_threads(self) -> int:
        """Threads that compute all results from their share of the reduction."""
        return self.columns * (self.channels // self.thread_channels)

    @property
    def threads(self) -> int:
        return self.slices * self.slice_threads

    @property
    def sums(self) -> int:
        """Vectors of four sums of a thread."""
        return self.thread_pixels * self.thread_channels // LANES

    def shared_bytes(self, element_bytes: int) -> int:
        """Shared memory of a workgroup: the steps' inputs and weights, and the sums that slices hand over."""
        steps = STAGES * self.depth * LANES * (self.pixels + self.channels) * element_bytes
        return steps + (self.slices - 1) * self.pixels * self.channels * _SUM_BYTES


@dataclass(frozen=True)
class GpuConvolution:
    """A workload: `work` with lanes 4.

    element: type of activations and weights in memory. scale, offset: what a picture's bytes become before the
    convolution; read only when `work.source` is `interleaved`. start, size: where in a buffer of `size` float32 an
    interleaved result begins.
    """

    work: Convolution
    element: Element = "float32"
    scale: float = 1.0
    offset: float = 0.0
    start: int = 0
    size: int = 0

    @property
    def is_picture(self) -> bool:
        return self.work.source == "interleaved"

    @property
    def in_blocks(self) -> int:
        """Blocks of four input channels."""
        return 1 if self.is_picture else self.work.in_blocks

    @property
    def out_blocks(self) -> int:
        return self.work.out_blocks

    @property
    def pixels(self) -> int:
        return self.work.geometry.out_pixels

    def steps(self, tile: GpuTile) -> int:
        """Steps of the reduction."""
        return self.in_blocks * self.work.geometry.taps // tile.depth

    def grid(self, tile: GpuTile) -> tuple[int, int]:
        return -(-self.pixels // tile.pixels), -(-self.out_blocks * LANES // tile.channels)

    def allows(self, depth: int) -> bool:
        """Whether steps of `depth` blocks make up the reduction."""
        if self.in_blocks == 1:
            return self.work.geometry.taps % depth == 0
        return self.in_blocks % depth == 0


def pack_convolution(weight: Array, problem: GpuConvolution, tile: GpuTile) -> Array:
    """[O, C, kh, kw] as the kernel reads it: [O/channels][steps][depth][4][channels], zeros beyond O and C."""
    outputs = problem.grid(tile)[1] * tile.channels
    inputs = problem.in_blocks * LANES
    padded = np.zeros((outputs, inputs, *weight.shape[2:]), weight.dtype)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    groups, depth = outputs // tile.channels, tile.depth
    if problem.in_blocks == 1:  # a step is `depth` taps
        flat = padded.reshape(groups, tile.channels, LANES, -1, depth)
        return np.ascontiguousarray(flat.transpose(0, 3, 4, 2, 1))
    flat = padded.reshape(groups, tile.channels, -1, depth, LANES, problem.work.geometry.taps)
    return np.ascontiguousarray(flat.transpose(0, 2, 5, 3, 4, 1)).reshape(groups, -1, depth, LANES, tile.channels)


def pack_bias(bias: Array, problem: GpuConvolution, tile: GpuTile) -> Array:
    """[O] -> [O rounded up to whole workgroups], zeros beyond O."""
    return np.pad(bias, (0, problem.grid(tile)[1] * tile.channels - len(bias)))
