"""Reading a quantized graph: which tensors become integers, and what these can hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.constants import constant
from mdcompiler.module import consumers


@dataclass(frozen=True)
class Quantizer:
    """A QuantizeLinear with one scale: `tensor` becomes integers that stand for low to high in steps of `scale`."""

    tensor: str
    result: gs.Variable
    scale: float
    low: float
    high: float


def quantizers(graph: gs.Graph) -> dict[str, Quantizer]:
    """Every quantized activation of `graph` by the name of the float tensor."""
    found = (_quantizer(node) for node in graph.nodes if node.op == "QuantizeLinear")
    return {item.tensor: item for item in found if item is not None}


def _quantizer(node: gs.Node) -> Quantizer | None:
    scale, zero = constant(node.inputs[1]), constant(node.inputs[2]) if len(node.inputs) > 2 else np.uint8(0)
    if scale is None or zero is None or np.size(scale) != 1:
        return None
    step, middle = float(np.reshape(scale, ())), int(np.reshape(zero, ()))
    info = np.iinfo(np.asarray(zero).dtype)
    low, high = (info.min - middle) * step, (info.max - middle) * step
    return Quantizer(node.inputs[0].name, node.outputs[0], step, low, high)


def read_back(graph: gs.Graph, name: str) -> str | None:
    """The tensor of a quantized `graph` that holds what others read of the float tensor `name`.

    The result of its DequantizeLinear, also where the clamp that made it is gone, which insert-qdq names so; itself
    where it stays float; None where the graph has it no more.
    """
    tensors = graph.tensors()
    tensor = tensors.get(name)
    if tensor is None:
        return f"{name}/dq" if f"{name}/dq" in tensors else None
    for node in consumers(tensor):
        if node.op == "QuantizeLinear":
            readers = [item for item in consumers(node.outputs[0]) if item.op == "DequantizeLinear"]
            if readers:
                return str(readers[0].outputs[0].name)
    return name
