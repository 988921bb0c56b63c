"""What a detector should say about pictures, for the losses: anchors of the spec, matched and encoded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdcompiler.matching import MATCH_IOU, Floats, match
from mdcompiler.spec import Spec, build_network
from mdcompiler.spec.anchors import make_anchors


class Targets:
    """Of the detectors of `spec`. anchors: float32 [A, 4], centers and sizes. iou: that a match needs."""

    def __init__(self, spec: Spec, iou: float = MATCH_IOU) -> None:
        self.anchors = make_anchors(spec.head.anchors, build_network(spec).sizes)
        self.scales, self.iou = spec.postprocess.scales, iou

    def of(self, boxes: Floats, classes: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
        """Class slots int64 [A] and encodings float32 [A, 4] for the objects of one picture.

        boxes: float32 [n, 4], ymin xmin ymax xmax as shares of the picture; classes: [n], from 0.
        """
        return match(boxes, classes, self.anchors, self.scales, self.iou)

    def batch(self, objects: Iterable[tuple[Floats, NDArray[Any]]]) -> tuple[Tensor, Tensor]:
        """Slots int64 [N, A] and encodings float32 [N, A, 4] for the (boxes, classes) of N pictures."""
        found = [self.of(boxes, classes) for boxes, classes in objects]
        slots, encodings = (np.stack(items) for items in zip(*found, strict=True))
        return torch.from_numpy(slots), torch.from_numpy(encodings)
