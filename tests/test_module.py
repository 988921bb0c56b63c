"""Module: what travels through files, and the small edits that passes are made of."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from mdcompiler.constants import assign, integers, optional_input, scalar
from mdcompiler.kernel import KERNEL
from mdcompiler.module import (
    Module,
    consumers,
    insert_before,
    only_consumer,
    producer,
    remove_nodes,
    replace_constant_nodes,
    replace_uses,
)
from mdcompiler.names import kernel_names
from tests.graphs import Sketch, resnet_like
from tests.pass_checks import module_of


def chain() -> Module:
    """x -> a (Sin) -> b (Cos) -> c (Neg)."""
    net = Sketch()
    data = net.node("Sin", "a", net.input("x", [4]))
    return module_of(net.model(net.node("Neg", "c", net.node("Cos", "b", data))))


def test_marks_metadata_and_history_survive_a_file() -> None:
    module = module_of(resnet_like())
    module.graph.nodes[0].attrs[KERNEL] = "stem"
    module.metadata["mdc.labels"] = '["cat"]'
    module.history.append("fold-pad")
    again = module_of(onnx.load_model_from_string(module.to_onnx().SerializeToString()))
    assert again.graph.nodes[0].attrs[KERNEL] == "stem"
    assert again.metadata == {"mdc.labels": '["cat"]'}
    assert again.history == ["fold-pad"]
    assert again.to_onnx() == module.to_onnx()


def test_writing_leaves_the_graph_as_it_is() -> None:
    module = module_of(resnet_like())
    module.graph.nodes[0].attrs[KERNEL] = "stem"
    first = module.to_onnx()
    assert module.graph.nodes[0].attrs[KERNEL] == "stem"
    assert module.to_onnx() == first


def test_neighbours() -> None:
    graph = chain().graph
    nodes = {node.name: node for node in graph.nodes}
    neighbours = [producer(nodes["b"].inputs[0]), only_consumer(graph, nodes["a"].outputs[0])]
    assert [node.name for node in neighbours if node is not None] == ["a", "b"]
    assert [node.name for node in consumers(nodes["a"].outputs[0])] == ["b"]
    assert producer(nodes["a"].inputs[0]) is None  # an input of the network
    assert only_consumer(graph, nodes["c"].outputs[0]) is None  # an output of the network


def test_replacing_an_output_keeps_its_name() -> None:
    graph = chain().graph
    _, b, c = graph.nodes
    inner, result = b.outputs[0], c.outputs[0]
    remove_nodes(graph, [c])
    replace_uses(graph, result, inner)
    assert graph.outputs[0] is inner
    assert inner.name == "c"


def test_insert_before() -> None:
    graph = chain().graph
    insert_before(graph, graph.nodes[1], [gs.Node("Neg", "new")])
    assert [node.name for node in graph.nodes] == ["a", "new", "b", "c"]


def test_constant_nodes_become_constants() -> None:
    net = Sketch()
    value = onnx.numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32))
    inner = net.node("Constant", "k", value=value)
    outer = net.node("Constant", "leaves", value_floats=[1.0, 2.0])
    model = net.model(net.node("Add", "sum", net.input("x", [4]), inner), outer)
    module = module_of(model)
    assert replace_constant_nodes(module.graph) == 2
    assert [node.op for node in module.graph.nodes] == ["Identity", "Add"]
    total = module.graph.nodes[1]
    assert integers(total.inputs[1]) == [1, 2, 3, 4]
    onnx.checker.check_model(module.to_onnx(), full_check=True)


def test_reading_constants() -> None:
    net = Sketch()
    data = net.input("x", [4])
    module = module_of(net.model(net.node("Clip", "clip", data, "", net.weight("high", np.float32(6)))))
    clip = module.graph.nodes[0]
    assert optional_input(clip, 1) is None
    assert optional_input(clip, 3) is None
    assert scalar(optional_input(clip, 2)) == 6
    assert scalar(clip.inputs[0]) is None
    assert integers(None) is None


@pytest.mark.parametrize("shared", [False, True])
def test_assigning_leaves_shared_constants_alone(shared: bool) -> None:
    net = Sketch()
    weight = net.weight("w", np.ones(4, np.float32))
    data = net.node("Add", "a", net.input("x", [4]), weight)
    data = net.node("Mul", "b", data, weight if shared else net.weight("v", np.ones(4, np.float32)))
    graph = module_of(net.model(data)).graph
    first, second = graph.nodes
    assign(graph, first, 1, np.zeros(4, np.float32), "w")
    assert first.inputs[1].name == ("w.2" if shared else "w")
    assert np.all(first.inputs[1].values == 0)
    assert np.all(second.inputs[1].values == 1)


def test_kernels_are_named_by_path_when_it_is_theirs_alone() -> None:
    net = Sketch()
    data = net.input("x", [1, 2, 4, 4])
    weight = net.weight("w", np.ones((2, 2, 1, 1), np.float32))
    for name in ("C1/b0.conv/conv/conv", "/layer/Conv", "/layer/Conv_1", "taken/conv"):
        data = net.node("Conv", name, data, weight)
    names = kernel_names(module_of(net.model(net.node("Relu", "taken", data))).graph)
    assert names == {
        "C1/b0.conv/conv/conv": "C1/b0.conv/conv",
        "/layer/Conv": "/layer/Conv",
        "/layer/Conv_1": "/layer/Conv_1",
        "taken/conv": "taken/conv",
        "taken": "taken",
    }
