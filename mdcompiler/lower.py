"""Lowering: a spec and its weights become an ONNX model that any runtime can run.

input `image` uint8 [1,H,W,3] -> input/* -> backbone -> extra layers -> head/l*/* -> head/postprocess.
BatchNorm is still there, NCHW inside, TensorFlow's SAME padding explicit; every node is named by its
block (`C4/b2.ibn/expand/conv`), every tensor like the node that makes it.
"""

from __future__ import annotations

import json

import onnx
from onnx import TensorProto, helper

from mdcompiler.lowering.ends import BOXES, IMAGE, SCORES, write_head, write_input, write_postprocess
from mdcompiler.lowering.steps import Weights, write_step
from mdcompiler.lowering.writer import GraphWriter
from mdcompiler.operators import IR_VERSION, OPSET, attach_functions
from mdcompiler.spec.build import build_network, weight_shapes
from mdcompiler.spec.model import Spec
from mdcompiler.weights.check import check_weights


def lower(spec: Spec, weights: Weights, raw: bool = False) -> onnx.ModelProto:
    """The network of `spec` as ONNX (opset 17, batch 1, static shapes, every tensor typed).

    weights: name -> array for every name of `weight_shapes(spec)`; used as float32.
    raw: end with `box_encodings` [1,A,4] and `class_scores` [1,A,K] (float32, scores after the sigmoid, slot 0
    the background) instead of the detections `boxes` [1,N,4], `classes` [1,N], `scores` [1,N], `count` [1].

    Raises WeightsError listing every tensor that does not fit, SpecError for a spec that is no network.
    """
    check_weights(weight_shapes(spec), weights)
    network = build_network(spec)
    writer = GraphWriter()
    write_input(writer, spec.input)
    for block in (*network.backbone, *network.extra):
        for step in block.steps:
            write_step(writer, step, weights)
    write_head(writer, network, weights)
    outputs = (BOXES, SCORES) if raw else write_postprocess(writer, spec, network)
    return _model(spec, writer, outputs)


def _model(spec: Spec, writer: GraphWriter, outputs: tuple[str, ...]) -> onnx.ModelProto:
    shape = (1, spec.input.height, spec.input.width, 3)
    image = helper.make_tensor_value_info(IMAGE, int(TensorProto.UINT8), shape)
    graph = writer.graph(spec.name, [image], outputs)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mdcompiler",
    )
    metadata = {"mdc.spec": spec.to_json()}
    if spec.head.label_names:
        metadata["mdc.labels"] = json.dumps(spec.head.label_names, ensure_ascii=False)
    helper.set_model_props(model, metadata)
    return attach_functions(model)
