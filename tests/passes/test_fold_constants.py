"""fold-constants: before and after, numbers, what must survive, the bound, second run."""

from __future__ import annotations

import numpy as np

from mdcompiler.kernel import KERNEL
from mdcompiler.passes.fold_constants import FoldConstants
from tests.graphs import Sketch, detector_like, mobilenet_v2_like, resnet_like
from tests.pass_checks import assert_untouched, module_of, ops, refused, run_pass

PASS = FoldConstants()


def test_computes_constant_expressions() -> None:
    net = Sketch()
    data = net.input("x", [1, 3, 4, 4])
    weight = net.weight("stored", net.random.normal(size=(3, 5, 1, 1)).astype(np.float32))
    turned = net.node("Transpose", "turned", weight, perm=[1, 0, 2, 3])
    module = run_pass(PASS, net.model(net.node("Conv", "block/conv", data, turned)))
    assert ops(module) == ["Conv"]
    assert module.graph.nodes[0].inputs[1].shape == (5, 3, 1, 1)


def test_knows_static_shapes() -> None:
    net = Sketch()
    data = net.node("Sin", "sin", net.input("x", [2, 3, 4]))
    shape = net.node("Shape", "shape", data)
    first = net.node("Gather", "first", shape, net.weight("zero", np.array([0], np.int64)))
    wanted = net.node("Concat", "wanted", first, net.weight("rest", np.array([-1], np.int64)), axis=0)
    assert ops(run_pass(PASS, net.model(net.node("Reshape", "reshape", data, wanted)))) == ["Sin", "Reshape"]


def test_names_a_folded_bias_after_its_block() -> None:
    net = Sketch()
    plain = net.conv("block", net.input("x", [1, 3, 4, 4]), (3, 5))
    bias = net.weight("loose", np.arange(5, dtype=np.float32).reshape(5, 1, 1))
    module = run_pass(PASS, net.model(net.node("Add", "sum", plain, bias)))
    assert ops(module) == ["Conv"]
    assert module.graph.nodes[0].inputs[2].name == "block/bias"


def test_names_of_new_constants_do_not_clash() -> None:
    net = Sketch()
    data = net.input("x", [1, 3, 4, 4])
    taken = net.weight("block/bias", net.random.normal(size=(1, 3, 4, 4)).astype(np.float32))
    plain = net.conv("block", net.node("Mul", "scaled", data, taken), (3, 5))
    bias = net.weight("loose", np.arange(5, dtype=np.float32).reshape(5, 1, 1))
    module = run_pass(PASS, net.model(net.node("Add", "sum", plain, bias)))
    names = {tensor.name for node in module.graph.nodes for tensor in node.inputs[1:]}
    assert {"block/bias", "block/bias.2"} <= names


def test_a_constant_output_stays_an_output() -> None:
    net = Sketch()
    data = net.node("Sin", "sin", net.input("x", [2, 3]))
    values = net.node("Neg", "negated", net.weight("stored", np.arange(3, dtype=np.float32)))
    module = run_pass(PASS, net.model(data, values))
    assert sorted(ops(module)) == ["Identity", "Sin"]
    assert [tensor.name for tensor in module.graph.outputs] == ["sin", "negated"]


def test_keeps_the_marks_of_nodes_that_stay() -> None:
    net = Sketch()
    data = net.conv("block", net.input("x", [1, 3, 4, 4]), (3, 5))
    data = net.node("Relu", "act", net.node("Identity", "same", data))
    module = module_of(net.model(data))
    for node in module.graph.nodes:
        node.attrs[KERNEL] = "group"
    assert PASS.run(module) > 0
    assert [(node.name, node.attrs[KERNEL]) for node in module.graph.nodes] == [
        ("block/conv", "group"),
        ("act", "group"),
    ]


def test_keeps_operators_of_our_domain() -> None:
    net = Sketch()
    data = net.node("Identity", "same", net.node("Sin", "sin", net.input("x", [2, 3])))
    data = net.node("ChangeLayout", "layout", data, domain="mdc", **{"from": "NCHW", "to": "NHWC"})
    module = run_pass(PASS, net.model(data))
    assert ops(module) == ["Sin", "ChangeLayout"]
    assert module.to_onnx().functions[0].name == "ChangeLayout"


def test_blocks_with_equal_weights_stay_apart() -> None:
    net = Sketch()
    data = net.input("x", [1, 3, 4, 4])
    values = net.random.normal(size=(3, 3, 1, 1)).astype(np.float32)
    for name in ("one", "two"):
        net.node("Conv", f"{name}/conv", data, net.weight(f"{name}/weight", values))
    model = net.model(net.node("Add", "sum", "one/conv", net.node("Identity", "same", "two/conv")))
    module = run_pass(PASS, model)
    assert {node.inputs[1].name for node in module.graph.nodes if node.op == "Conv"} == {"one/weight", "two/weight"}


def test_leaves_lean_networks_untouched() -> None:
    for model in (resnet_like(), detector_like()):
        assert_untouched(PASS, module_of(model))


def test_drops_the_dropout() -> None:
    assert "Dropout" not in ops(run_pass(PASS, mobilenet_v2_like()))


def test_does_not_compute_what_would_fill_the_memory() -> None:
    net = Sketch()
    shape = net.weight("shape", np.array([1 << 10, 1 << 20], np.int64))
    huge = net.node("ConstantOfShape", "huge", shape)
    total = net.node("ReduceSum", "total", huge, keepdims=0)
    model = net.model(net.node("Add", "sum", net.input("x", [3]), total))
    assert refused(PASS, model) == {"huge": "its constant result makes 4096 MiB; limit 512"}
