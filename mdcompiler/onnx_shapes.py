"""Static shapes: every tensor of a model gets a type and a shape of plain numbers, or the model is refused."""

from __future__ import annotations

import math

import onnx

from mdcompiler.errors import ModelError
from mdcompiler.onnx_limits import ELEMENT_TYPES
from mdcompiler.operators import DOMAIN, attach_functions, detach_functions

MAX_TENSOR_ELEMENTS = 1 << 29
"""Largest single tensor: 2 GiB of float32."""


def fix_batch(model: onnx.ModelProto) -> list[str]:
    """Set a symbolic first axis of an input to 1, in place; the names of the inputs changed.

    Only where the first axis is the only one without a number: then it can be nothing but the batch.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    changed = []
    for value in model.graph.input:
        extents = value.type.tensor_type.shape.dim
        free = [axis for axis, extent in enumerate(extents) if not _is_fixed(extent)]
        if value.name not in given and free == [0] and len(extents) > 1:
            extents[0].dim_value = 1
            changed.append(value.name)
    return changed


def _is_fixed(extent: onnx.TensorShapeProto.Dimension) -> bool:
    return extent.HasField("dim_value") and extent.dim_value >= 0


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with every tensor typed. Raises ModelError when one stays dynamic or is too large.

    What the file claims about inner tensors is not believed but inferred anew, outputs of `mdc` operators
    excepted: their shapes depend on attributes in ways ONNX cannot infer.
    """
    _check_inputs(model)
    _forget(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(
            attach_functions(detach_functions(model)), check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"the shapes of the model do not fit together: {_short(error)}. Check the model with "
            "onnx.checker.check_model(model, full_check=True) and export it again."
        ) from error
    result = detach_functions(inferred)
    _check_all(result)
    return result


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _check_inputs(model: onnx.ModelProto) -> None:
    given = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in given:
            _check(value, "input")


def _forget(model: onnx.ModelProto) -> None:
    """Drop the stated shapes of all tensors that can be inferred."""
    kept = {name for node in model.graph.node if node.domain == DOMAIN for name in node.output}
    kept |= {value.name for value in model.graph.input}
    infos = [value for value in model.graph.value_info if value.name in kept]
    del model.graph.value_info[:]
    model.graph.value_info.extend(infos)
    for value in model.graph.output:
        if value.name not in kept:
            value.ClearField("type")


def _check_all(model: onnx.ModelProto) -> None:
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    for node in model.graph.node:
        for name in filter(None, node.output):
            value = known.get(name, onnx.ValueInfoProto(name=name))
            _check(value, f"result of {node.name or node.op_type}")


def _check(value: onnx.ValueInfoProto, role: str) -> None:
    """Raise ModelError unless `value` is a tensor of a known type with a static shape of bearable size."""
    where = f"tensor {value.name!r} ({role})"
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise ModelError(f"{where} has no known shape. {_ADVICE}")
    if tensor.elem_type not in ELEMENT_TYPES:
        raise ModelError(
            f"{where} has element type {onnx.TensorProto.DataType.Name(tensor.elem_type)}; allowed are floats of 16, "
            "32 and 64 bits, integers of 8 to 64 bits and booleans. Convert the model first."
        )
    free = [f"axis {axis} is {_spelled(item)}" for axis, item in enumerate(tensor.shape.dim) if not _is_fixed(item)]
    if free:
        raise ModelError(f"{where} has a dynamic shape: {', '.join(free)}. {_ADVICE}")
    elements = math.prod(extent.dim_value for extent in tensor.shape.dim)
    if elements > MAX_TENSOR_ELEMENTS:
        raise ModelError(f"{where} has {elements} elements; at most {MAX_TENSOR_ELEMENTS}. Use a smaller input.")


def _spelled(extent: onnx.TensorShapeProto.Dimension) -> str:
    if extent.HasField("dim_value"):
        return str(extent.dim_value)
    return repr(extent.dim_param) if extent.dim_param else "unknown"


_ADVICE = (
    "All sizes must be numbers: export with static shapes, or set them with "
    "onnx.tools.update_model_dims.update_inputs_outputs_dims or `onnxsim --overwrite-input-shape`."
)
