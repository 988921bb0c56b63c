"""Both ends of a detector: from the picture to the backbone, from the predictors to the detections."""

from __future__ import annotations

import numpy as np
from onnx import helper

from mdcompiler.lowering.steps import Weights, write_conv
from mdcompiler.lowering.writer import GraphWriter
from mdcompiler.operators import DOMAIN
from mdcompiler.postprocess import FAST, OUTPUTS, REGULAR
from mdcompiler.postprocess_options import PostprocessOptions
from mdcompiler.spec.anchors import make_anchors
from mdcompiler.spec.model import Input, PostProcess, Spec
from mdcompiler.spec.network import Network, Predictor

IMAGE = "image"
BOXES = "box_encodings"
SCORES = "class_scores"


def write_input(writer: GraphWriter, picture: Input) -> None:
    """uint8 NHWC pixels to float32 NCHW numbers `pixel * scale + offset`."""
    height, width = picture.height, picture.width
    cast = writer.node("Cast", "input/cast", [IMAGE], (1, height, width, 3), to=1)
    shape = (1, 3, height, width)
    made = writer.node("Transpose", "input/transpose", [cast], shape, perm=[0, 3, 1, 2])
    made = writer.node("Mul", "input/scale", [made, writer.scalar("input/scale/value", picture.scale)], shape)
    writer.node("Add", "input/offset", [made, writer.scalar("input/offset/value", picture.offset)], shape)


def write_head(writer: GraphWriter, network: Network, weights: Weights) -> None:
    """All predictors, joined to `box_encodings` [1,A,4] and `class_scores` [1,A,K] (after the sigmoid)."""
    boxes, logits = [], []
    for level in network.levels:
        boxes.append(_write_predictor(writer, level.box, weights))
        logits.append(_write_predictor(writer, level.scores, weights))
    anchors, slots = network.anchor_count, network.levels[0].scores.slots
    writer.node("Concat", "head/concat_boxes", boxes, (1, anchors, 4), output=BOXES, axis=1)
    shape = (1, anchors, slots)
    joined = writer.node("Concat", "head/concat_scores", logits, shape, axis=1)
    writer.node("Sigmoid", "head/sigmoid", [joined], shape, output=SCORES)


def write_postprocess(writer: GraphWriter, spec: Spec, network: Network) -> tuple[str, ...]:
    """The node that turns boxes and scores into detections; the names of its outputs."""
    options = postprocess_options(spec.postprocess)
    anchors = writer.constant("head/anchors", make_anchors(spec.head.anchors, network.sizes))
    node = helper.make_node(
        REGULAR if options.regular else FAST,
        [BOXES, SCORES, anchors],
        list(OUTPUTS),
        name="head/postprocess",
        domain=DOMAIN,
    )
    for name, value in options.attributes().items():
        node.attribute.append(helper.make_attribute(name, value))
    writer.nodes.append(node)
    rows = options.max_detections
    for name, shape in zip(OUTPUTS, ((1, rows, 4), (1, rows), (1, rows), (1,)), strict=True):
        writer.declare(name, shape)
    return OUTPUTS


def postprocess_options(postprocess: PostProcess) -> PostprocessOptions:
    """What the post-processing operator is told."""
    scale_y, scale_x, scale_h, scale_w = postprocess.scales
    return PostprocessOptions(
        regular=postprocess.mode == "regular",
        max_detections=postprocess.max_detections,
        detections_per_class=postprocess.detections_per_class,
        score_threshold=postprocess.score_threshold,
        iou_threshold=postprocess.iou_threshold,
        scale_y=scale_y,
        scale_x=scale_x,
        scale_h=scale_h,
        scale_w=scale_w,
    )


def _write_predictor(writer: GraphWriter, predictor: Predictor, weights: Weights) -> str:
    """Both convolutions, then one row an anchor: the anchors of a cell lie next to each other only in NHWC."""
    for step in predictor.steps:
        write_conv(writer, step, weights)
    output = predictor.steps[-1].output
    path, (height, width) = predictor.path, output.size
    shape = (1, height, width, output.channels)
    rows = writer.node("Transpose", f"{path}/transpose", [output.name], shape, perm=[0, 2, 3, 1])
    target = np.array([1, predictor.boxes, predictor.slots], np.int64)
    return writer.node(
        "Reshape",
        f"{path}/reshape",
        [rows, writer.constant(f"{path}/reshape/shape", target)],
        (1, predictor.boxes, predictor.slots),
    )
