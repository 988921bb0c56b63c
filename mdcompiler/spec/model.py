"""`Spec`: a detector as data, from the input picture to the detections.

A spec is frozen. It says everything about the network but its weights; `mdcompiler.spec.network` turns
it into convolutions, and everything else (lowering, weights, counts) reads those.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import yaml
from pydantic import Field

from mdcompiler.spec.blocks import Block, Defaults, Part
from mdcompiler.spec.fields import (
    Activation,
    AnchorScale,
    AspectRatio,
    BlockName,
    BoxScale,
    Channels,
    Classes,
    Detections,
    Epsilon,
    Factor,
    Fraction,
    Kernel,
    Labels,
    Mode,
    Multiplier,
    Name,
    Pixels,
    Stage,
    Switch,
    Tap,
    Text,
)
from mdcompiler.spec.labels import COCO_LABELS
from mdcompiler.spec.rounding import Rounding


class Input(Part):
    """The picture: uint8 RGB [1, height, width, 3]; the network sees `pixel * scale + offset`."""

    height: Pixels = 320
    width: Pixels = 320
    scale: Factor = 2 / 255
    offset: Factor = -1.0


class Endpoint(Part):
    """A tensor inside the backbone: what convolution `tap` of a block gives (`output`: the whole block)."""

    block: BlockName
    tap: Tap = "output"


class Anchors(Part):
    """Anchor boxes of SSD (arXiv 1512.02325), one grid a level, as in TensorFlow's ssd_anchor_generator.

    Scales go evenly from `min_scale` to `max_scale` over the levels. interpolated: one more square
    anchor a level, between its scale and the next. reduce_lowest: three anchors only on the first level.
    """

    min_scale: AnchorScale = 0.2
    max_scale: AnchorScale = 0.95
    aspect_ratios: Annotated[tuple[AspectRatio, ...], Field(min_length=1, max_length=16)] = (1.0, 2.0, 0.5, 3.0, 0.3333)
    interpolated: Switch = True
    reduce_lowest: Switch = True


class Head(Part):
    """SSDLite head (arXiv 1801.04381): extra layers, then a box and a class predictor on every level.

    levels: endpoints it reads, finest first. extra: output channels of the further levels, each half the
    size of the one before. minimum: the fewest channels the width multiplier leaves there. labels: names of
    the classes in order, or `coco`.
    """

    levels: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=8)] = ("C4", "C5")
    extra: Annotated[tuple[Channels, ...], Field(max_length=8)] = (512, 256, 256, 128)
    minimum: Channels = 16
    kernel: Kernel = 3
    activation: Activation = "relu6"
    epsilon: Epsilon = 0.001
    classes: Classes = 90
    labels: Labels | None = None
    anchors: Anchors = Anchors()

    @property
    def class_slots(self) -> int:
        """Scores a box has: the classes and, in slot 0, the background."""
        return self.classes + 1

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, the background left out; empty where they are not known."""
        return COCO_LABELS if self.labels == "coco" else self.labels or ()


class PostProcess(Part):
    """Decoding and non-maximum suppression, as TFLite_Detection_PostProcess does them.

    mode: fast suppresses over the best classes of every anchor, regular class by class. scales: what the
    box encodings ty, tx, th, tw are divided by.
    """

    mode: Mode = "fast"
    max_detections: Detections = 100
    detections_per_class: Detections = 100
    score_threshold: Fraction = 1e-8
    iou_threshold: Fraction = 0.6
    scales: tuple[BoxScale, BoxScale, BoxScale, BoxScale] = (10.0, 10.0, 5.0, 5.0)


Stages = dict[Stage, Annotated[tuple[Block, ...], Field(min_length=1, max_length=64)]]


class Spec(Part):
    """A single-shot detector.

    width: multiplier of all channel counts in `blocks`. endpoints: names for tensors the head may read;
    every stage's name stands for the output of its last block unless given here.
    """

    name: Name
    description: Text = ""
    input: Input = Input()
    width: Multiplier = 1.0
    rounding: Rounding = Rounding()
    defaults: Defaults = Defaults()
    blocks: Annotated[Stages, Field(min_length=1, max_length=32, description="stages by name, each a list of blocks")]
    endpoints: Annotated[dict[Stage, Endpoint], Field(default_factory=dict, max_length=64)]
    head: Head = Head()
    postprocess: PostProcess = PostProcess()

    def with_(
        self,
        *,
        width: float | None = None,
        height: int | None = None,
        width_px: int | None = None,
        classes: int | None = None,
    ) -> Spec:
        """This detector at another width multiplier, input size or number of classes.

        Labels are dropped when their number no longer fits. Raises SpecError for values out of range.
        """
        from mdcompiler.spec.load import build_spec

        data = self.to_data()
        changes = (("width", None, width), ("input", "height", height), ("input", "width", width_px))
        for part, field, value in (*changes, ("head", "classes", classes)):
            if value is not None and field is None:
                data[part] = value
            elif value is not None:
                data[part][field] = value
        if classes not in (None, self.head.classes):
            data["head"].pop("labels", None)
        return build_spec(data, self.name)

    def to_data(self) -> dict[str, Any]:
        """The spec as plain lists and dictionaries; what is not set is left out."""
        data: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return data

    def to_json(self) -> str:
        """The spec as one line of JSON, the same for equal specs."""
        return json.dumps(self.to_data(), separators=(",", ":"))

    def to_yaml(self) -> str:
        """The spec as YAML that a person can edit: one line a block, defaults left out."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        text: str = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
        return text


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of spec files, for editors."""
    schema = Spec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
