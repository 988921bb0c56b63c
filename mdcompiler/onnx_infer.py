"""What ONNX infers of the results of one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TypeProto, helper


def infer_node(
    node: onnx.NodeProto,
    schema: Any,
    types: Mapping[str, TypeProto],
    values: Mapping[str, onnx.TensorProto],
    opsets: Sequence[Any],
) -> dict[str, TypeProto]:
    """The types of the results of `node` as far as they follow from the types and known values of its inputs.

    Raises onnx.shape_inference.InferenceError where they do not fit together.
    """
    given = {name: types[name] for name in node.input if name}
    try:
        found = onnx.shape_inference.infer_node_outputs(schema, node, given, dict(values), opset_imports=list(opsets))
    except onnx.shape_inference.InferenceError:
        raise
    except Exception:  # it wants nodes to the letter; exporters leave out inputs that older opsets asked for
        return _in_a_model(node, given, values, opsets)
    return dict(found)


def _in_a_model(
    node: onnx.NodeProto,
    types: Mapping[str, TypeProto],
    values: Mapping[str, onnx.TensorProto],
    opsets: Sequence[Any],
) -> dict[str, TypeProto]:
    graph = helper.make_graph(
        [node],
        "one",
        [onnx.ValueInfoProto(name=name, type=kind) for name, kind in types.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
        list(values.values()),
    )
    model = helper.make_model(graph, opset_imports=list(opsets))
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {value.name: value.type for value in inferred.graph.output if value.HasField("type")}
