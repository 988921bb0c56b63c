"""Static shapes: every tensor of a model gets a type and a shape of plain numbers, or the model is refused."""

from __future__ import annotations

import math

import onnx

from mdcompiler.onnx_faults import raise_faults
from mdcompiler.onnx_limits import ELEMENT_TYPES
from mdcompiler.onnx_types import element_name, is_fixed
from mdcompiler.onnx_walk import Walk

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
        free = [axis for axis, extent in enumerate(extents) if not is_fixed(extent)]
        if value.name not in given and free == [0] and len(extents) > 1:
            extents[0].dim_value = 1
            changed.append(value.name)
    return changed


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with every tensor typed, and what its shapes depend on computed.

    What the file states about inner tensors is used only where nothing can be inferred. Raises ModelError with all
    that is in the way when one stays dynamic or is too large.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    walk = Walk.of(result, tensor_fault)
    raise_faults([*input_faults(result), *walk.faults])
    walk.write(result.graph)
    raise_faults(fault for item in result.graph.output if (fault := tensor_fault(item.name, item.type, "output")))
    return result


def input_faults(model: onnx.ModelProto) -> list[str]:
    """What is wrong with the inputs of `model`, which nothing inside it can mend."""
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    return [fault for value in inputs if (fault := tensor_fault(value.name, value.type, "input"))]


def tensor_fault(name: str, kind: onnx.TypeProto, role: str) -> str | None:
    """Why `kind` is no type of a tensor that can be compiled: an element type, a static shape of bearable size."""
    where = f"tensor {name!r} ({role})"
    tensor = kind.tensor_type
    other = kind.WhichOneof("value")
    if other not in (None, "tensor_type"):
        held = str(other).removesuffix("_type").replace("_", " ")
        article = "an" if held[0] in "aeiou" else "a"
        return f"{where} is {article} {held}; only dense tensors are compiled. Export it without."
    if other is None or not tensor.HasField("shape"):
        return f"{where} has no known shape. {_ADVICE}"
    if tensor.elem_type not in ELEMENT_TYPES:
        return (
            f"{where} has element type {element_name(tensor.elem_type)}; allowed are floats of 16, "
            "32 and 64 bits, integers of 8 to 64 bits and booleans. Convert the model first."
        )
    free = [f"axis {axis} is {_spelled(item)}" for axis, item in enumerate(tensor.shape.dim) if not is_fixed(item)]
    if free:
        return f"{where} has a dynamic shape: {', '.join(free)}. {_ADVICE}"
    elements = math.prod(extent.dim_value for extent in tensor.shape.dim)
    if elements > MAX_TENSOR_ELEMENTS:
        return f"{where} has {elements} elements; at most {MAX_TENSOR_ELEMENTS}. Use a smaller input."
    if elements == 0 and role in ("input", "output"):
        return f"{where} has shape {[d.dim_value for d in tensor.shape.dim]}, no elements. {_ADVICE}"
    return None


def _spelled(extent: onnx.TensorShapeProto.Dimension) -> str:
    if extent.HasField("dim_value"):
        return str(extent.dim_value)
    return repr(extent.dim_param) if extent.dim_param else "unknown"


_ADVICE = (
    "All sizes must be numbers: export with static shapes, or set them with "
    "onnx.tools.update_model_dims.update_inputs_outputs_dims or `onnxsim --overwrite-input-shape`."
)
