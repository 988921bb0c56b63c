"""equalize-cross-layer: the function stays, ranges come closer, clamps and hard-swish are respected."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mdcompiler.calibration import ListedSamples
from mdcompiler.passes.equalize_cross_layer import EqualizeCrossLayer
from mdcompiler.quantization.scheme import find_scheme
from tests.graphs import Sketch
from tests.pass_checks import assert_same_numbers, module_of

CPU = find_scheme("cpu")


def chain(activation: str, spread: float = 1.0) -> onnx.ModelProto:
    """conv -> activation -> depthwise -> out; the first convolution's channels differ a hundredfold."""
    net = Sketch(seed=5)
    data = net.conv("a/first", net.input("input", [1, 4, 8, 8]), (4, 8), bias=True)
    for weight in net.weights:
        if weight.name in ("a/first/weight", "a/first/bias"):
            values = onnx.numpy_helper.to_array(weight)
            factor = np.logspace(-2, 0, 8).reshape(-1, *[1] * (values.ndim - 1)) * spread
            weight.CopyFrom(onnx.numpy_helper.from_array((values * factor).astype(np.float32), weight.name))
    if activation == "Clip":
        data = net.clip("a/first/act", data)
    elif activation:
        data = net.node(activation, "a/first/act", data)
    return net.model(net.conv("b/dw", data, (8, 8), 3, group=8))


def samples(count: int = 3) -> ListedSamples:
    generator = np.random.default_rng(0)
    return ListedSamples([{"input": generator.uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)} for _ in range(count)])


@pytest.mark.parametrize("activation", ["", "Relu"])
def test_the_function_stays_and_the_channels_come_together(activation: str) -> None:
    model = chain(activation)
    module = module_of(model)
    assert EqualizeCrossLayer(samples(), CPU).run(module) == 1
    assert_same_numbers(module.to_onnx(), model)
    conv = module.graph.nodes[0]
    rows = np.abs(conv.inputs[1].values).max(axis=(1, 2, 3))
    assert rows.max() / rows.min() < 10
    assert EqualizeCrossLayer(samples(), CPU).run(module) == 0


@pytest.mark.parametrize("activation", ["Clip", "HardSwish", "Sigmoid"])
def test_what_does_not_scale_is_left_alone(activation: str) -> None:
    module = module_of(chain(activation))
    before = module.to_onnx()
    assert EqualizeCrossLayer(samples(), CPU).run(module) == 0
    assert module.to_onnx() == before


def test_through_a_clamp_the_samples_are_not_touched_and_full_channels_stay() -> None:
    model = chain("Clip", spread=20.0)
    module = module_of(model)
    filters = module.graph.nodes[0].inputs[1].values.copy()
    assert EqualizeCrossLayer(samples(), CPU, clamped=True).run(module) == 1
    from mdcompiler.reference import run_reference

    for sample in samples():
        want, got = run_reference(model, sample), run_reference(module.to_onnx(), sample)
        for name, values in want.items():
            np.testing.assert_allclose(got[name], values, atol=1e-4)
    assert np.array_equal(module.graph.nodes[0].inputs[1].values[-1], filters[-1]), "it reaches 6 on the samples"


def test_without_samples_nothing_happens() -> None:
    assert EqualizeCrossLayer(scheme=CPU).run(module_of(chain("Relu"))) == 0
