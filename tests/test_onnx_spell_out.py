"""Zero points that are left out, and poolings that round their windows up."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mdcompiler.errors import ModelError
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.target import find_target
from tests.pass_checks import assert_same_numbers
from tests.test_onnx_walk import model, read, refusal

TARGET = find_target("null")


@pytest.mark.parametrize("opset", [11, 17, 22])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "Padded"])
@pytest.mark.parametrize(("size", "kernel", "stride", "pads"), [(9, 2, 2, 1), (8, 3, 2, 1), (7, 3, 2, 0), (5, 2, 3, 0)])
def test_windows_are_rounded_up_but_none_lies_in_the_padding(
    opset: int, op: str, size: int, kernel: int, stride: int, pads: int
) -> None:
    attributes: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pads] * 4}
    if op == "Padded":
        op, attributes["count_include_pad"] = "AveragePool", 1
        if opset < 19 and (size, kernel) == (8, 3):
            pytest.skip("runtimes count the part beyond the padding before opset 19")
    network = model([(op, ["x"], "y", {**attributes, "ceil_mode": 1})], {}, (1, 2, size, size), opset)
    assert_same_numbers(read(network).to_onnx(), network)


def test_a_window_that_would_start_in_the_padding_is_left_out() -> None:
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1}
    module = read(model([("MaxPool", ["x"], "y", attributes)], {}, (1, 3, 9, 9), 19))
    assert module.graph.outputs[0].shape == [1, 3, 5, 5]


def test_zero_points_that_are_left_out_are_zero() -> None:
    nodes = [
        ("QuantizeLinear", ["x", "s"], "q", {}),
        ("DequantizeLinear", ["q", "s"], "d", {}),
        ("DequantizeLinear", ["w", "t"], "v", {"axis": 0}),
        ("Conv", ["d", "v"], "y", {}),
    ]
    weights = np.arange(-6, 6).reshape(4, 3, 1, 1).astype(np.int8)
    constants = {"s": np.float32(0.02), "w": weights, "t": np.full(4, 0.1, np.float32)}
    network = model(nodes, constants)
    module = read(network)
    zeros = [node.inputs[2].values for node in module.graph.nodes if node.op != "Conv"]
    assert [(array.dtype, array.shape) for array in zeros] == [("uint8", ()), ("uint8", ()), ("int8", (4,))]
    assert_same_numbers(module.to_onnx(), network)


def test_groups_that_scale_groups() -> None:
    constants = {"s": np.array([0.5, -2], np.float32), "b": np.array([1, 0.25], np.float32)}
    attributes = {"num_groups": 2, "epsilon": 0.01}
    network = model([("GroupNormalization", ["x", "s", "b"], "y", attributes)], constants, (2, 4, 3, 5), 18)
    assert_same_numbers(read(network).to_onnx(), network)


def refused_window(**attributes: Any) -> str:
    nodes = [("Conv", ["x", "w"], "y", {"kernel_shape": [3, 3], **attributes})]
    return refusal(model(nodes, {"w": np.ones((2, 3, 3, 3), np.float32)}))


def test_padding_is_said_once_and_in_known_words() -> None:
    assert "auto_pad is 'SAME'; one of NOTSET, SAME_UPPER, SAME_LOWER, VALID" in refused_window(auto_pad="SAME")
    assert "has both pads and auto_pad SAME_UPPER" in refused_window(auto_pad="SAME_UPPER", pads=[1] * 4)
    network = model([("Conv", ["x", "w"], "y", {"group": 1})], {"w": np.ones((2, 3, 3, 3), np.float32)})
    network.graph.node[0].attribute.append(helper.make_attribute("group", 1))
    assert "its attribute 'group' is given twice" in refusal(network)


def test_operands_that_the_checker_accepts_and_no_runtime_does() -> None:
    assert "it makes the shape [7] of [1, 3, 5, 6], which has 90 elements" in refusal(
        model([("Reshape", ["x", "s"], "y", {})], {"s": [7]})
    )
    assert "it reads index 3 of an axis of 3" in refusal(
        model([("Gather", ["x", "i"], "y", {"axis": 1})], {"i": [0, -3, 3]})
    )
    nodes = [("Range", ["a", "b", "c"], "r", {}), ("Cast", ["r"], "f", {"to": 1}), ("ReduceSum", ["f"], "t", {})]
    network = model([*nodes, ("Add", ["x", "t"], "y", {})], {"a": np.int64(0), "b": np.int64(9), "c": np.int64(0)})
    assert "its step is 0" in refusal(network)


def test_every_damaged_node_is_named() -> None:
    nodes = [
        ("Reshape", ["x", "s"], "a", {}),
        ("Reshape", ["x", "t"], "b", {}),
        ("Concat", ["a", "b"], "y", {"axis": 0}),
    ]
    message = refusal(model(nodes, {"s": [7], "t": [8]}))
    assert "2 things are in the way: (1) node 'a' (Reshape)" in message
    assert "(2) node 'b' (Reshape)" in message


def test_an_output_without_elements() -> None:
    message = refusal(model([("Slice", ["x", "z", "z"], "y", {})], {"z": [0]}))
    assert "tensor 'y' (output) has shape [0, 3, 5, 6], no elements" in message


def test_an_output_that_is_there_twice() -> None:
    network = model([("Relu", ["x"], "y", {})], {})
    network.graph.output.append(network.graph.output[0])
    assert "output 'y' is listed twice" in refusal(network)


def test_an_output_that_is_a_weight_is_handed_out_by_a_node() -> None:
    network = model([("Add", ["x", "w"], "y", {})], {"w": np.arange(6, dtype=np.float32)})
    network.graph.output.append(onnx.ValueInfoProto(name="w"))
    module = read(network)
    assert [tensor.name for tensor in module.graph.outputs] == ["y", "w"]
    assert_same_numbers(module.to_onnx(), network)


def test_a_network_without_an_input() -> None:
    network = model([("Relu", ["w"], "y", {})], {"w": np.ones(6, np.float32)})
    del network.graph.input[:]
    assert "it has no input, so that its outputs are always the same" in refusal(network)


def test_outputs_of_rank_nought_keep_it() -> None:
    network = model([("ReduceMax", ["x"], "y", {"keepdims": 0})], {})
    assert read(network).graph.outputs[0].shape == []


@pytest.mark.parametrize("element", ["FLOAT8E4M3FN", "INT4", "UINT4", "BFLOAT16", "STRING", "COMPLEX64", "FLOAT4E2M1"])
def test_elements_of_other_types_are_refused_by_name(element: str) -> None:
    kind = onnx.TensorProto.DataType.Value(element)
    network = model([("Identity", ["x"], "y", {})], {}, opset=23)
    network.graph.input[0].type.tensor_type.elem_type = kind
    assert f"tensor 'x' (input) has element type {element}" in refusal(network)


def test_what_is_no_tensor_is_refused_by_name() -> None:
    network = model([("Identity", ["x"], "y", {})], {})
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, [2]))
    network.graph.input[0].type.CopyFrom(kind)
    assert "tensor 'x' (input) is a sequence; only dense tensors" in refusal(network)
    network.graph.input[0].type.CopyFrom(helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [2])))
    assert "tensor 'x' (input) is an optional" in refusal(network)


def test_weights_of_unknown_types_and_lengths_are_refused() -> None:
    network = model([("Add", ["x", "w"], "y", {})], {"w": np.ones(6, np.float32)})
    for element, data in ((999, b""), (1, b"123"), (9, b"\x01" * 7)):
        network.graph.initializer[0].CopyFrom(onnx.TensorProto(name="w", dims=[6], data_type=element, raw_data=data))
        with pytest.raises(ModelError, match="weight 'w' of shape"):
            module_from_model(network, TARGET)
    network.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(6, np.float32), "w"))
    network.graph.initializer[0].dims[0] = -6
    with pytest.raises(ModelError):
        module_from_model(network, TARGET)
