"""Which register tile a convolution gets: the recorded one, or the one with the least estimated packets.

A packet holds four instructions, of which two may multiply, one may load a vector, and two in all may load. Records
(`tiles.jsonl`) are made by `tune`; they state the packets that QEMU counted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files

from mdcompiler.backends.hexagon.convolution import QUADS, HvxConvolution, HvxTile
from mdcompiler.backends.hexagon.depthwise import HvxWindow
from mdcompiler.backends.hexagon.ending import PLAIN

RECORDS_FILE = "tiles.jsonl"
_MOST_ACCUMULATORS = 26
"""Of 32 vector registers; weights and spread scalars need the others."""
_MOST_PIXELS = 8
"""Scalar registers: two for the sum of a pixel's bytes and four for its sixteen bytes."""
_UNROLLS = (1, 2, 3)
_FINISH = 3.5
"""Packets that one accumulator costs from sum to byte."""
_TILE = 25.0
"""Packets around one tile: addresses, loops, first loads."""
_ROUND = 11.0
"""Packets of one round of the innermost loop that do not multiply."""
_REPACK = 1.5
"""Packets to pack and store one more vector, where four does not divide a tile's pixels."""
_WINDOW_PACKETS = {1: 41.0, 2: 28.0, 3: 26.0, 4: 24.0, 5: 29.0}
"""Rows of a depthwise tile -> packets of one vector of its result, counted on 3x3 over 80x80."""


def choose_tile(work: HvxConvolution) -> HvxTile:
    """The recorded tile, else the one with the least estimated packets."""
    recorded = _records().get(key_of(work))
    return recorded or min(candidates(work), key=lambda tile: estimate(work, tile))


def candidates(work: HvxConvolution) -> Iterator[HvxTile]:
    """All tiles whose accumulators fit the registers."""
    window = work.window
    extents = [stop - first for first, stop, _ in window.groups()] if window.is_pointwise else [window.kernel[1]]
    unrolls = [unroll for unroll in _UNROLLS if any(extent % unroll == 0 for extent in extents)]
    for groups in range(1, work.out_blocks + 1):
        if work.out_blocks % groups:
            continue
        for pixels in range(1, min(work.out[1], _MOST_PIXELS) + 1):
            if pixels * groups <= _MOST_ACCUMULATORS:
                yield from (HvxTile(pixels, groups, unroll) for unroll in unrolls)


def estimate(work: HvxConvolution, tile: HvxTile) -> float:
    """Estimated packets of the whole kernel."""
    steps = work.window.total_steps
    multiplies = QUADS * tile.pixels * tile.groups + tile.pixels / 2
    step = max(multiplies / 2, QUADS * tile.groups)
    rounds = steps / (tile.unroll * work.window.steps)
    packed = _REPACK * tile.groups if tile.pixels % 4 and tile.pixels > 4 else 0.0
    one = steps * step + rounds * _ROUND + tile.pixels * tile.groups * _FINISH + packed + _TILE
    return one * -(-work.out[1] // tile.pixels) * work.out[0] * (work.out_blocks // tile.groups)


def key_of(work: HvxConvolution) -> str:
    """What a record is found by: all of the work but its ending, which depends on the scales of one network."""
    return hashlib.sha256(repr(replace(work, ending=PLAIN)).encode()).hexdigest()[:16]


def choose_window_rows(work: HvxWindow) -> int:
    """Rows of a depthwise tile: those with the least packets, rows that overlapping tiles do twice included."""
    height = work.out[0]
    counts = {rows: -(-height // rows) * rows * packets for rows, packets in _WINDOW_PACKETS.items() if rows <= height}
    return min(counts, key=lambda rows: counts[rows])


@cache
def _records() -> dict[str, HvxTile]:
    path = files("mdcompiler.backends.hexagon") / RECORDS_FILE
    if not path.is_file():
        return {}
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return {str(item["key"]): HvxTile(*map(int, item["tile"])) for item in records}
