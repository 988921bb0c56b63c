"""Operands that must fit together and that ONNX's shape inference does not compare.

A backend trusts these when it writes loops, so a damaged file must not get past here.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import helper

from mdcompiler.errors import ModelError

Shapes = dict[str, list[int]]


def check_operands(model: onnx.ModelProto) -> None:
    """Raise ModelError for the first node of `model` whose operands do not fit. All shapes must be known."""
    shapes = _shapes(model)
    for node in model.graph.node:
        rule = _RULES.get(node.op_type)
        reason = rule(node, shapes) if rule is not None and not node.domain else None
        if reason:
            raise ModelError(f"node {node.name!r} ({node.op_type}): {reason}. The model is damaged: export it again.")


def _shapes(model: onnx.ModelProto) -> Shapes:
    graph = model.graph
    shapes: Shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes.setdefault(value.name, [extent.dim_value for extent in value.type.tensor_type.shape.dim])
    return shapes


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _convolution(node: onnx.NodeProto, shapes: Shapes) -> str | None:
    data, weight = shapes[node.input[0]], shapes[node.input[1]]
    attributes = _attributes(node)
    groups = int(str(attributes.get("group", 1)))
    transposed = node.op_type == "ConvTranspose"
    if groups < 1 or weight[0] % groups:
        return f"group is {groups}; it must divide {weight[0]}"
    expected = weight[0] if transposed else weight[1] * groups
    if data[1] != expected:
        return f"its data has {data[1]} channels and its weights are for {expected}"
    window = attributes.get("kernel_shape", weight[2:])
    if window != weight[2:]:
        return f"kernel_shape is {window} and the weights have {weight[2:]}"
    outputs = weight[1] * groups if transposed else weight[0]
    bias = shapes[node.input[2]] if len(node.input) > 2 and node.input[2] else [outputs]
    return None if bias == [outputs] else f"its bias {node.input[2]!r} has shape {bias}; {[outputs]} is needed"


_RULES: dict[str, Callable[[onnx.NodeProto, Shapes], str | None]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
}
