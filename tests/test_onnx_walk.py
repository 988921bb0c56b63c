"""Shapes that a model computes are as static as its inputs; what a file states is used where nothing else is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mdcompiler.errors import ModelError
from mdcompiler.module import Module
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.target import find_target
from tests.pass_checks import assert_same_numbers

TARGET = find_target("null")
Node = tuple[str, list[str], str, dict[str, Any]]


def model(nodes: list[Node], constants: dict[str, Any], shape: Any = (1, 3, 5, 6), opset: int = 17) -> onnx.ModelProto:
    """A network of `nodes` (operator, inputs, output, attributes) from `x` to `y`, which says nothing of its shapes."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs, output.split(), **attributes) for op, inputs, output, attributes in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def read(network: onnx.ModelProto) -> Module:
    return module_from_model(network, TARGET)


def refusal(network: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        read(network)
    return str(caught.value)


_SHAPE: Node = ("Shape", ["x"], "s", {})
_COMPUTED: dict[str, tuple[list[Node], dict[str, Any], list[int]]] = {
    "scales through an identity": (
        [("Identity", ["k"], "c", {}), ("Resize", ["x", "", "c"], "y", {"mode": "nearest"})],
        {"k": np.array([1, 1, 2, 2], np.float32)},
        [1, 3, 10, 12],
    ),
    "a size that is twice the input's": (
        [
            _SHAPE,
            ("Slice", ["s", "two", "four"], "hw", {}),
            ("Cast", ["hw"], "f", {"to": 1}),
            ("Mul", ["f", "factor"], "g", {}),
            ("Floor", ["g"], "h", {}),
            ("Cast", ["h"], "i", {"to": 7}),
            ("Slice", ["s", "zero", "two"], "nc", {}),
            ("Concat", ["nc", "i"], "size", {"axis": 0}),
            ("Resize", ["x", "", "", "size"], "y", {"mode": "linear"}),
        ],
        {"two": [2], "four": [4], "zero": [0], "factor": np.float32(2)},
        [1, 3, 10, 12],
    ),
    "the first half of the width": (
        [
            _SHAPE,
            ("Gather", ["s", "three"], "w", {}),
            ("Div", ["w", "two"], "half", {}),
            ("Slice", ["x", "zero", "half", "three"], "y", {}),
        ],
        {"three": [3], "two": [2], "zero": [0]},
        [1, 3, 5, 3],
    ),
    "a grid": (
        [
            _SHAPE,
            ("Gather", ["s", "three"], "w", {}),
            ("Range", ["zero", "w", "one"], "r", {}),
            ("Cast", ["r"], "rf", {"to": 1}),
            ("Add", ["x", "rf"], "y", {}),
        ],
        {"three": np.int64(3), "zero": np.int64(0), "one": np.int64(1)},
        [1, 3, 5, 6],
    ),
    "where and expand": (
        [
            _SHAPE,
            ("Equal", ["s", "one"], "q", {}),
            ("Where", ["q", "one", "s"], "w", {}),
            ("Expand", ["x", "w"], "y", {}),
        ],
        {"one": [1]},
        [1, 3, 5, 6],
    ),
    "chunks": (
        [
            _SHAPE,
            ("Gather", ["s", "axis"], "c", {}),
            ("Add", ["c", "one"], "c1", {}),
            ("Div", ["c1", "two"], "h", {}),
            ("Sub", ["c", "h"], "rest", {}),
            ("Concat", ["h", "rest"], "parts", {"axis": 0}),
            ("Split", ["x", "parts"], "a y", {"axis": 1}),
        ],
        {"axis": [1], "one": [1], "two": [2]},
        [1, 1, 5, 6],
    ),
    "padding": (
        [
            _SHAPE,
            ("Slice", ["s", "two", "four"], "hw", {}),
            ("Mod", ["hw", "four"], "over", {}),
            ("Concat", ["none", "over"], "pads", {"axis": 0}),
            ("Pad", ["x", "pads"], "y", {}),
        ],
        {"two": [2], "four": [4], "none": [0] * 6},
        [1, 3, 6, 8],
    ),
    "a negative quotient": (
        [_SHAPE, ("Sub", ["zero", "s"], "n", {}), ("Div", ["n", "two"], "d", {}), ("Neg", ["d"], "m", {}),
         ("Max", ["m", "one"], "size", {}), ("Slice", ["x", "zeros", "size"], "y", {})],
        {"zero": [0], "zeros": [0] * 4, "two": [2], "one": [1]},
        [1, 1, 2, 3],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _COMPUTED)
def test_computed_shapes(name: str) -> None:
    nodes, constants, shape = _COMPUTED[name]
    network = model(nodes, constants)
    module = read(network)
    assert module.graph.outputs[0].shape == shape
    assert {"Shape", "Gather", "Concat", "Floor"}.isdisjoint(node.op for node in module.graph.nodes)
    assert_same_numbers(module.to_onnx(), network)


def test_composed_operators_are_looked_into() -> None:
    nodes: list[Node] = [("GroupNormalization", ["x", "s", "b"], "y", {"num_groups": 2})]
    network = model(nodes, {"s": np.ones(4, np.float32), "b": np.zeros(4, np.float32)}, (1, 4, 6, 6), 21)
    assert read(network).graph.outputs[0].shape == [1, 4, 6, 6]


def test_what_the_file_states_is_used_where_nothing_else_is_known() -> None:
    nodes: list[Node] = [("NonZero", ["x"], "n", {}), ("Cast", ["n"], "y", {"to": 1})]
    network = model(nodes, {}, (2, 3))
    assert "'n' (result of NonZero) has a dynamic shape: axis 1" in refusal(network)
    network.graph.value_info.append(helper.make_tensor_value_info("n", TensorProto.INT64, [2, 6]))
    assert read(network).graph.outputs[0].shape == [2, 6]


def test_all_that_is_in_the_way_is_told() -> None:
    nodes: list[Node] = [
        ("NonZero", ["x"], "a", {}),
        ("NonZero", ["x"], "b", {}),
        ("Cast", ["a"], "af", {"to": 1}),
        ("Cast", ["b"], "bf", {"to": 1}),
        ("Concat", ["af", "bf"], "y", {"axis": 1}),
    ]
    message = refusal(model(nodes, {}))
    assert "2 things are in the way: (1) tensor 'a'" in message
    assert "(2) tensor 'b'" in message
    assert "'y'" not in message


def test_weights_that_are_no_numbers() -> None:
    for value in (np.nan, np.inf):
        network = model([("Add", ["x", "w"], "y", {})], {"w": np.full(6, value, np.float32)})
        assert "weight 'w' of shape [6] cannot be read: all its values are NaN or infinite" in refusal(network)
    read(model([("Add", ["x", "w"], "y", {})], {"w": np.array([1, 2, 3, 4, 5, -np.inf], np.float32)}))


def bombs(count: int, elements: int) -> onnx.ModelProto:
    """`count` tensors of `elements` floats that depend on no input, each summed up and added to the input."""
    nodes: list[Node] = []
    for i in range(count):
        nodes += [
            ("ConstantOfShape", ["n"], f"c{i}", {}),
            ("ReduceSum", [f"c{i}"], f"s{i}", {"keepdims": 0}),
            ("Add", [f"a{i}" if i else "x", f"s{i}"], f"a{i + 1}", {}),
        ]
    return model([*nodes, ("Relu", [f"a{count}"], "y", {})], {"n": [elements]})


def test_tensors_that_depend_on_no_input_are_bounded_together() -> None:
    message = refusal(bombs(40, 1 << 25))
    assert "node 'c4' (ConstantOfShape) the tensors that depend on no input take 640 MiB; at most 512 MiB" in message
    read(bombs(3, 1 << 20))


def test_what_no_output_needs_takes_nothing() -> None:
    network = model([("Relu", ["x"], "y", {})], {"n": [1 << 29]})
    for i in range(40):
        network.graph.node.append(helper.make_node("ConstantOfShape", ["n"], [f"unused{i}"]))
    module = read(network)
    assert [node.op for node in module.graph.nodes] == ["Relu"]
    assert module.original is not None
    assert len(module.original.graph.node) == 1


def test_a_chain_of_fifteen_thousand_nodes() -> None:
    nodes: list[Node] = [("Relu", [f"t{i}" if i else "x"], f"t{i + 1}", {}) for i in range(15_000)]
    network = model([*nodes, ("Relu", ["t15000"], "y", {})], {}, (2, 2))
    assert len(read(network).graph.nodes) == 15_001
