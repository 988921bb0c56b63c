"""Fold batch normalisation into the convolution or matrix product before it.

    1. Conv | ConvTranspose -> BatchNormalization      weights scaled by output channel, bias adjusted
    2. Gemm -> BatchNormalization                      the same, one channel a column
    3. anything else -> BatchNormalization             Mul and Add with one value a channel

y = gamma * (x - mean) / sqrt(variance + epsilon) + beta (Ioffe and Szegedy, 2015), computed in float64 and
rounded once. A weight that several convolutions share is copied first. After this pass no
BatchNormalization with constant parameters is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.constants import assign, constant, new_constant, optional_input
from mdcompiler.errors import ModelError
from mdcompiler.module import Module, insert_before, only_consumer, producer, remove_nodes, replace_uses
from mdcompiler.names import fresh_node, fresh_tensor, kernel_path

Array = NDArray[Any]
_PARAMETERS = ("scale", "bias", "mean", "variance")


@dataclass(frozen=True)
class FoldBatchnorm:
    """Fold every BatchNormalization that has constant parameters."""

    name: ClassVar[str] = "fold-batchnorm"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ("fold-constants",)

    def run(self, module: Module) -> int:
        found = [node for node in _norms(module.graph) if why_not(node) is None]
        for norm in found:
            _fold(module.graph, norm)
        return len(found)

    def refusals(self, module: Module) -> list[Refusal]:
        return [Refusal(node.name, reason) for node in _norms(module.graph) if (reason := why_not(node))]


def _norms(graph: gs.Graph) -> list[gs.Node]:
    return [node for node in graph.nodes if node.op == "BatchNormalization" and not node.domain]


def why_not(norm: gs.Node) -> str | None:
    """Why a BatchNormalization must stay, or None."""
    if norm.attrs.get("training_mode", 0):
        return "it is in training mode; export the network in evaluation mode"
    for label, tensor in zip(_PARAMETERS, norm.inputs[1:], strict=True):
        if constant(tensor) is None:
            return f"its {label} {tensor.name} is computed at run time"
    return None


def _fold(graph: gs.Graph, norm: gs.Node) -> None:
    scale, offset = affine(norm)
    before, reader = producer(norm.inputs[0]), only_consumer(graph, norm.inputs[0])
    if before is None or reader is None or not _takes_scale(before):
        _spell_out(graph, norm, scale, offset)
        return
    _scale(graph, before, scale, offset)
    old, new = norm.outputs[0], norm.inputs[0]
    remove_nodes(graph, [norm])
    replace_uses(graph, old, new)


def affine(norm: gs.Node) -> tuple[Array, Array]:
    """`norm` as y = scale * x + offset, one float64 value a channel. Raises ModelError for a bad variance."""
    gamma, beta, mean, variance = (tensor.values.astype(np.float64) for tensor in norm.inputs[1:])
    spread = variance + float(norm.attrs.get("epsilon", 1e-5))
    if not np.all(spread > 0):
        raise ModelError(
            f"folding batch normalisation {norm.name}: variance + epsilon is {spread.min()}; it must be above 0. "
            "The weights are damaged: export the network again."
        )
    scale = gamma / np.sqrt(spread)
    return scale, beta - mean * scale


def _takes_scale(node: gs.Node) -> bool:
    """Whether `node` is linear with constant weights, one output channel a filter."""
    if node.domain or node.op not in ("Conv", "ConvTranspose", "Gemm") or constant(node.inputs[1]) is None:
        return False
    bias = optional_input(node, 2)
    return bias is None or constant(bias) is not None


def _scale(graph: gs.Graph, node: gs.Node, scale: Array, offset: Array) -> None:
    weight: Array = node.inputs[1].values
    bias = constant(optional_input(node, 2))
    shift = 0.0 if bias is None else bias.astype(np.float64) * float(node.attrs.get("beta", 1.0))
    path = kernel_path(node.name)
    scaled = weight.astype(np.float64) * _along_filters(node, weight, scale)
    assign(graph, node, 1, scaled.astype(weight.dtype), f"{path}/weight")
    assign(graph, node, 2, (shift * scale + offset).astype(weight.dtype), f"{path}/bias")
    if node.op == "Gemm":
        node.attrs["beta"] = 1.0


def _along_filters(node: gs.Node, weight: Array, scale: Array) -> Array:
    """`scale` in a shape that multiplies every weight of output channel c by scale[c]."""
    if node.op == "Conv":
        return scale.reshape(-1, *[1] * (weight.ndim - 1))
    if node.op == "Gemm":
        return scale.reshape(-1, 1) if node.attrs.get("transB", 0) else scale.reshape(1, -1)
    # ConvTranspose weights are [inputs, outputs / groups, ...]; group g makes the g-th slice of the outputs.
    groups = int(node.attrs.get("group", 1))
    by_input = np.repeat(scale.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return by_input.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))


def _spell_out(graph: gs.Graph, norm: gs.Node, scale: Array, offset: Array) -> None:
    """Replace `norm` by Mul and Add."""
    source, result = norm.inputs[0], norm.outputs[0]
    shape = (-1, *[1] * (len(source.shape) - 2))
    factor = new_constant(graph, f"{norm.name}/scale", scale.astype(result.dtype).reshape(shape))
    scaled = gs.Variable(fresh_tensor(graph, f"{norm.name}/scaled"), dtype=result.dtype, shape=list(result.shape))
    mul = gs.Node("Mul", fresh_node(graph, f"{norm.name}/mul"), inputs=[source, factor], outputs=[scaled])
    insert_before(graph, norm, [mul])
    term = new_constant(graph, f"{norm.name}/offset", offset.astype(result.dtype).reshape(shape))
    norm.op, norm.attrs = "Add", {key: value for key, value in norm.attrs.items() if key.startswith("mdc.")}
    norm.inputs = [scaled, term]
