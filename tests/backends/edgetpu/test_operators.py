"""Operators one by one: what is written for them, and that LiteRT computes the reference's integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backends.tflite.write_network import write_network
from mdcompiler.module import Module
from mdcompiler.sampling import sample_inputs
from tests.backends.edgetpu.detectors import expected, run_file
from tests.backends.edgetpu.sketches import PADDINGS, one_conv, quantized_sketch
from tests.graphs import Sketch

pytest.importorskip("ai_edge_litert", reason="needs the extra `edgetpu`")
TARGETS = {"edgetpu": "edgetpu-ptq", "edgetpu-qat": "edgetpu-qat"}


def kinds(module: Module) -> list[str]:
    return [operator.kind for operator in write_network(module).graph.operators]


def assert_exact(module: Module, scheme: str, folder: Path) -> None:
    inputs = dict(sample_inputs(module))
    want = expected(module, scheme, inputs)
    for name, got in run_file(module, folder, inputs).items():
        assert np.ptp(want[name]) > 0, name
        np.testing.assert_array_equal(got, want[name], err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PADDINGS)
def test_convolutions_of_every_padding(name: str, target: str, tmp_path: Path) -> None:
    net, operators = PADDINGS[name]
    module = quantized_sketch(net, "a/conv", target=target)
    assert kinds(module) == operators
    assert_exact(module, TARGETS[target], tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_a_sum_with_a_rectifier(target: str, tmp_path: Path) -> None:
    net = one_conv()
    other = net.conv("b", "x", (8, 8))
    net.node("Relu", "y", net.node("Add", "sum", "a/conv", other))
    module = quantized_sketch(net, "y", target=target)
    assert sorted(kinds(module)) == ["ADD", "CONV_2D", "CONV_2D"]
    assert_exact(module, TARGETS[target], tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_channels_are_joined_inside_a_network(target: str, tmp_path: Path) -> None:
    """Parts keep their scales: uint8 CONCATENATION rescales, int8 needs a QUANTIZE for the smaller part."""
    net = one_conv()
    joined = net.node("Concat", "joined", "a/conv", net.conv("b", "x", (8, 4)), axis=1)
    net.conv("c", joined, (12, 4))
    module = quantized_sketch(net, "c/conv", target=target)
    assert kinds(module).count("QUANTIZE") == (1 if target == "edgetpu" else 0)
    assert_exact(module, TARGETS[target], tmp_path)


def test_a_tensor_is_transposed_where_nothing_else_helps(tmp_path: Path) -> None:
    net = Sketch()
    turned = net.node("Transpose", "turned", net.conv("a", net.input("x", [1, 4, 6, 6]), (4, 6)), perm=[0, 2, 1, 3])
    net.conv("b", turned, (6, 4))
    module = quantized_sketch(net, "b/conv")
    assert kinds(module) == ["CONV_2D", "TRANSPOSE", "CONV_2D"]
    assert_exact(module, "edgetpu-ptq", tmp_path)


def test_planes_are_reshaped_in_our_order(tmp_path: Path) -> None:
    """A reshape of NCHW is another one than that of NHWC: the tensor is transposed before it."""
    net = one_conv(size=6)
    net.node("Reshape", "rows", "a/conv", net.weight("shape", np.array([1, -1, 6], np.int64)))
    module = quantized_sketch(net, "rows")
    assert kinds(module) == ["CONV_2D", "TRANSPOSE", "RESHAPE"]
    assert_exact(module, "edgetpu-ptq", tmp_path)


def test_a_vector_needs_no_transpose(tmp_path: Path) -> None:
    net = one_conv()
    net.node("Flatten", "vector", net.node("GlobalAveragePool", "pooled", "a/conv"), axis=1)
    module = quantized_sketch(net, "vector")
    assert kinds(module) == ["CONV_2D", "MEAN", "RESHAPE"]
    assert_exact(module, "edgetpu-ptq", tmp_path)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    net = one_conv()
    net.node("Add", "sum", "a/conv", net.input("z", [1, 8, 9, 11]))
    module = quantized_sketch(net, "sum", "a/conv")
    assert_exact(module, "edgetpu-ptq", tmp_path)
