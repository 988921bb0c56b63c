"""fuse-squeeze-excite: the block, numbers, every refusal, second run."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.passes.fuse_squeeze_excite import FuseSqueezeExcite
from tests.graphs import Sketch, detector_like
from tests.pass_checks import groups, refused, run_pass

PASS = FuseSqueezeExcite()
MEMBERS = ["GlobalAveragePool", "Conv", "Relu", "Conv"]


@pytest.mark.parametrize("gate", ["Sigmoid", "HardSigmoid"])
def test_joins_the_block(gate: str) -> None:
    net = Sketch()
    data = net.node("Sin", "sin", net.input("x", [1, 8, 5, 5]))
    module = run_pass(PASS, net.model(net.squeeze_excite("C4/b0.ibn/se", data, 8, gate)))
    assert groups(module) == {"C4/b0.ibn/se": [*MEMBERS, gate, "Mul"]}


def test_swish_inside() -> None:
    net = Sketch()
    data = net.node("Sin", "sin", net.input("x", [1, 8, 5, 5]))
    reduced = net.conv("se/reduce", net.node("GlobalAveragePool", "se/pool", data), (8, 4))
    active = net.node("Mul", "se/act", net.node("Sigmoid", "se/act_sigmoid", reduced), reduced)
    gate = net.node("Sigmoid", "se/gate", net.conv("se/expand", active, (4, 8)))
    module = run_pass(PASS, net.model(net.node("Mul", "se/mul", gate, data)))
    assert groups(module) == {"se": ["GlobalAveragePool", "Conv", "Sigmoid", "Mul", "Conv", "Sigmoid", "Mul"]}


def test_inside_a_detector() -> None:
    assert list(groups(run_pass(PASS, detector_like()))) == ["C2/b0.ibn/se"]


def test_others_may_read_what_is_pooled() -> None:
    net = Sketch()
    data = net.node("Sin", "sin", net.input("x", [1, 8, 5, 5]))
    model = net.model(net.squeeze_excite("se", data, 8), net.node("Cos", "cos", data))
    assert list(groups(run_pass(PASS, model))) == ["se"]


def block(gate: str = "Sigmoid", kernel: int = 1, other: bool = False, shared: bool = False) -> dict[str, str]:
    net = Sketch()
    data = net.node("Sin", "sin", net.input("x", [1, 8, 5, 5]))
    reduced = net.conv("reduce", net.node("GlobalAveragePool", "pool", data), (8, 4), kernel)
    expanded = net.conv("expand", net.node("Relu", "act", reduced), (4, 8))
    opened = net.node(gate, "gate", expanded)
    last = net.node("Mul", "mul", net.node("Neg", "neg", data) if other else data, opened)
    return refused(PASS, net.model(*([last, opened] if shared else [last])))


def test_refuses_another_gate() -> None:
    assert "not followed by a gate" in block(gate="Tanh")["pool"]


def test_refuses_a_large_kernel() -> None:
    assert "reduce/conv has a kernel of [3, 3]" in block(kernel=3)["pool"]


def test_refuses_a_product_with_another_tensor() -> None:
    assert "does not multiply the tensor that is pooled" in block(other=True)["pool"]


def test_refuses_an_inner_value_that_is_an_output() -> None:
    assert "gate is an output of the network" in block(shared=True)["pool"]


def test_a_classifier_is_nothing_to_explain() -> None:
    net = Sketch()
    pooled = net.node("GlobalAveragePool", "pool", net.input("x", [1, 8, 5, 5]))
    shape = net.weight("shape", np.array([1, -1], np.int64))
    assert refused(PASS, net.model(net.node("Reshape", "flat", pooled, shape))) == {}
