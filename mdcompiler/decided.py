"""Which detections a raw head decides when every number in it may be a little off.

Suppression is a chain of decisions: who scores higher, who overlaps whom by more than the threshold. With encodings
and scores known to within their allowance each decision is sure or not. What is kept in every case must be among the
detections, what is dropped in every case must not; what hangs on a tie may be there or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.postprocess_options import PostprocessOptions

Array = NDArray[Any]
_EDGE_ROUNDING = 4e-6
_SCORE_ROUNDING = 1e-6


@dataclass(frozen=True)
class Outcomes:
    """All detections that may be there, one row an anchor and class.

    boxes [n,4], slack [n,4]: corners and how far they may be off; classes, scores [n]; anchors [n]: rows of one anchor
    stand for one detection in fast mode; certain [n]: one row of this anchor must be there. score_slack: of all scores.
    """

    boxes: Array
    slack: Array
    classes: Array
    scores: Array
    anchors: Array
    certain: Array
    score_slack: float

    def fault(self, boxes: Array, classes: Array, scores: Array) -> str | None:
        """What is wrong with these detections [m,4], [m], [m], best first; None when nothing is."""
        if (np.diff(scores) > 0).any():
            return "detections are not ordered by score"
        taken: set[int] = set()
        for rank in range(len(scores)):
            near = np.abs(self.scores - scores[rank]) <= self.score_slack + _SCORE_ROUNDING
            near &= self.classes == classes[rank]
            near &= (np.abs(self.boxes - boxes[rank]) <= self.slack).all(axis=1)
            rows = [int(row) for row in np.flatnonzero(near) if int(row) not in taken]
            if not rows:
                return f"detection {rank} (by rank) is none that the reference could give"
            best = min(rows, key=lambda row: (not self.certain[row], abs(self.scores[row] - scores[rank])))
            taken |= {int(row) for row in np.flatnonzero(self._same(best))}
        lost = [int(row) for row in np.flatnonzero(self.certain) if int(row) not in taken]
        if not lost:
            return None
        return f"{len(lost)} detections of the reference are missing, the best with score {self.scores[lost[0]]:.4g}"

    def _same(self, row: int) -> Array:
        """Rows that stand for the same detection."""
        return np.asarray(self.anchors == self.anchors[row])

    def arrays(self) -> dict[str, Array]:
        """As arrays for a file."""
        rows = np.concatenate(
            [self.boxes, self.slack, self.classes[:, None], self.scores[:, None], self.anchors[:, None]], axis=1
        )
        full = np.concatenate([rows, self.certain[:, None]], axis=1).astype(np.float32)
        return {"rows": full, "score_slack": np.array([self.score_slack])}

    @classmethod
    def from_arrays(cls, rows: Array, score_slack: Array) -> Outcomes:
        """What `arrays` gave. Raises ValueError for arrays of other shapes."""
        if rows.ndim != 2 or rows.shape[1] != 12 or score_slack.shape != (1,):
            raise ValueError(f"outcomes of shape {list(rows.shape)}")
        columns = rows[:, :4], rows[:, 4:8], rows[:, 8], rows[:, 9], rows[:, 10], rows[:, 11] > 0
        return cls(*columns, float(score_slack[0]))


def outcomes(
    encodings: Array, scores: Array, anchors: Array, options: PostprocessOptions, limits: tuple[float, float]
) -> Outcomes:
    """What may come of a head [A,4], [A,K] whose encodings and scores may be off by `limits`."""
    boxes = _Boxes.decoded(encodings, anchors, options, limits[0])
    wide, foreground, slack = boxes.undecided(options.iou_threshold), scores[:, 1:], limits[1]
    rows = _regular(wide, foreground, options, slack) if options.regular else _fast(wide, foreground, options, slack)
    found = _ranked(list(rows), options.max_detections, slack)
    picked = np.array([anchor for anchor, _, _, _, _ in found], np.int64)
    corners = boxes.middle[picked].reshape(-1, 4)
    reach = np.maximum(np.abs(boxes.high - boxes.middle), np.abs(boxes.low - boxes.middle))[picked].reshape(-1, 4)
    edge = _EDGE_ROUNDING * np.maximum(np.abs(corners).max(axis=1, initial=1.0, keepdims=True), 1.0)
    columns = [np.array([row[place] for row in found], np.float64) for place in (1, 2, 3)]
    certain = np.array([row[4] for row in found], bool)
    return Outcomes(corners, reach + edge, columns[0], columns[1], columns[2], certain, slack)


Row = tuple[int, float, float, float, bool]
"""Anchor, class, score, number of the detection that it stands for, whether it is certain."""


def _fast(overlaps: _Overlaps, foreground: Array, options: PostprocessOptions, slack: float) -> Iterator[Row]:
    best = foreground.max(axis=1)
    for anchor, certain in _kept(overlaps, best, options, slack):
        for index in np.flatnonzero(foreground[anchor] >= best[anchor] - 2 * slack):
            yield anchor, float(index), float(best[anchor]), float(anchor), certain


def _regular(overlaps: _Overlaps, foreground: Array, options: PostprocessOptions, slack: float) -> Iterator[Row]:
    for index in range(foreground.shape[1]):
        for anchor, certain in _kept(overlaps, foreground[:, index], options, slack):
            number = anchor * foreground.shape[1] + index
            yield anchor, float(index), float(foreground[anchor, index]), float(number), certain


def _kept(overlaps: _Overlaps, scores: Array, options: PostprocessOptions, slack: float) -> Iterator[tuple[int, bool]]:
    """(anchor, whether it is kept in every case) of those that may be kept, best first."""
    threshold, limit = options.score_threshold, options.limit_per_class
    order = [int(anchor) for anchor in np.argsort(-scores, kind="stable") if scores[anchor] + slack >= threshold]
    ranked = scores[order]
    sure: list[int] = []
    maybe: list[int] = []
    for position, anchor in enumerate(order):
        score = scores[anchor]
        higher = [other for other in sure if scores[other] - score > 2 * slack]
        if len(higher) >= limit:
            return
        if higher and overlaps.surely[anchor, higher].any():
            continue
        close = order[position + 1 : int(np.searchsorted(-ranked, -(score - 2 * slack), side="right"))]
        rivals = [*sure, *maybe, *close]
        safe = not (rivals and overlaps.perhaps[anchor, rivals].any())
        certain = safe and len(rivals) < limit and score - slack >= threshold
        (sure if certain else maybe).append(anchor)
        yield anchor, certain


def _ranked(rows: list[Row], count: int, slack: float) -> list[Row]:
    """Those that may be among the best `count`; those that are in every case stay certain."""
    rows.sort(key=lambda row: -row[2])
    scores = np.array([row[2] for row in rows])
    numbers, certain = np.array([row[3] for row in rows]), np.array([row[4] for row in rows], bool)
    found = []
    for row in rows:
        above = len(np.unique(numbers[certain & (scores > row[2] + 2 * slack)]))
        if above >= count:
            break
        rivals = len(np.unique(numbers[(scores >= row[2] - 2 * slack) & (numbers != row[3])]))
        found.append((*row[:4], row[4] and rivals < count))
    return found


@dataclass(frozen=True)
class _Overlaps:
    """perhaps, surely: [A,A], whether two boxes may, or must, overlap by more than the threshold."""

    perhaps: Array
    surely: Array


@dataclass(frozen=True)
class _Boxes:
    """Corners [A,4] at least, as computed, and at most."""

    low: Array
    middle: Array
    high: Array

    @classmethod
    def decoded(cls, encodings: Array, anchors: Array, options: PostprocessOptions, slack: float) -> _Boxes:
        wide, anchor = encodings.astype(np.float64), anchors.astype(np.float64)
        centers = np.array([options.scale_y, options.scale_x])
        sizes = np.array([options.scale_h, options.scale_w])
        with np.errstate(over="ignore", invalid="ignore"):
            center = wide[:, :2] / centers * anchor[:, 2:] + anchor[:, :2]
            shift = np.abs(slack / centers * anchor[:, 2:])
            half, least, most = (
                0.5 * np.exp((wide[:, 2:] + offset) / sizes) * anchor[:, 2:] for offset in (0.0, -slack, slack)
            )
            return cls(
                np.concatenate([center - shift - most, center - shift + least], axis=1),
                np.concatenate([center - half, center + half], axis=1),
                np.concatenate([center + shift - least, center + shift + most], axis=1),
            )

    def undecided(self, threshold: float) -> _Overlaps:
        outer = np.concatenate([self.low[:, :2], self.high[:, 2:]], axis=1)
        inner = np.concatenate([self.high[:, :2], self.low[:, 2:]], axis=1)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            most, least = _shared(outer), _shared(inner)
            large, small = _area(outer), _area(inner)
            highest = most / np.maximum(small[:, None] + small - most, 1e-30)
            lowest = least / (large[:, None] + large - least)
            rounding = 1e-5
            return _Overlaps(~(highest <= threshold - rounding), lowest > threshold + rounding)


def _area(boxes: Array) -> Array:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def _shared(boxes: Array) -> Array:
    """Area [A,A] of every intersection."""
    extents = [
        np.maximum(
            np.minimum(boxes[:, None, axis + 2], boxes[:, axis + 2]) - np.maximum(boxes[:, None, axis], boxes[:, axis]),
            0,
        )
        for axis in (0, 1)
    ]
    return np.asarray(extents[0] * extents[1])
