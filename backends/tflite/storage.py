"""How a tensor of ours lies in a TFLite file.

Our networks are NCHW, TFLite's operators read NHWC. A tensor is stored once, and every transpose of it is only another
way to number its axes: `order[i]` is our axis that the file's axis i holds. A convolution wants (0, 2, 3, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class Stored:
    """index: number of the file's tensor. order: see above."""

    index: int
    order: tuple[int, ...]

    def transposed(self, permutation: Sequence[int]) -> Stored:
        """The same numbers after a transpose whose result's axis i is the source's axis `permutation[i]`."""
        place = {axis: position for position, axis in enumerate(permutation)}
        return Stored(self.index, tuple(place[axis] for axis in self.order))


def natural_order(rank: int) -> tuple[int, ...]:
    """How a tensor of `rank` axes is stored when nothing else asks for another way."""
    return CHANNELS_LAST if rank == 4 else tuple(range(rank))


def stored_shape(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """The file's shape of a tensor of our `shape`."""
    return tuple(int(shape[axis]) for axis in order)


def is_row_major(shape: Sequence[int], order: Sequence[int]) -> bool:
    """Whether the file's numbers come in the order of our own: axes of one element may stand anywhere."""
    long = [axis for axis in order if shape[axis] > 1]
    return long == sorted(long)


def reordering(held: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """The permutation for a TRANSPOSE that turns order `held` into `wanted`."""
    place = {axis: position for position, axis in enumerate(held)}
    return tuple(place[axis] for axis in wanted)
