"""Tensors between a kernel that stays float and one that becomes integers, in networks that are no detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mdcompiler.arbiter import reference_of
from mdcompiler.calibration import ListedSamples
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.passes import builtin_passes
from mdcompiler.passes.quantize_calibrated import QuantizeCalibrated
from mdcompiler.pipeline import Pipeline
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.target import find_target
from tests.graphs import Sketch


def swish_before_relu() -> onnx.ModelProto:
    """What the relu reads leaves the kernel of the swish, so it needs a range of its own."""
    net = Sketch()
    data = net.input("x", [1, 3, 6, 6])
    data = net.node("Mul", "swish", data, net.node("Sigmoid", "gate", data))
    return net.model(net.node("Relu", "relu", data))


def bytes_without_a_convolution() -> onnx.ModelProto:
    """A picture that is pooled, not convolved."""
    net = Sketch()
    data = net.node("Cast", "cast", net.input("image", [1, 6, 6, 3], TensorProto.UINT8), to=TensorProto.FLOAT)
    data = net.node("Transpose", "transpose", data, perm=[0, 3, 1, 2])
    data = net.node("Mul", "scale", data, net.weight("scale/value", np.float32(2 / 255)))
    return net.model(net.squeeze_excite("se", data, 3))


def output_that_is_read() -> onnx.ModelProto:
    """A float kernel's result leaves the network and goes into a convolution and a concatenation."""
    net = Sketch()
    data = net.norm("norm", net.input("x", [1, 4, 5, 7]), 4)
    joined = net.node("Concat", "join", data, net.conv("conv", data, (4, 5)), axis=1)
    return net.model(data, joined)


@pytest.mark.parametrize("build", [swish_before_relu, bytes_without_a_convolution, output_that_is_read])
def test_it_is_quantized(build: object, tmp_path: Path) -> None:
    assert callable(build)
    model = build()
    module = module_from_model(model, find_target("x86-64-v3"))
    pipeline = Pipeline()
    pipeline.run(module, [item for item in builtin_passes() if item.stage in ("simplify", "fuse")])
    samples = ListedSamples([sample_inputs(module, seed) for seed in range(3)])
    passed = QuantizeCalibrated(samples, "min-max", (), allow_degraded=True)
    pipeline.run(module, [passed])
    names = [tensor.name for tensor in module.graph.outputs]
    got, want = reference_of(module, names)(dict(samples.arrays[0])), run_reference(model, samples.arrays[0])
    for name in names:
        assert np.abs(got[name] - want[name]).max() <= 0.05 * np.ptp(want[name]), name
