"""Write activations that an exporter spelled as several nodes as the one operator ONNX has for them.

    1. Relu, Clip, Max(x, c), Min(x, c), alone or two in a row     Relu or Clip
    2. Clip(x + b, 0, c) / c                                       HardSigmoid(alpha=1/c, beta=b/c)
    3. x * HardSigmoid(x; 1/6, 1/2)                                HardSwish
    4. x * Clip(x + 3, 0, 6) / 6                                   HardSwish

The last node of a pattern keeps its name and its output; inner nodes go, so nothing else may read them.
HardSwish: Searching for MobileNetV3, Howard et al., ICCV 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.activation import clip_bound
from mdcompiler.compile_pass import Stage
from mdcompiler.constants import new_constant, scalar
from mdcompiler.module import Module, only_consumer, producer, remove_nodes

_SIXTH = 1 / 6


@dataclass(frozen=True)
class FoldActivation:
    """Replace spelled-out activations."""

    name: ClassVar[str] = "fold-activation"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ("fold-constants",)

    def run(self, module: Module) -> int:
        edits = 0
        while found := _sweep(module.graph):
            edits += found
        return edits


def _sweep(graph: gs.Graph) -> int:
    edits = 0
    for node in list(graph.nodes):
        if node.outputs and not node.domain and np.issubdtype(node.outputs[0].dtype, np.floating):
            edits += any(rule(graph, node) for rule in _RULES)
    return edits


class _Clamp(NamedTuple):
    """min(max(source, low), high)."""

    source: gs.Tensor
    low: float
    high: float


def _clamp(node: gs.Node | None) -> _Clamp | None:
    """`node` as a clamp with constant bounds, or None."""
    if node is None or node.domain or node.op not in ("Relu", "Clip", "Max", "Min"):
        return None
    if node.op == "Relu":
        return _Clamp(node.inputs[0], 0.0, math.inf)
    if node.op == "Clip":
        low, high = clip_bound(node, 1, -math.inf), clip_bound(node, 2, math.inf)
        return None if low is None or high is None or low > high else _Clamp(node.inputs[0], low, high)
    operand = _scalar_operand(node)
    if operand is None:
        return None
    source, bound = operand
    return _Clamp(source, bound, math.inf) if node.op == "Max" else _Clamp(source, -math.inf, bound)


def _scalar_operand(node: gs.Node) -> tuple[gs.Tensor, float] | None:
    """The tensor and the constant of a two-operand node that keeps the tensor's shape."""
    if len(node.inputs) != 2:
        return None
    for tensor, other in (node.inputs, list(reversed(node.inputs))):
        value = scalar(other)
        if value is not None and isinstance(tensor, gs.Variable) and tensor.shape == node.outputs[0].shape:
            return tensor, value
    return None


def _fold_clamp(graph: gs.Graph, node: gs.Node) -> bool:
    """Case 1."""
    outer = _clamp(node)
    if outer is None:
        return False
    before = producer(outer.source)
    inner = _clamp(before)
    if inner is not None and only_consumer(graph, outer.source) is node:
        low, high = (min(max(bound, outer.low), outer.high) for bound in (inner.low, inner.high))
        _become_clamp(graph, node, _Clamp(inner.source, low, high))
        remove_nodes(graph, [before])
        return True
    plain = "Relu" if (outer.low, outer.high) == (0.0, math.inf) else "Clip"
    if node.op == plain:
        return False
    _become_clamp(graph, node, outer)
    return True


def _become_clamp(graph: gs.Graph, node: gs.Node, clamp: _Clamp) -> None:
    if (clamp.low, clamp.high) == (0.0, math.inf):
        _become(node, "Relu", [clamp.source])
        return
    bounds = [_bound(graph, node, "min", clamp.low), _bound(graph, node, "max", clamp.high)]
    _become(node, "Clip", [clamp.source, *bounds])


def _bound(graph: gs.Graph, node: gs.Node, label: str, value: float) -> gs.Tensor:
    if math.isinf(value):
        return gs.Variable.empty()
    return new_constant(graph, f"{node.name}/{label}", np.array(value, node.outputs[0].dtype))


