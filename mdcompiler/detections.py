"""Detections on the host: the numpy twin of `mdcompiler.postprocess`, and the result a user reads.

For raw networks and for checking: it follows TFLite's loops one to one and is slow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.postprocess_options import PostprocessOptions
from mdcompiler.same_everywhere import exp

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Detection:
    """One object. box: (ymin, xmin, ymax, xmax) as shares of the picture's height and width."""

    box: tuple[float, float, float, float]
    class_index: int
    class_name: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: box, class_index, class_name, score."""
        return {**asdict(self), "box": list(self.box)}


def detections_from(outputs: Mapping[str, NDArray[Any]], labels: Sequence[str] = ()) -> list[Detection]:
    """The `count` detections in the outputs boxes [1,N,4], classes [1,N], scores [1,N], count [1], best first."""
    count = int(outputs["count"].reshape(-1)[0])
    rows = zip(outputs["boxes"][0], outputs["classes"][0], outputs["scores"][0], strict=True)
    return [_detection(box, int(index), float(score), labels) for box, index, score in list(rows)[:count]]


def _detection(box: Floats, index: int, score: float, labels: Sequence[str]) -> Detection:
    ymin, xmin, ymax, xmax = (float(edge) for edge in box)
    name = labels[index] if index < len(labels) else f"class {index}"
    return Detection((ymin, xmin, ymax, xmax), index, name, score)


def postprocess(
    box_encodings: Floats, class_scores: Floats, anchors: Floats, options: PostprocessOptions
) -> dict[str, Floats]:
    """boxes [1,N,4], classes [1,N], scores [1,N], count [1] from encodings [1,A,4], scores [1,A,K], anchors [A,4].

    Source: tflite/kernels/detection_postprocess.cc, see `mdcompiler.postprocess`.
    """
    boxes = decode_boxes(box_encodings[0], anchors, options)
    foreground = class_scores[0, :, 1:]
    select = _select_regular if options.regular else _select_fast
    return _collect(boxes, select(boxes, foreground, options), options.max_detections)


def decode_boxes(encodings: Floats, anchors: Floats, options: PostprocessOptions) -> Floats:
    """Corners [A,4] (ymin, xmin, ymax, xmax) from encodings [A,4] and anchors [A,4]; double precision inside."""
    centers = np.array([options.scale_y, options.scale_x], np.float32).astype(np.float64)
    sizes = np.array([options.scale_h, options.scale_w], np.float32).astype(np.float64)
    wide, anchor = encodings.astype(np.float64), anchors.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        center = (wide[:, :2] / centers * anchor[:, 2:] + anchor[:, :2]).astype(np.float32)
        half = (0.5 * exp(wide[:, 2:] / sizes) * anchor[:, 2:]).astype(np.float32)
        return np.concatenate([center - half, center + half], axis=1)


def _select_fast(boxes: Floats, foreground: Floats, options: PostprocessOptions) -> list[tuple[float, int, int]]:
    """(score, class, anchor) of what is kept, best first."""
    best_class = foreground.argmax(axis=1)
    best = foreground.max(axis=1)
    kept = _suppress(boxes, best, options)
    return [(float(best[anchor]), int(best_class[anchor]), anchor) for anchor in kept]


def _select_regular(boxes: Floats, foreground: Floats, options: PostprocessOptions) -> list[tuple[float, int, int]]:
    rows = [
        (float(foreground[anchor, index]), index, anchor)
        for index in range(foreground.shape[1])
        for anchor in _suppress(boxes, foreground[:, index], options)
    ]
    rows.sort(key=lambda row: -row[0])
    return rows[: options.max_detections]


def _suppress(boxes: Floats, scores: Floats, options: PostprocessOptions) -> list[int]:
    """Anchors that survive, best first; equal scores by lower anchor."""
    candidates = np.flatnonzero(scores >= np.float32(options.score_threshold))
    order = candidates[np.argsort(-scores[candidates], kind="stable")]
    kept: list[int] = []
    while order.size and len(kept) < options.limit_per_class:
        first, order = int(order[0]), order[1:]
        kept.append(first)
        order = order[~(_overlap(boxes[first], boxes[order]) > np.float32(options.iou_threshold))]
    return kept


def _overlap(box: Floats, others: Floats) -> Floats:
    """Intersection over union [n] of one box [4] with `others` [n,4]; 0 where a box has no area."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        area = (box[2] - box[0]) * (box[3] - box[1])
        areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
        low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
        sides = np.maximum(high - low, np.float32(0))
        shared = sides[:, 0] * sides[:, 1]
        share: Floats = np.where((areas <= 0) | (area <= 0), np.float32(0), shared / (area + areas - shared))
        return share


def _collect(boxes: Floats, rows: list[tuple[float, int, int]], count: int) -> dict[str, Floats]:
    out = {
        "boxes": np.zeros((1, count, 4), np.float32),
        "classes": np.zeros((1, count), np.float32),
        "scores": np.zeros((1, count), np.float32),
        "count": np.array([len(rows)], np.float32),
    }
    for row, (score, index, anchor) in enumerate(rows):
        out["boxes"][0, row] = boxes[anchor]
        out["classes"][0, row] = index
        out["scores"][0, row] = score
    return out
