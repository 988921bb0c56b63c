"""16-bit activations in foreign networks: the opset is raised where that keeps the meaning, refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

import mdcompiler
from mdcompiler.compiler import Job
from mdcompiler.errors import UnsupportedError
from mdcompiler.quantization.raise_opset import WIDE_OPSET, raise_opset
from mdcompiler.read_network import Request
from mdcompiler.reference import run_reference
from mdcompiler.target import find_target


def network(*tail: onnx.NodeProto, out: list[int], opset: int = 17) -> onnx.ModelProto:
    """x [1,3,8,8] -> Conv -> Relu -> `tail`, from `r` to `y`."""
    generator = np.random.default_rng(3)
    weights = {"w": generator.normal(size=(8, 3, 3, 3)), "b": generator.normal(size=8)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        *tail,
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pool() -> onnx.NodeProto:
    return helper.make_node("ReduceMax", ["r"], ["y"], "largest", axes=[1], keepdims=1)


def test_axes_become_an_input_and_the_numbers_stay() -> None:
    model = network(pool(), out=[1, 1, 8, 8])
    inputs = {"x": np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)}
    want = run_reference(model, inputs)["y"]
    graph = gs.import_onnx(model)
    raise_opset(graph)
    raised = gs.export_onnx(graph)
    onnx.checker.check_model(raised)
    assert [item.version for item in raised.opset_import] == [WIDE_OPSET]
    np.testing.assert_array_equal(run_reference(raised, inputs)["y"], want)
    raise_opset(graph)
    assert len(graph.nodes[-1].inputs) == 2, "a second run changes nothing"


def test_what_means_something_else_is_refused_by_name_and_left_alone() -> None:
    model = network(helper.make_node("Split", ["r"], ["y", "z"], "halves", axis=1), out=[1, 4, 8, 8])
    graph = gs.import_onnx(model)
    with pytest.raises(UnsupportedError, match=r"halves \(Split\) cannot be taken there: without sizes"):
        raise_opset(graph)
    assert graph.opset == 17


def test_a_foreign_network_with_float_inputs_gets_16_bits(tmp_path: Path) -> None:
    onnx.save(network(pool(), out=[1, 1, 8, 8]), tmp_path / "foreign.onnx")
    pictures = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=pictures)
    options = mdcompiler.Quantize(tmp_path / "samples.npz", wide=("conv",))
    target = find_target("null").model_copy(update={"scheme": "hexagon-htp"})
    job = Job(Request(str(tmp_path / "foreign.onnx")), target, "int8", quantization=options)
    with pytest.raises(UnsupportedError, match="largest"):
        job.graph_after("quantize")
    cpu = target.model_copy(update={"scheme": "cpu"})
    module = Job(Request(str(tmp_path / "foreign.onnx")), cpu, "int8", quantization=options).graph_after("quantize")
    assert module.graph.opset == WIDE_OPSET
    model = module.to_onnx()
    onnx.checker.check_model(model)
    made = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert made, "the convolution computes in integers"
