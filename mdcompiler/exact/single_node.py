"""One node under somebody else's runtime, in the types of the arrays that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

Array = NDArray[Any]
Inputs = Mapping[str, Array]
Runner = Callable[[Inputs], list[Array]]
"""From inputs by name to the node's outputs in order. Raises whatever its runtime does."""


def node_model(
    node: onnx.NodeProto, inputs: Inputs, opsets: Sequence[onnx.OperatorSetIdProto], functions: Sequence[Any] = ()
) -> onnx.ModelProto:
    """A model of `node` alone, every operand fed."""
    operands = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in inputs.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "one", operands, results)
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)


def onnxruntime_runner(model: onnx.ModelProto) -> Runner:
    """Unoptimised ONNX Runtime. Raises where it has no kernel."""
    from mdcompiler.reference import open_session

    session = open_session(model)
    return lambda inputs: [np.asarray(array) for array in session.run(None, dict(inputs))]


def evaluator_runner(model: onnx.ModelProto) -> Runner:
    """The onnx package's evaluator: numpy, in the types of its operands."""
    evaluator = ReferenceEvaluator(model)
    return lambda inputs: [np.asarray(array) for array in evaluator.run(None, dict(inputs))]


def narrowed(runner: Runner) -> Runner:
    """`runner` on float32 operands: for operators that have no float64 form."""
    return lambda inputs: runner({name: narrow(array) for name, array in inputs.items()})


def narrow(array: Array) -> Array:
    """float64 as float32, anything else as it is."""
    return array.astype(np.float32) if array.dtype == np.float64 else array


def widen(array: Array) -> Array:
    """Floats of any size as float64, anything else as it is."""
    is_float = np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16"
    return array.astype(np.float64) if is_float else array


def widened(node: onnx.NodeProto) -> onnx.NodeProto:
    """`node` with float64 in every attribute that names a float type or holds such a tensor."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for attribute in copy.attribute:
        if attribute.name in ("to", "dtype", "output_dtype") and attribute.i in _FLOATS:
            attribute.i = onnx.TensorProto.DOUBLE
        if attribute.HasField("t") and attribute.t.data_type in _FLOATS:
            wide = widen(onnx.numpy_helper.to_array(attribute.t))
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(wide, attribute.t.name))
    return copy


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
