"""What a detector should say about a scene: SSD's anchor matching and Faster R-CNN's box encoding.

Sources: Liu et al. 2016 (arXiv 1512.02325) for the matching, Ren et al. 2015 (arXiv 1506.01497) for the encoding,
with the scales of the spec's `postprocess`, so that post-processing undoes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MATCH_IOU = 0.5


def match(
    boxes: Floats, classes: NDArray[Any], anchors: Floats, scales: Sequence[float], iou: float = MATCH_IOU
) -> tuple[NDArray[np.int64], Floats]:
    """What every anchor should say: class slots int64 [A] (0: background) and box encodings float32 [A, 4].

    boxes [n, 4] are corners, anchors [A, 4] centers and sizes, both as shares of the picture. An anchor takes the
    box it overlaps most when that is at least `iou`; and every box gets the anchor that overlaps it most.
    """
    slots = np.zeros(len(anchors), np.int64)
    if not len(boxes):
        return slots, np.zeros((len(anchors), 4), np.float32)
    shares = overlaps(corners(anchors), boxes)
    owner = shares.argmax(axis=1)
    taken = shares.max(axis=1) >= iou
    best = shares.argmax(axis=0)
    owner[best], taken[best] = np.arange(len(boxes)), True
    slots[taken] = classes[owner[taken]] + 1
    return slots, encode(boxes[owner], anchors, scales) * taken[:, None]


def corners(boxes: Floats) -> Floats:
    """(ymin, xmin, ymax, xmax) from (y, x, h, w) with centers, [n, 4]."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union [n, m] of corner boxes [n, 4] and [m, 4]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    share: Floats = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, np.float32(1e-9))
    return share


def encode(boxes: Floats, anchors: Floats, scales: Sequence[float]) -> Floats:
    """Encodings [n, 4] (ty, tx, th, tw) of corner boxes [n, 4] against as many anchors."""
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], np.float32(1e-3))
    centers = (boxes[:, 2:] + boxes[:, :2]) / 2
    moved = (centers - anchors[:, :2]) / anchors[:, 2:]
    made = np.concatenate([moved, np.log(sizes / anchors[:, 2:])], axis=1) * np.asarray(scales, np.float32)
    return made.astype(np.float32)
