"""Which chains of convolutions run strip by strip when nothing was measured.

A strip kernel works row by row, which wastes a little of its register tiles. It wins when the tensors between
the convolutions do not fit the second-level cache, and it always saves memory.
"""

from __future__ import annotations

from collections.abc import Callable

from mdcompiler.backends.clib.fuse_strips import Chain
from mdcompiler.target import Target

_SHARE_OF_L2 = 0.5
"""Of the second-level cache for strips; weights and the input take the rest."""


def strip_chooser(target: Target) -> Callable[[Chain], int]:
    """Rows of a chain's strips for `target`, or 0: leave the chain as it is."""

    def rows(chain: Chain) -> int:
        if chain.scratch_bytes(chain.rows) <= target.l2_bytes:
            return 0
        return largest_strip(chain, target)

    return rows


def largest_strip(chain: Chain, target: Target) -> int:
    """The most rows, in equal strips, whose intermediate tensors leave room in the second-level cache."""
    for count in range(1, chain.rows + 1):
        rows = -(-chain.rows // count)
        if chain.scratch_bytes(rows) <= target.l2_bytes * _SHARE_OF_L2:
            return rows
    return 1
