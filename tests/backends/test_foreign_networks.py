"""ONNX files that are no MobileDet through the cpu backend: exporters' networks and ONNX's own node tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from onnx.backend.test.case.node import collect_testcases

import mdcompiler
from mdcompiler.errors import UnsupportedError
from mdcompiler.manifest import KernelEntry
from mdcompiler.reference import run_reference
from mdcompiler.sampling import seeded_inputs
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from tests import graphs

NODE_TESTS = [
    "test_conv_with_strides_padding",
    "test_maxpool_2d_strides",
    "test_softmax_axis_1",
    "test_gemm_all_attributes",
    "test_concat_3d_axis_1",
]


def compile_and_compare(model: onnx.ModelProto, folder: Path, **options: Any) -> tuple[KernelEntry, ...]:
    """Compile a model file for this machine and compare all outputs with the reference; its kernels."""
    onnx.save(model, str(folder / "model.onnx"))
    artifact = mdcompiler.compile(folder / "model.onnx", "cpu", folder / "out", check=False, **options)
    inputs = seeded_inputs(artifact.manifest.inputs)
    expected = run_reference(model, inputs)
    got = mdcompiler.load(folder / "out").run(inputs)
    for name, want in expected.items():
        assert within_float_tolerance(got[name], want), f"{name}: {describe_difference(got[name], want)}"
    return artifact.manifest.kernels


@pytest.mark.parametrize("name", ["resnet_like", "mobilenet_v2_like", "detector_like"])
def test_networks_as_exporters_write_them(name: str, tmp_path: Path) -> None:
    kernels = compile_and_compare(getattr(graphs, name)(), tmp_path)
    convolutions = [kernel for kernel in kernels if kernel.macs and kernel.kind != "generic"]
    assert convolutions
    assert all(kernel.fallback is None for kernel in convolutions), "every convolution has a template"


@pytest.mark.parametrize("name", NODE_TESTS)
def test_onnx_node_tests(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the generators of other node tests overflow on purpose
        case = next(case for case in collect_testcases(None) if case.name == name)
    assert case.model is not None
    compile_and_compare(case.model, tmp_path)


def test_a_network_of_views_only(tmp_path: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [4, 6])
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"], "reshape")],
        "views",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 6])],
        [shape],
    )
    compile_and_compare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path)


def test_an_operator_that_nothing_can_compile_is_named(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"], "find"), helper.make_node("Shape", ["y"], ["n"], "count")],
        "dynamic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("n", TensorProto.INT64, [2])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), str(tmp_path / "m.onnx")
    )
    with pytest.raises((UnsupportedError, mdcompiler.errors.ModelError), match=r"find|y"):
        mdcompiler.compile(tmp_path / "m.onnx", "cpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()
