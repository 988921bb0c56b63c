"""Operands that must fit together and that ONNX's shape inference does not compare.

A backend trusts these when it writes loops, so a damaged file must not get past here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx
from onnx import helper, numpy_helper

from mdcompiler.foreign import shortened
from mdcompiler.onnx_faults import raise_faults

Shapes = dict[str, list[int]]


@dataclass(frozen=True)
class Known:
    """shapes: of all tensors. constants: those with known values."""

    shapes: Shapes
    constants: dict[str, onnx.TensorProto]


def check_operands(model: onnx.ModelProto) -> None:
    """Raise ModelError naming every node of `model` whose operands do not fit. All shapes must be known."""
    known = Known(_shapes(model), _constants(model))
    raise_faults(
        f"node {shortened(node.name or node.output[0], 80)!r} ({node.op_type}): {reason}. The model is damaged: export "
        "it again."
        for node in model.graph.node
        if not node.domain and (reason := _reason(node, known))
    )


def _reason(node: onnx.NodeProto, known: Known) -> str | None:
    rules = [_RULES[node.op_type]] if node.op_type in _RULES else []
    if node.op_type in _WINDOWED:
        rules.insert(0, _padding_rule)
    return next((reason for rule in rules if (reason := rule(node, known))), None)


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            found[node.output[0]] = node.attribute[0].t
    return found


def _shapes(model: onnx.ModelProto) -> Shapes:
    graph = model.graph
    shapes: Shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes.setdefault(value.name, [extent.dim_value for extent in value.type.tensor_type.shape.dim])
    return shapes


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _convolution(node: onnx.NodeProto, known: Known) -> str | None:
    shapes = known.shapes
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


def _padding_rule(node: onnx.NodeProto, known: Known) -> str | None:
    attributes = _attributes(node)
    rule = attributes.get("auto_pad", b"NOTSET")
    text = rule.decode(errors="replace") if isinstance(rule, bytes) else str(rule)
    if text not in _PADDING_RULES:
        return f"auto_pad is {shortened(text, 40)!r}; one of {', '.join(_PADDING_RULES)}"
    if text not in ("NOTSET", "") and "pads" in attributes:
        return f"it has both pads and auto_pad {text}; only one of them can hold"
    return None


def _same_elements(node: onnx.NodeProto, known: Known) -> str | None:
    before, after = known.shapes[node.input[0]], known.shapes[node.output[0]]
    if math.prod(before) == math.prod(after):
        return None
    return f"it makes the shape {after} of {before}, which has {math.prod(before)} elements"


def _indices(node: onnx.NodeProto, known: Known) -> str | None:
    tensor = known.constants.get(node.input[1])
    shape = known.shapes[node.input[0]]
    axis = int(str(_attributes(node).get("axis", 0)))
    if tensor is None or not -len(shape) <= axis < len(shape):
        return None
    extent, indices = shape[axis], numpy_helper.to_array(tensor)
    wrong = indices[(indices < -extent) | (indices >= extent)]
    return f"it reads index {wrong.flat[0]} of an axis of {extent}" if wrong.size else None


def _range(node: onnx.NodeProto, known: Known) -> str | None:
    step = known.constants.get(node.input[2])
    return "its step is 0" if step is not None and not numpy_helper.to_array(step).any() else None


_PADDING_RULES = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
_WINDOWED = frozenset({"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "LpPool", "MaxPool", "QLinearConv"})
_RULES: dict[str, Callable[[onnx.NodeProto, Known], str | None]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Flatten": _same_elements,
    "Gather": _indices,
    "GatherElements": _indices,
    "Range": _range,
    "Reshape": _same_elements,
    "Squeeze": _same_elements,
    "Unsqueeze": _same_elements,
}
