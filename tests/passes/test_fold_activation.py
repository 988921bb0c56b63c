"""fold-activation: every spelling, numbers, what must stay, second run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mdcompiler.passes.fold_activation import FoldActivation
from tests.graphs import Sketch
from tests.pass_checks import assert_untouched, module_of, ops, run_pass

PASS = FoldActivation()


def constant(net: Sketch, value: float) -> str:
    return net.weight(f"c{len(net.weights)}", np.float32(value))


def source(net: Sketch) -> str:
    """A tensor that several nodes may read, of values from -5 to 5."""
    return net.node("Mul", "source", net.input("x", [2, 3, 8, 9]), constant(net, 5))


def minimum_of_maximum(net: Sketch, x: str) -> str:
    return net.node("Min", "last", net.node("Max", "max", x, constant(net, 0)), constant(net, 6))


def maximum_of_minimum(net: Sketch, x: str) -> str:
    return net.node("Max", "last", constant(net, -1), net.node("Min", "min", constant(net, 2), x))


def minimum_of_relu(net: Sketch, x: str) -> str:
    return net.node("Min", "last", net.node("Relu", "relu", x), constant(net, 6))


def relu_of_clip(net: Sketch, x: str) -> str:
    return net.node("Relu", "last", net.clip("clip", x, -3, 2))


def disjoint_clips(net: Sketch, x: str) -> str:
    # a clamp to [-1, 0] of what is within [-4, 4], then to [-0.5, 3]
    return net.clip("last", net.clip("b", net.clip("a", x, -4, 4), -1, 0), -0.5, 3)


def relu_as_maximum(net: Sketch, x: str) -> str:
    return net.node("Max", "last", x, constant(net, 0))


def relu_as_clip(net: Sketch, x: str) -> str:
    return net.node("Clip", "last", x, constant(net, 0))


def hard_sigmoid_div(net: Sketch, x: str) -> str:
    clip = net.clip("clip", net.node("Add", "add", x, constant(net, 3)))
    return net.node("Div", "last", clip, constant(net, 6))


def hard_sigmoid_other_slope(net: Sketch, x: str) -> str:
    clip = net.clip("clip", net.node("Add", "add", constant(net, 1), x), 0, 4)
    return net.node("Mul", "last", constant(net, 0.25), clip)


def hard_swish_from_gate(net: Sketch, x: str) -> str:
    gate = net.node("HardSigmoid", "gate", x, alpha=1 / 6, beta=0.5)
    return net.node("Mul", "last", x, gate)


def hard_swish_gate_spelled(net: Sketch, x: str) -> str:
    clip = net.clip("clip", net.node("Add", "add", x, constant(net, 3)))
    return net.node("Mul", "last", net.node("Mul", "gate", clip, constant(net, 1 / 6)), x)


def hard_swish_divided_last(net: Sketch, x: str) -> str:
    low = net.node("Max", "low", net.node("Add", "add", x, constant(net, 3)), constant(net, 0))
    product = net.node("Mul", "product", x, net.node("Min", "high", low, constant(net, 6)))
    return net.node("Div", "last", product, constant(net, 6))


FOLDED: list[tuple[Callable[[Sketch, str], str], str]] = [
    (minimum_of_maximum, "Clip"),
    (maximum_of_minimum, "Clip"),
    (minimum_of_relu, "Clip"),
    (relu_of_clip, "Clip"),
    (disjoint_clips, "Clip"),
    (relu_as_maximum, "Relu"),
    (relu_as_clip, "Relu"),
    (hard_sigmoid_div, "HardSigmoid"),
    (hard_sigmoid_other_slope, "HardSigmoid"),
    (hard_swish_from_gate, "HardSwish"),
    (hard_swish_gate_spelled, "HardSwish"),
    (hard_swish_divided_last, "HardSwish"),
]


@pytest.mark.parametrize(("spelling", "expected"), FOLDED, ids=[spelling.__name__ for spelling, _ in FOLDED])
def test_becomes_one_node(spelling: Callable[[Sketch, str], str], expected: str) -> None:
    net = Sketch()
    module = run_pass(PASS, net.model(spelling(net, source(net))))
    assert ops(module) == ["Mul", expected]
    assert module.graph.nodes[-1].name == "last"


def plain_activations(net: Sketch, x: str) -> str:
    return net.node("HardSwish", "last", net.node("Relu", "relu", net.node("Sigmoid", "sigmoid", x)))


def clip_from_run_time(net: Sketch, x: str) -> str:
    return net.node("Clip", "last", x, net.input("low", []))


def maximum_of_two_tensors(net: Sketch, x: str) -> str:
    return net.node("Max", "last", x, net.node("Neg", "negated", x))


def maximum_that_broadcasts(net: Sketch, x: str) -> str:
    return net.node("Max", "last", x, net.weight("wide", np.zeros((1, 1, 1, 1, 1), np.float32)))


def swish_with_another_slope(net: Sketch, x: str) -> str:
    return net.node("Mul", "last", x, net.node("HardSigmoid", "gate", x))


def gate_of_another_tensor(net: Sketch, x: str) -> str:
    other = net.node("Neg", "negated", x)
    return net.node("Mul", "last", other, net.node("HardSigmoid", "gate", x, alpha=1 / 6, beta=0.5))


def divided_by_something_else(net: Sketch, x: str) -> str:
    clip = net.clip("clip", net.node("Add", "add", x, constant(net, 3)))
    return net.node("Div", "last", clip, constant(net, 5))


def six_divided_by_the_clip(net: Sketch, x: str) -> str:
    clip = net.clip("clip", net.node("Add", "add", x, constant(net, 6)), 0, 6)
    return net.node("Div", "last", constant(net, 1 / 6), clip)


@pytest.mark.parametrize(
    "spelling",
    [
        plain_activations,
        clip_from_run_time,
        maximum_of_two_tensors,
        maximum_that_broadcasts,
        swish_with_another_slope,
        gate_of_another_tensor,
        divided_by_something_else,
        six_divided_by_the_clip,
    ],
)
def test_leaves_alone(spelling: Callable[[Sketch, str], str]) -> None:
    net = Sketch()
    assert_untouched(PASS, module_of(net.model(spelling(net, source(net)))))


@pytest.mark.parametrize("shared", ["max", "clip", "product"])
def test_inner_values_that_others_read_stay(shared: str) -> None:
    spellings = {"max": minimum_of_maximum, "clip": hard_sigmoid_div, "product": hard_swish_divided_last}
    net = Sketch()
    last = spellings[shared](net, source(net))
    module = module_of(net.model(last, shared))
    PASS.run(module)
    assert shared in {tensor.name for node in module.graph.nodes for tensor in node.outputs}
    assert len(ops(module)) > 2


def test_integers_are_left_alone() -> None:
    net = Sketch()
    data = net.input("x", [4], 6)
    model = net.model(net.node("Max", "last", data, net.weight("zero", np.array(0, np.int32))))
    assert_untouched(PASS, module_of(model))
