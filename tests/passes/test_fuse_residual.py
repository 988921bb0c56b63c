"""fuse-residual: every pattern, numbers, every refusal, no loops between kernels, second run."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from mdcompiler.kernel import kernels
from mdcompiler.passes.fold_batchnorm import FoldBatchnorm
from mdcompiler.passes.fuse_activation import FuseActivation
from mdcompiler.passes.fuse_preprocessing import FusePreprocessing
from mdcompiler.passes.fuse_residual import FuseResidual
from tests.graphs import Sketch, detector_like, mobilenet_v2_like, resnet_like
from tests.pass_checks import groups, refused, run_pass

PASS = FuseResidual()
BEFORE = (FoldBatchnorm(), FuseActivation())


def picture(net: Sketch) -> str:
    return net.node("Sin", "sin", net.input("x", [1, 4, 5, 5]))


def test_linear_bottleneck() -> None:
    net = Sketch()
    data = picture(net)
    module = run_pass(PASS, net.model(net.node("Add", "add", data, net.conv("block", data, (4, 4)))), *BEFORE)
    assert groups(module) == {"block": ["Conv", "Add"]}


@pytest.mark.parametrize("swish", [False, True])
def test_activation_after_the_sum(swish: bool) -> None:
    net = Sketch()
    data = picture(net)
    total = net.node("Add", "add", net.conv("block", data, (4, 4)), data)
    last = net.node("Mul", "act", total, net.node("Sigmoid", "gate", total)) if swish else net.node("Relu", "r", total)
    module = run_pass(PASS, net.model(last), *BEFORE)
    assert groups(module) == {"block": ["Conv", "Add", *(["Sigmoid", "Mul"] if swish else ["Relu"])]}


def test_activation_before_the_sum_takes_no_second_one() -> None:
    net = Sketch()
    data = picture(net)
    total = net.node("Add", "add", net.node("Relu", "act", net.conv("block", data, (4, 4))), data)
    module = run_pass(PASS, net.model(net.node("Relu", "last", total)), *BEFORE)
    assert groups(module) == {"block": ["Conv", "Relu", "Add"]}


def test_swish_before_the_sum() -> None:
    net = Sketch()
    data = picture(net)
    inner = net.conv("block", data, (4, 4))
    active = net.node("Mul", "act", inner, net.node("Sigmoid", "gate", inner))
    module = run_pass(PASS, net.model(net.node("Add", "add", data, active)), *BEFORE)
    assert groups(module) == {"block": ["Conv", "Sigmoid", "Mul", "Add"]}


def test_stem_with_preprocessing_takes_a_sum() -> None:
    net = Sketch()
    data = net.node("Cast", "cast", net.input("image", [1, 5, 5, 3], TensorProto.UINT8), to=TensorProto.FLOAT)
    data = net.node("Transpose", "transpose", data, perm=[0, 3, 1, 2])
    data = net.node("Mul", "scale", data, net.weight("two", np.float32(2)))
    data = net.node("Add", "offset", data, net.weight("one", np.float32(-1)))
    other = net.node("Sin", "sin", net.input("x", [1, 4, 5, 5]))
    model = net.model(net.node("Add", "add", net.conv("stem", data, (3, 4)), other))
    module = run_pass(PASS, model, FusePreprocessing(), *BEFORE)
    assert groups(module) == {"stem": ["Cast", "Transpose", "Mul", "Add", "Conv", "Add"]}


def test_the_later_convolution_takes_the_sum() -> None:
    net = Sketch()
    data = picture(net)
    early, late = net.conv("early", data, (4, 4)), net.conv("late", data, (4, 4))
    module = run_pass(PASS, net.model(net.node("Add", "add", late, early)), *BEFORE)
    assert groups(module) == {"late": ["Conv", "Add"]}


def test_the_earlier_one_when_the_later_is_shared() -> None:
    net = Sketch()
    data = picture(net)
    early, late = net.conv("early", data, (4, 4)), net.conv("late", data, (4, 4))
    model = net.model(net.node("Add", "add", late, early), net.node("Cos", "cos", late))
    assert groups(run_pass(PASS, model, *BEFORE)) == {"early": ["Conv", "Add"]}


def test_a_chain_of_blocks_has_no_loop() -> None:
    net = Sketch()
    data = picture(net)
    for name in "abcd":
        data = net.node("Add", f"{name}/add", data, net.conv(name, data, (4, 4)))
    module = run_pass(PASS, net.model(data), *BEFORE)
    assert [kernel.name for kernel in kernels(module.graph)] == ["sin", "a", "b", "c", "d"]


def test_whole_networks() -> None:
    assert groups(run_pass(PASS, resnet_like(), *BEFORE))["/layer1/layer1.0/b"] == ["Conv", "Add", "Relu"]
    assert groups(run_pass(PASS, mobilenet_v2_like(), *BEFORE))["/features/2/project"] == ["Conv", "Add"]
    assert groups(run_pass(PASS, detector_like(), *BEFORE))["C2/b0.ibn/project"] == ["Conv", "Add"]


def test_refuses_a_shared_value() -> None:
    net = Sketch()
    data = picture(net)
    inner = net.conv("block", data, (4, 4))
    model = net.model(net.node("Add", "add", data, inner), net.node("Cos", "cos", inner))
    assert refused(PASS, model, *BEFORE) == {"add": "block: its inner value block/conv is also read by cos"}


def test_refuses_an_output_of_the_network() -> None:
    net = Sketch()
    data = picture(net)
    inner = net.conv("block", data, (4, 4))
    model = net.model(net.node("Add", "add", data, inner), inner)
    assert "is an output of the network" in refused(PASS, model, *BEFORE)["add"]


def test_refuses_operands_that_broadcast() -> None:
    net = Sketch()
    data = picture(net)
    pooled = net.node("GlobalAveragePool", "pool", data)
    model = net.model(net.node("Add", "add", pooled, net.conv("block", data, (4, 4))))
    assert "shapes [1, 4, 1, 1] and [1, 4, 5, 5]" in refused(PASS, model, *BEFORE)["add"]


def test_refuses_a_doubled_tensor() -> None:
    net = Sketch()
    inner = net.conv("block", picture(net), (4, 4))
    assert "the same tensor" in refused(PASS, net.model(net.node("Add", "add", inner, inner)), *BEFORE)["add"]


def test_refuses_a_sum_without_convolution() -> None:
    net = Sketch()
    data = picture(net)
    model = net.model(net.node("Add", "add", data, net.node("Cos", "cos", data)))
    assert refused(PASS, model, *BEFORE) == {"add": "neither operand is made by a convolution"}


def test_a_kernel_adds_once() -> None:
    net = Sketch()
    data = picture(net)
    first = net.node("Add", "first", data, net.conv("block", data, (4, 4)))
    module = run_pass(PASS, net.model(net.node("Add", "second", first, data)), *BEFORE)
    assert groups(module) == {"block": ["Conv", "Add"]}
    (refusal,) = PASS.refusals(module)
    assert (refusal.node, refusal.reason) == ("second", "block: its kernel adds a residual already")


def test_a_constant_is_no_residual() -> None:
    net = Sketch()
    constant = net.weight("c", net.random.normal(size=(1, 4, 5, 5)).astype("float32"))
    model = net.model(net.node("Add", "add", net.conv("block", picture(net), (4, 4)), constant))
    assert refused(PASS, model, *BEFORE) == {}
