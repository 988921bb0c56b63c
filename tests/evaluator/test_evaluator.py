"""The evaluator says what ONNX Runtime says, within float32's rounding, and the same bits however a BLAS adds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.evaluator import Evaluator
from mdcompiler.evaluator.products import Weights, integers_of, matmul
from mdcompiler.module import Module
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.spec import load_spec
from mdcompiler.target import find_target
from tests.graphs import Sketch
from tests.quantization.networks import float_module, quantized

Array = NDArray[Any]
SHAPE = [1, 8, 9, 7]


def module_of(net: Sketch, *outputs: str) -> Module:
    return Module.from_onnx(net.model(*outputs), find_target("x86-64-v3"))


def check(module: Module, names: list[str], tolerance: float = 2e-6) -> Evaluator:
    inputs = sample_inputs(module)
    made = Evaluator(module.graph, names)
    want = run_reference(module.to_onnx(), inputs)
    for name, got in made.run(inputs).items():
        assert got.dtype == want[name].dtype
        assert np.abs(got - want[name]).max() <= tolerance * max(float(np.ptp(want[name])), 1e-9), name
    return made


NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "exp": ("Exp", {}),
    "softplus": ("Softplus", {}),
    "hard swish": ("HardSwish", {}),
    "hard sigmoid": ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    "leaky": ("LeakyRelu", {"alpha": 0.2}),
    "softmax": ("Softmax", {"axis": 1}),
    "mean": ("GlobalAveragePool", {}),
    "pool": ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "pool, borders count": ("AveragePool", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    "maximum": ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "transpose": ("Transpose", {"perm": [0, 2, 3, 1]}),
}


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_right(name: str) -> None:
    op, attributes = NODES[name]
    net = Sketch()
    net.node(op, "y", net.input("x", SHAPE), **attributes)
    assert not check(module_of(net, "y"), ["y"]).others


def test_what_it_does_not_have_runs_in_onnxruntime_and_is_named() -> None:
    net = Sketch()
    net.node("Erf", "y", net.node("Flatten", "f", net.input("x", SHAPE)))
    assert check(module_of(net, "y"), ["y"]).others == {"Erf"}


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2], "pads": [0, 1, 1, 1]},
        {"dilations": [2, 2], "pads": [2, 2, 2, 2]},
        {"group": 8},
        {"group": 2},
    ],
)
def test_a_convolution_is_right(attributes: dict[str, Any]) -> None:
    net = Sketch()
    net.conv("a", net.input("x", SHAPE), (8, 16), 3, bias=True, **attributes)
    assert not check(module_of(net, "a/conv"), ["a/conv"]).others


def test_a_network_is_right_and_so_is_what_is_inside() -> None:
    module = float_module(load_spec("mobiledet-cpu").with_(width=0.25, height=64, width_px=64))
    assert not check(module, [tensor.name for tensor in module.graph.outputs], 1e-5).others


def test_a_quantized_network_is_right() -> None:
    module, _ = quantized(float_module(load_spec("mobiledet-edgetpu").with_(width=0.25, height=64, width_px=64)))
    names = [tensor.name for tensor in module.graph.outputs]
    want = run_reference(module.to_onnx(), sample_inputs(module))
    for name, got in Evaluator(module.graph, names).run(sample_inputs(module)).items():
        assert np.mean(np.abs(got - want[name]) > 0.02 * np.ptp(want[name])) < 0.01, name


def test_a_changed_tensor_reaches_what_reads_it_and_nothing_else() -> None:
    net = Sketch()
    x = net.input("x", SHAPE)
    net.node("Add", "y", net.node("Sigmoid", "second", net.node("Relu", "first", x)), net.node("Neg", "third", x))
    module = module_of(net, "y")
    made, inputs = Evaluator(module.graph, ["y", "third"]), sample_inputs(module)
    changes = {"first": lambda array: array * np.float32(2)}
    kept = made.run(inputs, keep=True)
    again = made.rerun(kept, changes)
    whole = made.run(inputs, changes)
    assert again["third"] is kept["third"]
    assert not np.array_equal(again["y"], kept["y"])
    np.testing.assert_array_equal(again["y"], whole["y"])


def test_products_do_not_depend_on_the_order_of_their_sums() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(9, 2000)).astype(np.float32), random.normal(size=(2000, 5)).astype(np.float32)
    order = random.permutation(2000)
    np.testing.assert_array_equal(matmul(left, right), matmul(left[:, order], right[order]))
    exact = left.astype(np.longdouble) @ right.astype(np.longdouble)
    assert np.abs(matmul(left, right) - exact).max() < 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize("length", [1, 9, 1000, 100_000])
def test_sums_stay_below_what_float64_holds(length: int) -> None:
    """The largest weights and inputs there can be, all of one sign."""
    weights = Weights(np.full((1, length), 1.0 - 2.0**-24, np.float32))
    columns, _ = integers_of(np.full((length, 1), 1.0 - 2.0**-24, np.float32), weights.input_bits)
    largest = sum(int(a) * int(b) for a, b in zip(weights.integers[0], columns[:, 0], strict=True))
    assert largest <= 2**53
    assert weights.input_bits >= 14
