"""Four neighbours of a row at once: how the taps of a depthwise window meet dot products of four bytes.

Four words of one pixel and four channels each, turned into four words of one channel and four pixels, take part in
one dot product for each output whose window reaches into them. Its weights are a row of the kernel, moved to where
the window lies in the four and zero elsewhere:

    pixels  0 1 2 3          outputs 0 and 1 of a row of three taps
    weights a b c 0   0 a b c
"""

from __future__ import annotations

from dataclasses import dataclass

from mdcompiler.backends.gpu.function import LANES


@dataclass(frozen=True)
class Quads:
    """One row of a tile of outputs. starts: first column of each four.

    offsets: of the kernel's first column under each arrangement of its weights, which is tap `offset + i` in byte i.
    uses: for each output, the fours it needs and the arrangement for each.
    """

    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    uses: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def products(self) -> int:
        """Dot products of one channel for one kernel row."""
        return sum(len(use) for use in self.uses)


def quads_of(taps: int, stride: int, outputs: int) -> Quads:
    """The fours of a row for `outputs` neighbours with `taps` columns each.

    Up to four taps lie in one four, which starts where the first output that needs it does; more taps take all
    fours in a row.
    """
    windows = [output * stride for output in range(outputs)]
    if taps > LANES:
        starts = list(range(0, windows[-1] + taps, LANES))
    else:
        starts = []
        for first in windows:
            if not starts or first + taps > starts[-1] + LANES:
                starts.append(first)
    needed = [
        [(quad, start - first) for quad, start in enumerate(starts) if _meet(start, first, taps)] for first in windows
    ]
    if taps <= LANES:
        needed = [[next(item for item in use if item[1] <= 0 and taps - item[1] <= LANES)] for use in needed]
    offsets = tuple(dict.fromkeys(offset for use in needed for _, offset in use))
    uses = tuple(tuple((quad, offsets.index(offset)) for quad, offset in use) for use in needed)
    return Quads(tuple(starts), offsets, uses)


def _meet(start: int, first: int, taps: int) -> bool:
    """Whether the window from `first` reaches into the four from `start`."""
    return start < first + taps and first < start + LANES
