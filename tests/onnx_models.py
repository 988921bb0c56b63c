"""Small ONNX models for tests, as files from elsewhere would hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Arrays = Mapping[str, NDArray[Any]]


def one_node(
    op: str,
    inputs: Sequence[str],
    shapes: Mapping[str, Sequence[int]],
    constants: Arrays,
    opset: int = 17,
    dtype: int = onnx.TensorProto.FLOAT,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node called `it` with the result `y`. shapes: of what is fed."""
    return chain([helper.make_node(op, inputs, ["y"], name="it", **attributes)], shapes, constants, opset, dtype)


def chain(
    nodes: Sequence[onnx.NodeProto],
    shapes: Mapping[str, Sequence[int]],
    constants: Arrays,
    opset: int = 17,
    dtype: int = onnx.TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of `nodes` with the result `y`."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info(name, dtype, list(shape)) for name, shape in shapes.items()],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset > 10 else 5)
