"""Anchor boxes of the SSD head (see `mdcompiler.spec.model.Anchors`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mdcompiler.spec.model import Anchors, Spec
from mdcompiler.spec.steps import Size

# TensorFlow's ssd_anchor_generator: the first level has these three and no others.
_LOWEST = ((0.1, 1.0), (None, 2.0), (None, 0.5))


def anchors_per_cell(spec: Spec, level: int) -> int:
    """Anchor boxes on every cell of a level's grid."""
    return len(cell_anchors(spec.head.anchors, level, level_count(spec)))


def level_count(spec: Spec) -> int:
    """Levels of the head, the extra ones included."""
    return len(spec.head.levels) + len(spec.head.extra)


def cell_anchors(anchors: Anchors, level: int, levels: int) -> list[tuple[float, float]]:
    """(scale, aspect ratio) of the anchors on every cell of a level, in order."""
    scale = _scale(anchors, level, levels)
    if level == 0 and anchors.reduce_lowest:
        return [(fixed or scale, ratio) for fixed, ratio in _LOWEST]
    cell = [(scale, ratio) for ratio in anchors.aspect_ratios]
    if anchors.interpolated:
        cell.append((math.sqrt(scale * _scale(anchors, level + 1, levels)), 1.0))
    return cell


def make_anchors(anchors: Anchors, sizes: Sequence[Size]) -> NDArray[np.float32]:
    """All anchors of a head whose levels have the grids `sizes` (height, width).

    Returns float32 [A, 4]: y center, x center, height, width, as fractions of the picture, not clipped;
    ordered by level, row, column, anchor.
    """
    grids = [_grid(cell_anchors(anchors, level, len(sizes)), size) for level, size in enumerate(sizes)]
    return np.concatenate(grids).astype(np.float32)


def _scale(anchors: Anchors, level: int, levels: int) -> float:
    if level >= levels:
        return 1.0
    step = (anchors.max_scale - anchors.min_scale) / max(levels - 1, 1)
    return anchors.min_scale + step * level


def _grid(cell: list[tuple[float, float]], size: Size) -> NDArray[np.float64]:
    rows = (np.arange(size[0]) + 0.5) / size[0]
    columns = (np.arange(size[1]) + 0.5) / size[1]
    boxes = np.array([(scale / math.sqrt(ratio), scale * math.sqrt(ratio)) for scale, ratio in cell])
    grid = np.empty((*size, len(cell), 4))
    grid[..., 0] = rows[:, None, None]
    grid[..., 1] = columns[None, :, None]
    grid[..., 2:] = boxes
    return grid.reshape(-1, 4)
