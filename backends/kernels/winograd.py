"""Convolution 3x3 of stride 1 by Winograd's minimal filtering, float32, channels in blocks of one vector.

A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). The output is cut into
squares of m x m; each comes from a patch of (m + 2) x (m + 2) inputs with (m + 2)^2 products a channel pair
instead of 9 m^2. Two functions: `winograd_source` transforms all patches; `winograd_multiply`
takes a group of output channels at a time, transforms its weights into scratch that stays in L2, multiplies,
and transforms back with bias, residual and activation. Weights are kept as they are for the direct kernel:
transformed ones would be four times as large and be read from memory on every run.

Memory between the two: [(m+2)^2][C/v][patches][v].
"""

from __future__ import annotations

from dataclasses import dataclass

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution
from mdcompiler.backends.kernels.winograd_matrices import TAPS


@dataclass(frozen=True)
class WinogradTile:
    """outputs: m. patches: how many share a register tile. groups: channel blocks that do."""

    outputs: int
    patches: int
    groups: int

    @property
    def size(self) -> int:
        """Rows and columns of a patch."""
        return self.outputs + TAPS - 1

    @property
    def points(self) -> int:
        return self.size**2


def suits_winograd(work: Convolution) -> bool:
    """3x3, stride 1, everything blocked."""
    geometry = work.geometry
    same = (geometry.kernel, geometry.stride, geometry.dilation) == ((TAPS, TAPS), (1, 1), (1, 1))
    return same and (work.source, work.target) == ("blocked", "blocked")


def patches(work: Convolution, outputs: int) -> tuple[int, int]:
    """Patches in a column and in a row."""
    rows, columns = work.geometry.out
    return -(-rows // outputs), -(-columns // outputs)


def patch_bytes(work: Convolution, outputs: int) -> int:
    """Of all transformed patches."""
    rows, columns = patches(work, outputs)
    return (outputs + TAPS - 1) ** 2 * work.in_blocks * rows * columns * work.lanes * ELEMENT_BYTES


def scratch_bytes(work: Convolution, tile: WinogradTile) -> int:
    """What the second function needs: the weights of one task, and the products of one register tile."""
    weights = tile.points * weight_stride(work, tile)
    return (weights + tile.points * tile.groups * tile.patches) * work.lanes * ELEMENT_BYTES


def weight_stride(work: Convolution, tile: WinogradTile) -> int:
    """Vectors from one point's weights to the next's: one more than there are, or all points fall on one cache set."""
    return work.in_channels * tile.groups + 1


def source_tasks(work: Convolution, outputs: int) -> int:
    """Iterations of the first function: a row of patches of one channel block."""
    return work.in_blocks * patches(work, outputs)[0]


def multiply_tasks(work: Convolution, tile: WinogradTile) -> int:
    """Iterations of the second function. Raises ValueError when the groups do not divide the channel blocks."""
    if work.out_blocks % tile.groups:
        raise ValueError(f"{tile.groups} groups do not divide {work.out_blocks} channel blocks")
    return work.out_blocks // tile.groups
