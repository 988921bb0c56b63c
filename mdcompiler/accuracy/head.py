"""Where a network's raw detections are: encodings and scores, and the anchors that decode them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdcompiler.constants import constant
from mdcompiler.errors import ModelError
from mdcompiler.module import Module
from mdcompiler.postprocess import is_postprocess, options_of
from mdcompiler.postprocess_options import PostprocessOptions
from mdcompiler.read_network import picture_of
from mdcompiler.spec import build_network
from mdcompiler.spec.anchors import make_anchors
from mdcompiler.spec.load import parse_spec

BOXES, SCORES = "box_encodings", "class_scores"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class DetectorHead:
    """The raw ends of a detector.

    boxes, scores: names of the tensors [1,A,4] and [1,A,K]; slot 0 of K is the background.
    anchors: [A,4] (ycenter, xcenter, height, width). height, width: of the picture in pixels.
    """

    boxes: str
    scores: str
    anchors: Floats
    options: PostprocessOptions
    height: int
    width: int


def find_head(module: Module) -> DetectorHead | None:
    """The raw ends of `module`, or None when it is no detector that this toolkit can decode."""
    picture = picture_of(module)
    if picture is None:
        return None
    for node in module.graph.nodes:
        anchors = constant(node.inputs[2]) if is_postprocess(node) else None
        if anchors is not None:
            boxes, scores = (tensor.name for tensor in node.inputs[:2])
            return DetectorHead(boxes, scores, anchors, options_of(node), picture.height, picture.width)
    return _raw_head(module, picture.height, picture.width)


def _raw_head(module: Module, height: int, width: int) -> DetectorHead | None:
    """The head of a network that was read with `raw`: its spec knows the anchors."""
    text = module.metadata.get("mdc.spec")
    if text is None or {BOXES, SCORES} - {tensor.name for tensor in module.graph.outputs}:
        return None
    from mdcompiler.lowering.ends import postprocess_options

    spec = parse_spec(text, "mdc.spec")
    anchors = make_anchors(spec.head.anchors, build_network(spec).sizes)
    ends = {tensor.name: tuple(tensor.shape) for tensor in module.graph.outputs}
    if ends[BOXES] != (1, len(anchors), 4) or ends[SCORES] != (1, len(anchors), spec.head.class_slots):
        raise ModelError(
            f"the metadata mdc.spec describes {len(anchors)} anchors of {spec.head.class_slots} classes, the network "
            f"gives {BOXES}{list(ends[BOXES])} and {SCORES}{list(ends[SCORES])}. Remove the entry, or lower it again."
        )
    return DetectorHead(BOXES, SCORES, anchors, postprocess_options(spec.postprocess), height, width)


def end_tensors(module: Module) -> list[str]:
    """The tensors whose accuracy counts: a detector's raw ends, else the float outputs of the network."""
    head = find_head(module)
    if head is not None:
        return [head.boxes, head.scores]
    return [tensor.name for tensor in module.graph.outputs if tensor.dtype == np.float32]
