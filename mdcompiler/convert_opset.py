"""Older opsets become the one that the toolkit knows, and what nodes mean stays.

`onnx.version_converter` does nearly all of it. It forgets where older resizing samples its source: `Upsample` and the
`Resize` of opset 10 read at `out / scale` (asymmetric), later ones at pixel centers unless they say otherwise.

    Resize-10(x, scales; mode=linear)  ->  Resize-13(x, , scales; mode=linear, asymmetric)

Nearest pixels of a growing axis are those below (floor), of a shrinking one those above (ceil), as ONNX Runtime has it;
one node with both becomes two. Whether a conversion kept the meaning is checked afterwards on numbers, see
`mdcompiler.meaning`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, helper, numpy_helper, version_converter

from mdcompiler.errors import ModelError
from mdcompiler.names import unique
from mdcompiler.operators import OPSET

_WEIGHTS_ALONE_SINCE = 4
"""The format (IR version) in which a weight need not be an input."""

_SAYS_WHERE_SINCE = 11
"""The opset in which Resize states its coordinates."""


def converted(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in opset 17 when it is older. Raises ModelError where that cannot be done."""
    version = next(entry.version for entry in model.opset_import if not entry.domain)
    if version >= OPSET:
        return model
    _check_attributes(model, version)
    try:
        result = version_converter.convert_version(_as_newer_format(model), OPSET)
    except Exception as error:
        raise ModelError(
            f"the model uses opset {version} and cannot be converted to {OPSET}: {error}. Export it with opset {OPSET}."
        ) from error
    if version < _SAYS_WHERE_SINCE:  # the converter gives tensors inside new names, so no node is told by its own
        for node in [node for node in result.graph.node if node.op_type == "Resize"]:
            _say_where(result, node)
    return result


def _as_newer_format(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in a format in which weights need not be inputs, if some are none: the converter finds no such weight in
    an older one, which runtimes read all the same."""
    stated = {value.name for value in model.graph.input}
    if model.ir_version >= _WEIGHTS_ALONE_SINCE or all(tensor.name in stated for tensor in model.graph.initializer):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = _WEIGHTS_ALONE_SINCE
    return copy


def _check_attributes(model: onnx.ModelProto, version: int) -> None:
    """Raise ModelError unless attributes have the types that their operators say: the converter trusts them, and one
    that lies ends the process."""
    for node in model.graph.node:
        if node.domain or not onnx.defs.has(node.op_type, version):
            continue
        known: Any = onnx.defs.get_schema(node.op_type, version).attributes
        for item in node.attribute:
            needs = known[item.name].type.name if item.name in known else ""
            has = AttributeProto.AttributeType.Name(item.type)
            if needs and has != needs:
                raise ModelError(
                    f"node {node.name!r} ({node.op_type}): the attribute {item.name} is of type {has}; {needs} is "
                    "allowed. Export the model again."
                )


def _say_where(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """Make the coordinates of an older resizing explicit, in place."""
    mode = next((helper.get_attribute_value(item).decode() for item in node.attribute if item.name == "mode"), "")
    scales = _constant(model, node.input[2]) if len(node.input) > 2 else None
    del node.attribute[:]
    if mode in ("linear", "bilinear", "trilinear"):
        node.attribute.extend(_attributes(mode="linear"))
        return
    shrinks = scales is not None and bool((scales < 1).any())
    if scales is None or not shrinks or not (scales > 1).any():
        node.attribute.extend(_attributes(mode="nearest", nearest_mode="ceil" if shrinks else "floor"))
        return
    _split(model, node, scales)


def _split(model: onnx.ModelProto, node: onnx.NodeProto, scales: NDArray[np.float32]) -> None:
    """Growing axes in a node of their own, before `node` shrinks the others: nearest pixels are chosen axis by axis."""
    taken = {name for item in model.graph.node for name in (*item.input, *item.output)}
    taken |= {tensor.name for tensor in model.graph.initializer}
    names = []
    for role, values in (("grown", np.maximum(scales, 1)), ("shrunk", np.minimum(scales, 1))):
        names.append(unique(f"{node.output[0]}/{role}/scales", taken))
        taken.add(names[-1])
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), names[-1]))
    between = unique(f"{node.output[0]}/grown", taken)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    first = helper.make_node("Resize", [node.input[0], "", names[0]], [between], nearest_mode="floor", **attributes)
    position = next(index for index, item in enumerate(model.graph.node) if item.output[0] == node.output[0])
    model.graph.node.insert(position, first)
    second = model.graph.node[position + 1]
    second.input[0], second.input[2] = between, names[1]
    second.attribute.extend(_attributes(mode="nearest", nearest_mode="ceil"))


def _attributes(**given: str) -> list[onnx.AttributeProto]:
    given["coordinate_transformation_mode"] = "asymmetric"
    return [helper.make_attribute(name, value) for name, value in given.items()]


def _constant(model: onnx.ModelProto, name: str) -> NDArray[np.float32] | None:
    """The values of tensor `name`, an initializer or a Constant node; None when it is computed."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] == name:
            value = helper.get_attribute_value(node.attribute[0])
            return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return None
