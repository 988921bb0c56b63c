"""A network in float16 for runtimes that compute in the types of the graph: picture and outputs keep theirs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def half_model(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with float16 weights and activations; its outputs are cast back to float32."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    for item in graph.initializer:
        if item.data_type == TensorProto.FLOAT:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float16), item.name))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    for output in graph.output:
        _cast_back(graph, output.name)
    del graph.value_info[:]
    return made


def _cast_back(graph: onnx.GraphProto, name: str) -> None:
    """Let the output `name` be the cast of what was called so."""
    inner = f"{name}/float16"
    for node in graph.node:
        node.input[:] = [inner if item == name else item for item in node.input]
        node.output[:] = [inner if item == name else item for item in node.output]
    graph.node.append(helper.make_node("Cast", [inner], [name], name=f"{name}/cast", to=TensorProto.FLOAT))
