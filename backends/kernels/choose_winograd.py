"""Whether a convolution is done by Winograd's filtering when nothing was measured, and how.

Counted in vector instructions: what the direct kernel multiplies against products, transforms of patches,
weights and results. The constants are rounded counts of the code that `winograd` writes.
"""

from __future__ import annotations

import math

from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.winograd import WinogradTile, patches, suits_winograd
from mdcompiler.target import Target

_TRANSFORMS = {4: (330, 170, 220), 2: (130, 80, 90)}
"""m -> instructions to transform one patch, one vector of weights, and one result back."""
_MARGIN = 1.2
"""By how much the estimate must be better: intermediate results pass through the second-level cache."""


def choose_winograd(work: Convolution, target: Target) -> WinogradTile | None:
    """The best Winograd tile, or None where the direct kernel is expected to be as fast."""
    if not suits_winograd(work):
        return None
    cost, outputs = min((_cost(work, outputs), outputs) for outputs in _TRANSFORMS)
    if cost * _MARGIN >= work.macs / work.lanes:
        return None
    return winograd_tile(work, outputs, 1, target)


def winograd_tile(work: Convolution, outputs: int, groups: int, target: Target) -> WinogradTile:
    """The tile whose patches divide the picture most evenly among those that fit the registers."""
    count = math.prod(patches(work, outputs))
    limit = (target.vector_registers - groups - 1) // groups
    return WinogradTile(outputs, math.ceil(count / math.ceil(count / limit)), groups)


def _cost(work: Convolution, outputs: int) -> float:
    count, size = math.prod(patches(work, outputs)), outputs + 2
    patch, weight, result = _TRANSFORMS[outputs]
    products = size**2 * count * work.in_channels * work.out_blocks
    return products + count * work.in_blocks * patch + work.out_blocks * (work.in_channels * weight + count * result)
