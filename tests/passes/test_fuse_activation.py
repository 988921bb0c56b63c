"""fuse-activation: every activation, numbers, every refusal, second run."""

from __future__ import annotations

from typing import Any

import pytest

from mdcompiler.kernel import KERNEL
from mdcompiler.passes.fuse_activation import FuseActivation
from mdcompiler.passes.fuse_squeeze_excite import FuseSqueezeExcite
from tests.graphs import Sketch, detector_like
from tests.pass_checks import groups, module_of, refused, run_pass

PASS = FuseActivation()


def convolution(net: Sketch) -> str:
    return net.conv("block", net.input("x", [1, 3, 5, 5]), (3, 4), 3)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("Relu", {}), ("HardSwish", {}), ("HardSigmoid", {"alpha": 0.3}), ("Sigmoid", {})],
    ids=["relu", "hard-swish", "hard-sigmoid", "sigmoid"],
)
def test_one_node(op: str, attributes: dict[str, Any]) -> None:
    net = Sketch()
    module = run_pass(PASS, net.model(net.node(op, "block/act", convolution(net), **attributes)))
    assert groups(module) == {"block": ["Conv", op]}


def test_clip() -> None:
    net = Sketch()
    assert groups(run_pass(PASS, net.model(net.clip("block/act", convolution(net))))) == {"block": ["Conv", "Clip"]}


@pytest.mark.parametrize("swapped", [False, True])
def test_swish(swapped: bool) -> None:
    net = Sketch()
    data = convolution(net)
    operands = [data, net.node("Sigmoid", "block/act_sigmoid", data)]
    model = net.model(net.node("Mul", "block/act", *(reversed(operands) if swapped else operands)))
    assert groups(run_pass(PASS, model)) == {"block": ["Conv", "Sigmoid", "Mul"]}


def test_two_convolutions_of_one_path_use_their_own_names() -> None:
    net = Sketch()
    data = net.input("x", [1, 3, 5, 5])
    weight = net.weight("w", net.random.normal(size=(3, 3, 1, 1)).astype("float32"))
    data = net.node("Relu", "/Relu", net.node("Conv", "/m/Conv", data, weight))
    data = net.node("Relu", "/Relu_1", net.node("Conv", "/m/Conv_1", data, weight))
    assert groups(run_pass(PASS, net.model(data))) == {"/m/Conv": ["Conv", "Relu"], "/m/Conv_1": ["Conv", "Relu"]}


def test_convolutions_of_a_squeeze_excite_block_are_taken() -> None:
    module = module_of(detector_like())
    FuseSqueezeExcite().run(module)
    PASS.run(module)
    kernel = {node.name: node.attrs.get(KERNEL) for node in module.graph.nodes}
    assert kernel["C2/b0.ibn/se/reduce/act"] == "C2/b0.ibn/se"


def test_refuses_a_shared_value() -> None:
    net = Sketch()
    data = convolution(net)
    model = net.model(net.node("Relu", "act", data), net.node("Sin", "sin", data))
    assert refused(PASS, model) == {"act": "its operand block/conv is also read by sin"}


def test_refuses_an_output_of_the_network() -> None:
    net = Sketch()
    data = convolution(net)
    model = net.model(net.node("Relu", "act", data), data)
    assert refused(PASS, model) == {"act": "its inner value block/conv is an output of the network"}


def test_refuses_bounds_from_run_time() -> None:
    net = Sketch()
    model = net.model(net.node("Clip", "act", convolution(net), net.input("low", [])))
    assert refused(PASS, model) == {"act": "its bounds are not constant"}


def test_a_gate_that_others_read_makes_no_swish() -> None:
    net = Sketch()
    data = convolution(net)
    gate = net.node("Sigmoid", "gate", data)
    model = net.model(net.node("Mul", "act", data, gate), net.node("Sin", "sin", gate))
    assert refused(PASS, model) == {"gate": "its operand block/conv is also read by act"}


def test_other_operators_are_nothing_to_explain() -> None:
    net = Sketch()
    assert refused(PASS, net.model(net.node("Sin", "sin", convolution(net)))) == {}
