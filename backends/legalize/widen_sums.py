"""Reductions that add keep their sums one width wider: TVM adds one by one, so that errors grow with the count.

    y = ReduceSum(x)    ->    y = Cast(ReduceSum(Cast(x, double)), float)

Other runtimes add in vectors and in halves. Sums of a few numbers stay as they are.
"""

from __future__ import annotations

import math

import onnx
from onnx import TensorProto, helper

from mdcompiler.names import unique

_ADDING = frozenset(("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceMean", "ReduceSum", "ReduceSumSquare"))
_WIDER: dict[int, int] = {TensorProto.FLOAT16: TensorProto.FLOAT, TensorProto.FLOAT: TensorProto.DOUBLE}
_FEW = 32


def widen_sums(model: onnx.ModelProto) -> None:
    """Widen every long sum of `model`, in place."""
    graph = model.graph
    types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output, *graph.value_info)}
    taken = set(types) | {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {tensor.name for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        source, result = types.get(node.input[0]) if node.input else None, types.get(node.output[0])
        if (
            node.op_type not in _ADDING
            or node.domain
            or source is None
            or result is None
            or source.elem_type not in _WIDER
            or _count(source) <= _FEW * _count(result)
        ):
            nodes.append(node)
        else:
            nodes.extend(_widened(node, source.elem_type, taken))
    del graph.node[:]
    graph.node.extend(nodes)


def _count(kind: onnx.TypeProto.Tensor) -> int:
    return math.prod(extent.dim_value for extent in kind.shape.dim)


def _widened(node: onnx.NodeProto, element: int, taken: set[str]) -> list[onnx.NodeProto]:
    result = node.output[0]
    wide, total = (unique(f"{result}/{role}", taken) for role in ("wide", "sum"))
    taken.update((wide, total))
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[0], copy.output[0] = wide, total
    return [
        helper.make_node("Cast", [node.input[0]], [wide], to=_WIDER[element]),
        copy,
        helper.make_node("Cast", [total], [result], to=element),
    ]
