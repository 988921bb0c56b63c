"""What box decoding and non-maximum suppression are told: the attributes of TFLite_Detection_PostProcess."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class PostprocessOptions:
    """One detector's post-processing; the defaults are those of TFLite's exporter for SSD.

    regular: suppress within each class (TFLite's regular mode); else on each anchor's best class (fast mode).
    max_detections: rows of the outputs. detections_per_class: limit for one class, regular mode only.
    score_threshold: a score below it is no detection. iou_threshold: a box that overlaps a better one by
    more than this share is dropped. scale_*: what the encodings were multiplied with in training.
    """

    regular: bool = False
    max_detections: int = 10
    detections_per_class: int = 100
    score_threshold: float = 1e-8
    iou_threshold: float = 0.6
    scale_y: float = 10.0
    scale_x: float = 10.0
    scale_h: float = 5.0
    scale_w: float = 5.0

    def attributes(self) -> dict[str, int | float]:
        """All but the mode, which is the operator's type, as ONNX node attributes."""
        return {name: getattr(self, name) for name in ATTRIBUTES}

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any], *, regular: bool) -> PostprocessOptions:
        """The options that a node with these attributes stands for; other attributes are passed over."""
        return cls(regular=regular, **{name: attributes[name] for name in ATTRIBUTES if name in attributes})

    @property
    def limit_per_class(self) -> int:
        """How many boxes of one class can come out."""
        return min(self.detections_per_class, self.max_detections) if self.regular else self.max_detections


ATTRIBUTES: tuple[str, ...] = tuple(item.name for item in fields(PostprocessOptions) if item.name != "regular")
