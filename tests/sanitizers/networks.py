"""Four networks whose kernels, generated C and runtime the sanitizers watch, in float32 and int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from mdcompiler.backends.clib.fuse_strips import ChooseRows
from mdcompiler.backends.clib.strip_chain import Chain
from mdcompiler.lower import lower
from mdcompiler.spec import Spec, parse_spec, weight_shapes
from mdcompiler.weights import seeded_weights
from tests.graphs import Sketch

_DETECTOR = """
name: detector
input: {height: 33, width: 40}
defaults: {activation: hard-swish}
blocks:
  C1:
    - {kind: conv, out: 12, stride: 2}
  C2:
    - {kind: ibn, out: 20, expansion: 2, kernel: 5, stride: 2, se: 0.25}
    - {kind: ibn, out: 20, expansion: 2}
head: {levels: [C2], extra: [24], classes: 5}
postprocess: {mode: regular, max_detections: 9, score_threshold: 0.1}
"""
_RAW = """
name: raw
input: {height: 45, width: 37}
defaults: {activation: relu6}
blocks:
  C1:
    - {kind: conv, out: 16, stride: 2}
  C2:
    - {kind: fused, out: 24, expansion: 2, stride: 2}
    - {kind: tucker, out: 24, input_ratio: 0.5, output_ratio: 0.75}
  C3:
    - {kind: ibn, out: 40, expansion: 2, stride: 2, activation: relu}
head: {levels: [C2, C3], classes: 2}
"""
_CHAINS = """
name: chains
input: {height: 50, width: 42}
defaults: {activation: relu6}
blocks:
  C1:
    - {kind: conv, out: 16, stride: 2}
    - {kind: fused, out: 16, expansion: 2}
  C2:
    - {kind: ibn, out: 32, expansion: 2, kernel: 5, stride: 2}
    - {kind: ibn, out: 32, expansion: 2}
head: {levels: [C2], classes: 1}
"""


def _three_rows(chain: Chain) -> int:
    """Strips of three rows for every chain, whatever a cache holds."""
    return min(3, chain.rows)


@dataclass(frozen=True)
class Network:
    """rows: of the strips. threads: of a run. fallback: whether TVM writes some kernels."""

    name: str
    model: Callable[[], onnx.ModelProto]
    rows: ChooseRows | None = None
    threads: int = 1
    fallback: bool = False


def _lowered(text: str, raw: bool = True) -> Callable[[], onnx.ModelProto]:
    spec: Spec = parse_spec(text, "network.yaml")
    return lambda: lower(spec, seeded_weights(weight_shapes(spec), 0), raw=raw)


def _foreign() -> onnx.ModelProto:
    """Pools, sums, joins and operators without a kernel of ours, of sizes that divide by nothing."""
    net = Sketch(seed=3)
    data = net.input("x", [1, 3, 21, 27], TensorProto.FLOAT)
    data = net.norm("/stem", net.conv("/stem", data, (3, 10), 3, strides=[2, 2]), 10)
    data = net.node("Relu", "/relu", data)
    pooled = net.node("MaxPool", "/pool", data, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    bent = net.node("Softplus", "/softplus", net.conv("/bend", pooled, (10, 7), 1, bias=True))
    joined = net.node("Concat", "/join", pooled, bent, axis=1)
    mixed = net.conv("/mix", joined, (17, 17), 3, group=17)
    turned = net.node("Transpose", "/turn", mixed, perm=[0, 2, 3, 1])
    scores = net.node("Softmax", "/softmax", turned, axis=-1)
    mean = net.node("ReduceMean", "/mean", joined, axes=[2, 3], keepdims=0)
    return net.model(scores, mean)


NETWORKS = (
    Network("detections", _lowered(_DETECTOR, raw=False)),
    Network("raw", _lowered(_RAW)),
    Network("foreign", _foreign, fallback=True),
    Network("strips", _lowered(_CHAINS), _three_rows, threads=3),
)
