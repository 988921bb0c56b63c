"""What a node leaves unsaid, or says in a way that tools read differently, is spelled out while a model is read.

1. QuantizeLinear, DequantizeLinear without a zero point      a zero point of zeros
2. pooling with `ceil_mode`                                   the padding that makes as many windows, rounded down
3. GroupNormalization before opset 21                         InstanceNormalization of the groups

About 2: windows that would start in the padding at the end are left out (ONNX says so since opset 19, runtimes always
did; ONNX's shape inference counts them). Averages that count the padding count that of the node alone, not the part of
a window beyond it, so that their padding becomes a node of its own:

    AveragePool(ceil_mode, count_include_pad, pads)  ->  Pad(pads) -> AveragePool(pads at the end)

About 3: its scale and bias are of groups there, and of channels later: ONNX withdrew it, and its checker refuses it.

    GroupNormalization-18(x, scale, bias)  ->  Reshape([N, groups, -1]) -> InstanceNormalization(scale, bias) -> Reshape
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, TypeProto, helper, numpy_helper

from mdcompiler.names import unique
from mdcompiler.onnx_types import is_static, shape_of

_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
_PADS_ARE_INPUTS_SINCE = 11
_GROUPS_SCALE_CHANNELS_SINCE = 21


def spelled_out(
    node: onnx.NodeProto, types: Mapping[str, TypeProto], taken: set[str], opset: int
) -> list[onnx.NodeProto] | None:
    """The nodes that take the place of `node`; None where it says all.

    types: of its inputs at least. taken: names of tensors; new ones are added.
    """
    if node.domain or not node.input or not is_static(types.get(node.input[0])):
        return None
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _with_zero_point(node, types, taken)
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "GroupNormalization" and opset < _GROUPS_SCALE_CHANNELS_SINCE:
        return _by_groups(node, shape_of(types[node.input[0]]), attributes, taken)
    if node.op_type in _POOLS and attributes.get("ceil_mode") and attributes.get("kernel_shape"):
        return _rounded_down(node, shape_of(types[node.input[0]]), attributes, taken, opset)
    return None


def _with_zero_point(
    node: onnx.NodeProto, types: Mapping[str, TypeProto], taken: set[str]
) -> list[onnx.NodeProto] | None:
    if len(node.input) < 2 or (len(node.input) > 2 and node.input[2]) or not is_static(types.get(node.input[1])):
        return None
    element = types[node.input[0]].tensor_type.elem_type
    if node.op_type == "QuantizeLinear":
        said = {item.name: item.i for item in node.attribute}
        element = said.get("output_dtype", 0) or TensorProto.UINT8
    try:
        dtype = helper.tensor_dtype_to_np_dtype(element)
        zeros = numpy_helper.from_array(np.zeros(shape_of(types[node.input[1]]), dtype))
    except (KeyError, ValueError, TypeError):  # a type that nothing here knows is refused where types are judged
        return None
    name = _fresh(f"{node.input[1]}/zero_point", taken)
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[2:]
    copy.input.append(name)
    return [helper.make_node("Constant", [], [name], value=zeros), copy]


def _rounded_down(
    node: onnx.NodeProto, shape: list[int], attributes: Mapping[str, Any], taken: set[str], opset: int
) -> list[onnx.NodeProto] | None:
    window, axes = attributes["kernel_shape"], len(shape) - 2
    strides = attributes.get("strides") or [1] * axes
    dilations = attributes.get("dilations") or [1] * axes
    pads = attributes.get("pads") or [0] * 2 * axes
    lengths = [len(values) for values in (window, strides, dilations)]
    positive = all(value > 0 for values in (window, strides, dilations) for value in values)
    if lengths != [axes] * 3 or len(pads) != 2 * axes or not positive or min(pads, default=0) < 0:
        return None
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    begin, end = pads[:axes], []
    # a rule for the padding leaves nothing to round
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        _set(copy, ceil_mode=0)
        return [copy]
    for axis, size in enumerate(shape[2:]):
        reach, stride = (window[axis] - 1) * dilations[axis] + 1, strides[axis]
        count = -(-(size + pads[axis] + pads[axes + axis] - reach) // stride) + 1
        if (count - 1) * stride >= size + pads[axis]:
            count -= 1
        end.append(max(0, (count - 1) * stride + reach - size - pads[axis]))
    if node.op_type != "AveragePool" or not attributes.get("count_include_pad"):
        _set(copy, ceil_mode=0, pads=[*begin, *end])
        return [copy]
    beyond = [max(0, wanted - pads[axes + axis]) for axis, wanted in enumerate(end)]
    stated = [min(wanted, pads[axes + axis]) for axis, wanted in enumerate(end)]
    padded = _fresh(f"{node.input[0]}/padded", taken)
    padding = _padding(node.input[0], padded, [0, 0, *begin, 0, 0, *stated], taken, opset)
    copy.input[0] = padded
    _set(copy, ceil_mode=0, pads=[*[0] * axes, *beyond], count_include_pad=0)
    return [*padding, copy]


def _by_groups(
    node: onnx.NodeProto, shape: list[int], attributes: Mapping[str, Any], taken: set[str]
) -> list[onnx.NodeProto] | None:
    groups = attributes.get("num_groups", 0)
    if len(node.input) != 3 or len(shape) < 2 or groups < 1 or shape[1] % groups:
        return None
    apart, normal = _fresh(f"{node.output[0]}/groups", taken), _fresh(f"{node.output[0]}/normal", taken)
    scaled = helper.make_node(
        "InstanceNormalization",
        [apart, *node.input[1:]],
        [normal],
        node.name,
        epsilon=attributes.get("epsilon", 1e-5),
    )
    return [
        *_reshape(node.input[0], apart, [shape[0], groups, -1], taken),
        scaled,
        *_reshape(normal, node.output[0], shape, taken),
    ]


def _reshape(source: str, result: str, shape: list[int], taken: set[str]) -> list[onnx.NodeProto]:
    name = _fresh(f"{result}/shape", taken)
    constant = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(shape, np.int64)))
    return [constant, helper.make_node("Reshape", [source, name], [result])]


def _padding(source: str, result: str, pads: list[int], taken: set[str], opset: int) -> list[onnx.NodeProto]:
    if opset < _PADS_ARE_INPUTS_SINCE:
        return [helper.make_node("Pad", [source], [result], pads=pads)]
    name = _fresh(f"{result}/pads", taken)
    constant = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(pads, np.int64)))
    return [constant, helper.make_node("Pad", [source, name], [result])]


def _set(node: onnx.NodeProto, **attributes: Any) -> None:
    kept = [item for item in node.attribute if item.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(key, value) for key, value in attributes.items())])


def _fresh(wanted: str, taken: set[str]) -> str:
    name = unique(wanted, taken)
    taken.add(name)
    return name
