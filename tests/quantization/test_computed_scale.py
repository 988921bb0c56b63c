"""Scales that are known only at run time: no integer kernel, and a sentence where one is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

import mdcompiler
from mdcompiler.errors import UnsupportedError
from mdcompiler.quantization.steps import affine


def _dynamic() -> onnx.ModelProto:
    """Numbers quantized by their own maximum, and back."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["x"], ["scale"], keepdims=0),
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8])],
        [numpy_helper.from_array(np.array(3, np.uint8), "zero")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_it_says_so() -> None:
    for node in gs.import_onnx(_dynamic()).nodes[1:]:
        with pytest.raises(UnsupportedError, match="known only at run time"):
            affine(node)


def test_it_compiles_in_float(tmp_path: Path) -> None:
    (tmp_path / "dynamic.onnx").write_bytes(_dynamic().SerializeToString())
    mdcompiler.compile(tmp_path / "dynamic.onnx", "cpu", tmp_path / "out", threads=1)
    x = np.array([0.5, 1, 2, 3, 4, 0, 1.5, 2.5], np.float32)
    with mdcompiler.load(tmp_path / "out") as network:
        got = network.run({"x": x})["y"]
    np.testing.assert_array_equal(got, np.rint(x / 4) * 4)


def test_an_output_that_is_constant_stays_float(tmp_path: Path) -> None:
    """LogSoftmax over one class is 0 whatever it reads: no integers are moved there."""
    graph = helper.make_graph(
        [helper.make_node("LogSoftmax", ["x"], ["y"], axis=1), helper.make_node("Relu", ["z"], ["w"])],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "z")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("y", "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "one.onnx").write_bytes(model.SerializeToString())
    rows = np.array([[0.5], [1.0]], np.float32)
    np.savez(tmp_path / "rows.npz", x=rows, z=rows)
    mdcompiler.compile(
        tmp_path / "one.onnx", "cpu", tmp_path / "out", precision="int8", calibration=tmp_path / "rows.npz", threads=1
    )
    with mdcompiler.load(tmp_path / "out") as network:
        got = network.run({"x": rows[:1], "z": rows[:1]})
    assert got["y"].item() == 0
