"""A shape that depends on the values of an input is refused, though the file states what came out once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mdcompiler.errors import ModelError
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.reference import run_reference
from mdcompiler.target import find_target


def _model(*nodes: onnx.NodeProto, stated: list[int]) -> onnx.ModelProto:
    """x: float [1, 1, 2, 4]; n: int64 [4]; the result y is stated as `stated`."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 4]),
        helper.make_tensor_value_info("n", TensorProto.INT64, [4]),
    ]
    used = {name for node in nodes for name in node.input}
    weights = [numpy_helper.from_array(np.array([1, 1, 2, 4]), "s"), numpy_helper.from_array(np.array(1), "one")]
    graph = helper.make_graph(
        list(nodes),
        "g",
        [value for value in inputs if value.name in used],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, stated)],
        [tensor for tensor in weights if tensor.name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize(
    ("node", "word"),
    [
        (helper.make_node("Resize", ["x", "", "", "n"], ["y"], mode="nearest"), "sizes"),
        (helper.make_node("Reshape", ["x", "n"], ["y"]), "shape"),
        (helper.make_node("Expand", ["x", "n"], ["y"]), "shape"),
        (helper.make_node("Tile", ["x", "n"], ["y"]), "repeats"),
        (helper.make_node("Slice", ["x", "n", "s"], ["y"]), "starts"),
    ],
)
def test_a_size_of_run_time_is_refused(node: onnx.NodeProto, word: str) -> None:
    stated = [1, 1, 2, 4]
    with pytest.raises(ModelError, match=f"its input '{word}' depends on an input"):
        module_from_model(_model(node, stated=stated), find_target("null"))


def test_so_is_a_size_that_is_computed_from_an_input() -> None:
    nodes = (helper.make_node("Mul", ["n", "one"], ["m"]), helper.make_node("Reshape", ["x", "m"], ["y"]))
    with pytest.raises(ModelError, match="its input 'shape' depends"):
        module_from_model(_model(*nodes, stated=[1, 1, 2, 4]), find_target("null"))


def test_a_size_from_a_shape_is_known() -> None:
    nodes = (helper.make_node("Shape", ["x"], ["m"]), helper.make_node("Reshape", ["x", "m"], ["y"]))
    module = module_from_model(_model(*nodes, stated=[1, 1, 2, 4]), find_target("null"))
    assert list(module.graph.outputs[0].shape) == [1, 1, 2, 4]


def test_indices_outside_have_no_reference() -> None:
    model = _model(helper.make_node("GatherElements", ["x", "i"], ["y"], axis=3), stated=[1, 1, 2, 4])
    model.graph.input.append(helper.make_tensor_value_info("i", TensorProto.INT64, [1, 1, 2, 4]))
    data = np.zeros((1, 1, 2, 4), np.float32)
    run_reference(model, {"x": data, "i": np.full((1, 1, 2, 4), -4)})
    pytest.importorskip("onnxruntime", reason="the evaluator wraps indices around")
    with pytest.raises(ModelError, match="outside of a tensor"):
        run_reference(model, {"x": data, "i": np.full((1, 1, 2, 4), 4)})
