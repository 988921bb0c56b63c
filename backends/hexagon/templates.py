"""The HVX templates that have a choice of schedule: what the tuner tries, and what records are about.

Schedules come with the least estimated packets first. A packet holds four instructions, of which two may multiply,
one may load a vector, and two in all may load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mdcompiler.backends.hexagon.convolution import HvxConvolution, HvxTile, Window
from mdcompiler.backends.hexagon.depthwise import HvxRows, HvxWindow
from mdcompiler.backends.hexagon.ending import Ending, Sum
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource, HvxWindowSource
from mdcompiler.backends.kernels.templates import Template
from mdcompiler.target import Target

_ANY_SUM = Sum(own_is_half=False, other_is_half=True)
_MOST_ACCUMULATORS = 26
"""Of 32 vector registers; weights and spread scalars need the others."""
_MOST_PIXELS = 16
"""Scalar registers: two for eight bytes of each pixel, some of which wait for the next group's weights."""
_UNROLLS = (1, 2, 3)
_MOST_UNROLLED = 640
"""Multiplies of a round that does the whole window: code should stay in the instruction cache."""
_FINISH = 2.6
"""Packets that one accumulator costs from sum to byte."""
_TILE = 10.0
"""Packets around one tile: addresses, loops, first loads."""
_ROUND = 5.0
"""Packets of one round of the innermost loop that do not multiply."""
_REPACK = 1.5
"""Packets to pack and store one more vector, where four does not divide a tile's pixels."""
_SUM = 25.0
"""Packets to add a residual to it."""
_FEW_PIXELS, _FEW_COST = 4, 1.3
"""Tiles with fewer pixels load weights as often as they multiply, and leave no slot for anything else."""
_MOST_ROWS = 6
_WINDOW_PACKETS = (36.0, 27.0, 25.5, 24.8, 25.8, 28.0)
"""Of one vector of a depthwise result, in tiles of one row, two … six; counted on 3x3 over 80x80."""


def workload_of(work: Any) -> Any:
    """What a record is about: all of the work but what depends on the scales of one network.

    Of the ending that is whether a table and a sum follow: tiles that four divides are worth more then.
    """
    add = _ANY_SUM if work.ending.add is not None else None
    return replace(work, ending=Ending(table=work.ending.table, add=add))


def convolution_tiles(work: HvxConvolution, target: Target) -> list[HvxTile]:
    """All tiles whose accumulators fit the registers."""
    tiles = [
        HvxTile(pixels, groups, unroll)
        for groups in range(1, work.out_blocks + 1)
        if work.out_blocks % groups == 0
        for pixels in range(1, min(work.out[1], _MOST_PIXELS, _MOST_ACCUMULATORS // groups) + 1)
        for unroll in _unrolls(work.window, pixels * groups)
    ]
    return sorted(tiles, key=lambda tile: estimate(work, tile))


def _unrolls(window: Window, accumulators: int) -> list[int]:
    """Positions of one round: some blocks of channels, or some taps of a kernel row, or the whole window."""
    if window.is_pointwise:
        extents = [stop - first for first, stop, _ in window.groups()]
        return [unroll for unroll in _UNROLLS if any(extent % unroll == 0 for extent in extents)]
    rows = [unroll for unroll in _UNROLLS if window.kernel[1] % unroll == 0]
    fits = window.taps * window.quads * accumulators <= _MOST_UNROLLED
    return sorted({*rows, *([window.taps] if fits else [])})


def estimate(work: HvxConvolution, tile: HvxTile) -> float:
    """Estimated packets of the whole kernel."""
    window, accumulators = work.window, tile.pixels * tile.groups
    rounds = window.total_quads / (tile.unroll * window.quads)
    again = _REPACK + (_SUM if work.ending.add is not None else 0.0)
    packed = again * tile.groups if tile.pixels % 4 and tile.pixels > 4 else 0.0
    multiply = window.total_quads * accumulators / 2 * (_FEW_COST if tile.pixels < _FEW_PIXELS else 1)
    one = multiply + rounds * _ROUND
    one += accumulators * _FINISH + packed + _TILE
    return one * -(-work.out[1] // tile.pixels) * work.out[0] * (work.out_blocks // tile.groups)


def window_rows(work: HvxWindow, target: Target) -> list[HvxRows]:
    """Tiles of a few rows; what overlapping tiles do twice counts."""
    height = work.out[0]

    def packets(schedule: HvxRows) -> float:
        return -(-height // schedule.rows) * schedule.rows * _WINDOW_PACKETS[schedule.rows - 1]

    return sorted((HvxRows(rows) for rows in range(1, min(height, _MOST_ROWS) + 1)), key=packets)


def _convolution_steps(work: HvxConvolution, tile: HvxTile) -> Sequence[tuple[Any, int]]:
    return [(HvxConvolutionSource(work, tile), tile.tasks(work))]


def _window_steps(work: HvxWindow, schedule: HvxRows) -> Sequence[tuple[Any, int]]:
    return [(HvxWindowSource(work, schedule), work.blocks)]


CONVOLUTION = Template("hvx-convolution", 1, HvxConvolution, convolution_tiles, _convolution_steps)
WINDOW = Template("hvx-depthwise", 1, HvxWindow, window_rows, _window_steps)
TEMPLATES = (CONVOLUTION, WINDOW)


def template_of(work: Any) -> Template:
    """The one template that computes `work`."""
    return next(template for template in TEMPLATES if isinstance(work, template.workload))
