"""Detections against a raw head: exactly on the network's own encodings, or as far as rounding leaves them decided.

A compiled network that gives its raw head away is held to it: the head by its allowance, the detections to what
suppression makes of that very head. Where only detections can be seen, those that the arbiter's head decides must be
there, and nothing may be there that rounding within the allowance could not bring: see `mdcompiler.decided`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.decided import Outcomes
from mdcompiler.detections import postprocess
from mdcompiler.postprocess_options import PostprocessOptions

RAW_BOXES, RAW_SCORES = "head:box_encodings", "head:class_scores"
"""Names of the raw head among checked values; no tensor of a network is called so."""
_ROUNDING = 4e-6
"""Of a decoded corner, relative to its box: exponentials of two libraries, rounded to float32."""
Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HeadFacts:
    """What decodes a raw head: anchors [A,4], options; outputs: names of boxes, classes, scores, count."""

    anchors: Floats
    options: PostprocessOptions
    outputs: tuple[str, ...]

    def detections(self, boxes: Floats, scores: Floats) -> dict[str, NDArray[Any]]:
        """The outputs that a raw head [1,A,4], [1,A,K] has."""
        found = postprocess(boxes, scores, self.anchors, self.options)
        return dict(zip(self.outputs, found.values(), strict=True))

    def own_fault(self, got: Arrays) -> str | None:
        """Why the detections in `got` are not those of the raw head in `got`; None when they are."""
        anchors = len(self.anchors)
        if got[RAW_BOXES].shape != (1, anchors, 4) or got[RAW_SCORES].shape[:2] != (1, anchors):
            return f"a raw head of {got[RAW_BOXES].shape[1]} anchors instead of {anchors}"
        want = self.detections(got[RAW_BOXES], got[RAW_SCORES])
        boxes, *exact = self.outputs
        for name in exact:
            if not np.array_equal(got[name], want[name]):
                return f"{name}: not what suppression makes of the network's own encodings and scores"
        size = np.abs(want[boxes]).max(axis=-1, keepdims=True) if want[boxes].size else 0.0
        with np.errstate(invalid="ignore"):
            far = np.abs(got[boxes] - want[boxes]) > _ROUNDING * np.maximum(size, 1.0)
        return f"{boxes}: not what decoding makes of the network's own encodings" if far.any() else None

    def undecided_fault(self, got: Arrays, outcomes: Outcomes) -> str | None:
        """Why the detections in `got` cannot come from a head within the allowance; None when they can."""
        boxes, classes, scores, count = (np.asarray(got[name]) for name in self.outputs)
        shapes = [(1, self.options.max_detections, 4), *[(1, self.options.max_detections)] * 2, (1,)]
        for name, shape in zip(self.outputs, shapes, strict=True):
            if got[name].shape != shape:
                return f"{name}: shape {list(got[name].shape)} instead of {list(shape)}"
        rows = int(count[0])
        if not 0 <= rows <= self.options.max_detections or rows != count[0]:
            return f"{self.outputs[3]}: {count[0]} detections; {self.options.max_detections} rows"
        return outcomes.fault(boxes[0, :rows], classes[0, :rows], scores[0, :rows])
