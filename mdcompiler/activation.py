"""Activations: recognising the nodes that form one, whatever they are called.

An activation is one node (Relu, Clip with constant bounds, HardSwish, HardSigmoid, Sigmoid) or, for
swish, the pair Sigmoid and Mul: ONNX has no Swish before opset 24.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from mdcompiler.constants import optional_input, scalar
from mdcompiler.module import consumers

SINGLE = {
    "Relu": "relu",
    "Clip": "clip",
    "HardSwish": "hard_swish",
    "HardSigmoid": "hard_sigmoid",
    "Sigmoid": "sigmoid",
}
"""Operators that are an activation by themselves -> kind of activation."""


@dataclass(frozen=True)
class Activation:
    """One activation function.

    kind: relu, clip, hard_swish, hard_sigmoid, sigmoid or swish. nodes: in order of execution.
    low, high: bounds of relu and clip, infinite where there is none.
    alpha, beta: slope and offset of hard_sigmoid.
    """

    kind: str
    nodes: tuple[gs.Node, ...]
    low: float = -math.inf
    high: float = math.inf
    alpha: float = 0.2
    beta: float = 0.5

    @property
    def output(self) -> gs.Tensor:
        return self.nodes[-1].outputs[0]


def activation_after(tensor: gs.Tensor) -> Activation | None:
    """The activation that `tensor` goes into, when nothing else reads `tensor`."""
    readers = consumers(tensor)
    if len(readers) == 1:
        return single_activation(readers[0])
    return _swish(readers) if len(readers) == 2 else None


def single_activation(node: gs.Node) -> Activation | None:
    """`node` as an activation, or None when it is none or its bounds are not constant."""
    kind = SINGLE.get(node.op)
    if kind is None or node.domain:
        return None
    if kind == "clip":
        return _clip(node)
    low = 0.0 if kind == "relu" else -math.inf
    alpha, beta = float(node.attrs.get("alpha", 0.2)), float(node.attrs.get("beta", 0.5))
    return Activation(kind, (node,), low=low, alpha=alpha, beta=beta)


def _clip(node: gs.Node) -> Activation | None:
    low, high = clip_bound(node, 1, -math.inf), clip_bound(node, 2, math.inf)
    if low is None or high is None or low > high:
        return None
    return Activation("clip", (node,), low=low, high=high)


def clip_bound(node: gs.Node, index: int, missing: float) -> float | None:
    """Bound `index` (1 low, 2 high) of a Clip; `missing` where it has none, None where it is not constant."""
    tensor = optional_input(node, index)
    return missing if tensor is None else scalar(tensor)


def _swish(readers: list[gs.Node]) -> Activation | None:
    sigmoid = next((node for node in readers if node.op == "Sigmoid"), None)
    product = next((node for node in readers if node.op == "Mul"), None)
    if sigmoid is None or product is None:
        return None
    gate_readers = consumers(sigmoid.outputs[0])
    if len(gate_readers) != 1 or gate_readers[0] is not product:
        return None
    return Activation("swish", (sigmoid, product))
