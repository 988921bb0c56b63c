"""Integers between blocks, where a backend lets floats leave only: with their scale, so they come back exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.kernel import KERNEL, KIND
from mdcompiler.module import Module, producer
from mdcompiler.names import fresh_node, fresh_tensor
from mdcompiler.quantization.affine import quantize
from mdcompiler.quantization.steps import QUANTIZE, affine
from mdcompiler.weights.quantization import Quantization

Taps = dict[str, tuple[str, Quantization]]
"""Integer tensor -> the float output that stands for it, and its scale."""


def make_real(module: Module) -> Taps:
    """Give every output of `module` that a QuantizeLinear makes a DequantizeLinear, as a kernel of its own."""
    found: Taps = {}
    outputs = list(module.graph.outputs)
    for place, tensor in enumerate(outputs):
        source = producer(tensor)
        if source is not None and source.op == QUANTIZE:
            outputs[place] = _real(module.graph, tensor, source)
            found[tensor.name] = outputs[place].name, affine(source)
    module.graph.outputs = outputs
    return found


def integers_of(values: Mapping[str, NDArray[Any]], taps: Taps) -> dict[str, NDArray[Any]]:
    """`values` with the integers that the outputs of `taps` stand for."""
    return {**values, **{name: quantize(values[made], scale) for name, (made, scale) in taps.items()}}


def _real(graph: gs.Graph, tensor: gs.Variable, source: gs.Node) -> gs.Variable:
    made = gs.Variable(fresh_tensor(graph, f"{tensor.name}/real"), np.float32, list(tensor.shape))
    attributes = {KERNEL: made.name, KIND: "dequantize"}
    name = fresh_node(graph, made.name)
    graph.nodes.append(gs.Node("DequantizeLinear", name, attributes, [tensor, *source.inputs[1:3]], [made]))
    return made
