"""Small networks that every backend is tried on.

Seeded weights, static shapes, a few milliseconds each. Together they hold what a MobileDet is made of:
a picture as bytes, the three kinds of convolution with uneven padding, the activations, squeeze-excite,
a residual and a shared tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser, shape_inference

from mdcompiler.lower import lower
from mdcompiler.spec import parse_spec, weight_shapes
from mdcompiler.weights.seeded import seeded_weights

Array = NDArray[Any]


def _model(text: str, shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> onnx.ModelProto:
    """The graph `text` with a seeded weight for every name in `shapes`, scaled by its fan-in."""
    graph = parser.parse_graph(text)
    generator = np.random.default_rng(seed)
    for name, shape in shapes.items():
        scale = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
        values = (generator.standard_normal(shape) * scale).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, name))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    for index, node in enumerate(model.graph.node):
        node.name = node.output[0] or f"{node.op_type}_{index}"
    return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def picture() -> onnx.ModelProto:
    """Bytes in, first convolution out: the stem of a detector, stride 2, uneven padding, ReLU6."""
    text = """stem (uint8[1, 18, 22, 3] image) => (float[1, 8, 9, 11] y)
    <float scale = {0.0078125}, float offset = {-1.0}, float low = {0.0}, float high = {6.0}> {
      bytes = Cast <to = 1> (image)
      planes = Transpose <perm = [0, 3, 1, 2]> (bytes)
      scaled = Mul (planes, scale)
      shifted = Add (scaled, offset)
      convolved = Conv <strides = [2, 2], pads = [0, 0, 1, 1], kernel_shape = [3, 3]> (shifted, weight, bias)
      y = Clip (convolved, low, high)
    }"""
    return _model(text, {"weight": (8, 3, 3, 3), "bias": (8,)})


def inverted_bottleneck() -> onnx.ModelProto:
    """Expansion, depthwise convolution, squeeze-excite, projection and a residual."""
    text = """bottleneck (float[1, 8, 7, 9] x) => (float[1, 8, 7, 9] y)
    {
      expanded = Conv (x, expand, expand_bias)
      wide = HardSwish (expanded)
      filtered = Conv <group = 24, pads = [2, 2, 2, 2], kernel_shape = [5, 5]> (wide, depthwise, depthwise_bias)
      active = HardSwish (filtered)
      pooled = GlobalAveragePool (active)
      squeezed = Conv (pooled, reduce, reduce_bias)
      rectified = Relu (squeezed)
      excited = Conv (rectified, excite, excite_bias)
      gate = HardSigmoid <alpha = 0.16666667, beta = 0.5> (excited)
      gated = Mul (active, gate)
      projected = Conv (gated, project, project_bias)
      y = Add (projected, x)
    }"""
    shapes = {
        "expand": (24, 8, 1, 1),
        "expand_bias": (24,),
        "depthwise": (24, 1, 5, 5),
        "depthwise_bias": (24,),
        "reduce": (8, 24, 1, 1),
        "reduce_bias": (8,),
        "excite": (24, 8, 1, 1),
        "excite_bias": (24,),
        "project": (8, 24, 1, 1),
        "project_bias": (8,),
    }
    return _model(text, shapes)


def two_heads() -> onnx.ModelProto:
    """A tensor that two branches read, channels that fill no vector, two outputs side by side."""
    text = """heads (float[1, 13, 5, 6] x) => (float[1, 30, 5] boxes, float[1, 30, 3] scores)
    <int64[3] box_shape = {1, 30, 5}, int64[3] score_shape = {1, 30, 3}> {
      shared = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (x, weight, bias)
      features = Relu (shared)
      box = Conv (features, box_weight, box_bias)
      box_last = Transpose <perm = [0, 2, 3, 1]> (box)
      boxes = Reshape (box_last, box_shape)
      score = Conv (features, score_weight, score_bias)
      score_last = Transpose <perm = [0, 2, 3, 1]> (score)
      logits = Reshape (score_last, score_shape)
      scores = Sigmoid (logits)
    }"""
    shapes = {
        "weight": (10, 13, 3, 3),
        "bias": (10,),
        "box_weight": (5, 10, 1, 1),
        "box_bias": (5,),
        "score_weight": (3, 10, 1, 1),
        "score_bias": (3,),
    }
    return _model(text, shapes)


def odd_operators() -> onnx.ModelProto:
    """Operators without a kernel of their own in most backends; one may refuse them with a reason."""
    text = """odd (float[1, 4, 6, 6] x) => (float[1, 4, 3, 3] y)
    {
      pooled = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
      bent = Softplus (pooled)
      y = Softmax <axis = 1> (bent)
    }"""
    return _model(text, {})


_DETECTOR = """
name: conformance
input: {height: 48, width: 40}
blocks:
  C1: [{kind: conv, out: 8, kernel: 3, stride: 2}, {kind: tucker, out: 8, input_ratio: 0.25, output_ratio: 0.75}]
  C2: [{kind: fused, out: 16, expansion: 4, kernel: 3, stride: 2}]
  C3: [{kind: ibn, out: 24, expansion: 4, kernel: 5, stride: 2, se: 0.25, activation: swish}]
head: {levels: [C2, C3], extra: [16], classes: 3}
postprocess: {max_detections: 5, score_threshold: 0.3}
"""


def detector() -> onnx.ModelProto:
    """One block of each kind, a head, decoding and non-maximum suppression: bytes in, detections out."""
    spec = parse_spec(_DETECTOR, "conformance")
    return lower(spec, seeded_weights(weight_shapes(spec)))


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "picture": picture,
    "inverted-bottleneck": inverted_bottleneck,
    "two-heads": two_heads,
    "detector": detector,
    "odd-operators": odd_operators,
}