def _become(node: gs.Node, op: str, inputs: list[gs.Tensor], **attributes: float) -> None:
    """Turn `node` into another operator with the same output; what the toolkit knows about it stays."""
    kept = {key: value for key, value in node.attrs.items() if key.startswith("mdc.")}
    node.op, node.attrs = op, {**attributes, **kept}
    node.inputs = inputs


class _ShiftedClip(NamedTuple):
    """Clip(source + shift, 0, top) and its nodes."""

    source: gs.Tensor
    shift: float
    top: float
    nodes: list[gs.Node]


def _shifted_clip(graph: gs.Graph, tensor: gs.Tensor) -> _ShiftedClip | None:
    clip = producer(tensor)
    clamp = _clamp(clip)
    if clamp is None or clamp.low != 0 or math.isinf(clamp.high) or clamp.high == 0 or not only_consumer(graph, tensor):
        return None
    add = producer(clamp.source)
    if add is None or add.op != "Add" or only_consumer(graph, clamp.source) is not clip:
        return None
    operand = _scalar_operand(add)
    return _ShiftedClip(*operand, clamp.high, [add, clip]) if operand else None


def _scaled(node: gs.Node) -> tuple[gs.Tensor, float] | None:
    """The tensor and the factor when `node` multiplies or divides by a constant."""
    if node.op not in ("Mul", "Div"):
        return None
    operand = _scalar_operand(node)
    if operand is None or (node.op == "Div" and (operand[0] is not node.inputs[0] or operand[1] == 0)):
        return None
    return operand if node.op == "Mul" else (operand[0], 1 / operand[1])


def _fold_hard_sigmoid(graph: gs.Graph, node: gs.Node) -> bool:
    """Case 2."""
    scaled = _scaled(node)
    clip = _shifted_clip(graph, scaled[0]) if scaled else None
    if scaled is None or clip is None or not math.isclose(scaled[1] * clip.top, 1, rel_tol=1e-6):
        return False
    _become(node, "HardSigmoid", [clip.source], alpha=1 / clip.top, beta=clip.shift / clip.top)
    remove_nodes(graph, clip.nodes)
    return True


def _fold_hard_swish(graph: gs.Graph, node: gs.Node) -> bool:
    """Case 3."""
    if node.op != "Mul":
        return False
    for source, gate in (node.inputs, list(reversed(node.inputs))):
        before = producer(gate)
        if before is not None and _is_hard_swish_gate(before, source) and only_consumer(graph, gate) is node:
            _become(node, "HardSwish", [source])
            remove_nodes(graph, [before])
            return True
    return False


def _is_hard_swish_gate(node: gs.Node, source: gs.Tensor) -> bool:
    if node.op != "HardSigmoid" or node.inputs[0] is not source:
        return False
    alpha, beta = node.attrs.get("alpha", 0.2), node.attrs.get("beta", 0.5)
    return math.isclose(alpha, _SIXTH, rel_tol=1e-6) and math.isclose(beta, 0.5, rel_tol=1e-6)


def _fold_scaled_product(graph: gs.Graph, node: gs.Node) -> bool:
    """Case 4."""
    scaled = _scaled(node)
    product = producer(scaled[0]) if scaled else None
    if scaled is None or product is None or product.op != "Mul" or only_consumer(graph, scaled[0]) is not node:
        return False
    for source, gate in (product.inputs, list(reversed(product.inputs))):
        clip = _shifted_clip(graph, gate)
        if clip is None or clip.source is not source or (clip.shift, clip.top) != (3.0, 6.0):
            continue
        if math.isclose(scaled[1], _SIXTH, rel_tol=1e-6):
            _become(node, "HardSwish", [source])
            remove_nodes(graph, [product, *clip.nodes])
            return True
    return False


_RULES: tuple[Callable[[gs.Graph, gs.Node], bool], ...] = (
    _fold_clamp,
    _fold_hard_sigmoid,
    _fold_hard_swish,
    _fold_scaled_product,
)
