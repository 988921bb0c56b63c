"""remove-identity: before and after, numbers, refusals, second run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto

from mdcompiler.passes.remove_identity import RemoveIdentity
from tests.graphs import Sketch
from tests.pass_checks import module_of, ops, refused, run_pass

PASS = RemoveIdentity()


def pad_by_nothing(net: Sketch, data: str) -> str:
    return net.node("Pad", "node", data, net.weight("pads", np.zeros(8, np.int64)))


def reshape_to_itself(net: Sketch, data: str) -> str:
    return net.node("Reshape", "node", data, net.weight("shape", np.array([0, 3, -1, 5], np.int64)))


NODES: dict[str, Callable[[Sketch, str], str]] = {
    "Identity": lambda net, data: net.node("Identity", "node", data),
    "Dropout": lambda net, data: net.node("Dropout", "node", data),
    "Cast": lambda net, data: net.node("Cast", "node", data, to=TensorProto.FLOAT),
    "Reshape": reshape_to_itself,
    "Transpose": lambda net, data: net.node("Transpose", "node", data, perm=[0, 1, 2, 3]),
    "Pad": pad_by_nothing,
}


@pytest.mark.parametrize("op", NODES)
def test_removes(op: str) -> None:
    net = Sketch()
    data = net.node("Sin", "before", net.input("x", [1, 3, 4, 5]))
    module = run_pass(PASS, net.model(net.node("Cos", "after", NODES[op](net, data))))
    assert ops(module) == ["Sin", "Cos"]


def test_an_output_keeps_its_name() -> None:
    net = Sketch()
    data = net.node("Identity", "result", net.node("Sin", "before", net.input("x", [4])))
    module = run_pass(PASS, net.model(data))
    assert ops(module) == ["Sin"]
    assert [tensor.name for tensor in module.graph.outputs] == ["result"]


def test_a_chain_goes_in_one_run() -> None:
    net = Sketch()
    data = net.node("Sin", "before", net.input("x", [4]))
    data = net.node("Identity", "b", net.node("Identity", "a", data))
    assert ops(run_pass(PASS, net.model(data))) == ["Sin"]


def test_keeps_what_changes_something() -> None:
    net = Sketch()
    data = net.input("x", [1, 3, 4, 5])
    data = net.node("Transpose", "transpose", data, perm=[0, 2, 1, 3])
    data = net.node("Cast", "cast", data, to=TensorProto.FLOAT16)
    data = net.node("Pad", "pad", data, net.weight("pads", np.array([0, 0, 0, 0, 0, 0, 0, 1], np.int64)))
    data = net.node("Reshape", "reshape", data, net.weight("shape", np.array([-1], np.int64)))
    assert refused(PASS, net.model(data)) == {}


def test_keeps_a_dropout_in_training() -> None:
    net = Sketch()
    data = net.node("Sin", "before", net.input("x", [4]))
    ratio, training = net.weight("ratio", np.float32(0.0)), net.weight("training", np.array(True))
    assert refused(PASS, net.model(net.node("Dropout", "drop", data, ratio, training))) == {}


def test_refuses_between_input_and_output() -> None:
    net = Sketch()
    model = net.model(net.node("Identity", "same", net.input("x", [4])))
    assert "needs a node" in refused(PASS, model)["same"]


def test_refuses_when_both_ends_are_outputs() -> None:
    net = Sketch()
    data = net.node("Sin", "before", net.input("x", [4]))
    assert "two outputs" in refused(PASS, net.model(data, net.node("Identity", "same", data)))["same"]


def test_refuses_a_dropout_whose_mask_is_read() -> None:
    net = Sketch()
    data = net.node("Sin", "before", net.input("x", [4]))
    net.node("Dropout", "drop", data)
    net.nodes[-1].output.append("mask")
    model = net.model("drop", net.node("Not", "inverse", "mask"))
    assert refused(PASS, model) == {"drop": "its second output mask is read"}


def test_leaves_other_domains_alone() -> None:
    net = Sketch()
    model = net.model(net.node("Sin", "before", net.input("x", [4])))
    module = module_of(model)
    module.graph.nodes[0].op, module.graph.nodes[0].domain = "Identity", "mdc"
    assert PASS.run(module) == 0
