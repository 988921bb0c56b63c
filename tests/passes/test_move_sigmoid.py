"""move-sigmoid: structure, numbers, second run, places that are left alone."""

from __future__ import annotations

import onnx

from mdcompiler.passes.move_sigmoid import MoveSigmoid
from tests.graphs import Sketch
from tests.pass_checks import assert_untouched, module_of, ops, run_pass

PASS = MoveSigmoid()


def parts(*, shared: bool = False, after: str = "Sigmoid") -> onnx.ModelProto:
    net = Sketch()
    left = net.conv("a", net.input("x", [1, 4, 3, 3]), (4, 2))
    right = net.conv("b", net.input("y", [1, 4, 3, 3]), (4, 2))
    last = net.node(after, "sigmoid", net.node("Concat", "concat", left, right, axis=1))
    return net.model(*([last, net.node("Relu", "relu", left)] if shared else [last]))


def test_every_part_gets_its_own() -> None:
    module = run_pass(PASS, parts())
    assert ops(module) == ["Conv", "Conv", "Sigmoid", "Sigmoid", "Concat"]
    assert [tensor.name for tensor in module.graph.outputs] == ["sigmoid"]


def test_left_alone() -> None:
    for model in (parts(shared=True), parts(after="Tanh")):
        assert_untouched(PASS, module_of(model))
