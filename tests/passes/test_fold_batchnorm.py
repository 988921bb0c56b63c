"""fold-batchnorm: before and after, numbers, refusals, second run."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.errors import ModelError
from mdcompiler.passes.fold_batchnorm import FoldBatchnorm
from tests.graphs import Sketch, mobilenet_v2_like, resnet_like
from tests.pass_checks import module_of, ops, refused, run_pass

PASS = FoldBatchnorm()


def picture(net: Sketch) -> str:
    return net.input("x", [1, 3, 6, 7])


def test_goes_into_the_convolution_before_it() -> None:
    net = Sketch()
    module = run_pass(PASS, net.model(net.norm("block", net.conv("block", picture(net), (3, 4), 3), 4)))
    assert ops(module) == ["Conv"]
    (conv,) = module.graph.nodes
    assert [tensor.name for tensor in conv.inputs[1:]] == ["block/weight", "block/bias"]
    assert conv.outputs[0].name == "block/bn"  # an output of the network keeps its name


def test_takes_the_bias_along() -> None:
    net = Sketch()
    module = run_pass(PASS, net.model(net.norm("block", net.conv("block", picture(net), (3, 4), 3, bias=True), 4)))
    assert ops(module) == ["Conv"]


def test_grouped_convolution() -> None:
    net = Sketch()
    data = net.norm("dw", net.conv("dw", picture(net), (3, 6), 3, group=3), 6)
    assert ops(run_pass(PASS, net.model(data))) == ["Conv"]


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(groups: int) -> None:
    net = Sketch()
    data = net.input("x", [1, 4, 5, 5])
    weight = net.weight("w", net.random.normal(size=(4, 6 // groups, 3, 3)).astype(np.float32))
    data = net.node("ConvTranspose", "up/conv", data, weight, strides=[2, 2], group=groups)
    assert ops(run_pass(PASS, net.model(net.norm("up", data, 6)))) == ["ConvTranspose"]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_matrix_product(transposed: int, beta: float) -> None:
    net = Sketch()
    shape = (4, 3) if transposed else (3, 4)
    weight = net.weight("w", net.random.normal(size=shape).astype(np.float32))
    bias = net.weight("b", net.random.normal(size=4).astype(np.float32))
    data = net.node("Gemm", "fc/gemm", net.input("x", [2, 3]), weight, bias, transB=transposed, beta=beta, alpha=2.0)
    assert ops(run_pass(PASS, net.model(net.norm("fc", data, 4)))) == ["Gemm"]


def test_without_a_convolution_becomes_mul_and_add() -> None:
    net = Sketch()
    data = picture(net)
    total = net.node("Add", "sum", data, net.conv("block", data, (3, 3)))
    module = run_pass(PASS, net.model(net.node("Relu", "act", net.norm("norm", total, 3))))
    assert ops(module) == ["Conv", "Add", "Mul", "Add", "Relu"]
    assert [node.name for node in module.graph.nodes][2:4] == ["norm/bn/mul", "norm/bn"]


def test_a_convolution_with_two_readers_keeps_its_weights() -> None:
    net = Sketch()
    plain = net.conv("block", picture(net), (3, 4))
    model = net.model(net.node("Add", "sum", plain, net.norm("block", plain, 4)))
    assert ops(run_pass(PASS, model)) == ["Conv", "Mul", "Add", "Add"]


def test_two_in_a_row() -> None:
    net = Sketch()
    data = net.norm("second", net.norm("first", net.conv("block", picture(net), (3, 4)), 4), 4)
    assert ops(run_pass(PASS, net.model(data))) == ["Conv"]


def test_shared_weights_are_copied() -> None:
    net = Sketch()
    data = picture(net)
    first = net.conv("one", data, (3, 4))
    second = net.node("Conv", "two/conv", data, "one/weight")
    third = net.node("Conv", "three/conv", data, "one/weight")
    total = net.node("Add", "sum", net.norm("one", first, 4), net.norm("two", second, 4))
    module = run_pass(PASS, net.model(net.node("Add", "total", total, third)))
    names = [node.inputs[1].name for node in module.graph.nodes if node.op == "Conv"]
    assert len(set(names)) == 3
    assert "one/weight" in names  # the convolution without a batch normalisation reads the weights as they were


def test_whole_networks() -> None:
    for model in (resnet_like(), mobilenet_v2_like()):
        assert "BatchNormalization" not in ops(run_pass(PASS, model))


def test_refuses_parameters_from_run_time() -> None:
    net = Sketch()
    scale = net.input("gamma", [3])
    names = [net.weight(name, np.ones(3, np.float32)) for name in ("beta", "mean", "variance")]
    model = net.model(net.node("BatchNormalization", "bn", net.input("x", [1, 3, 4, 4]), scale, *names))
    assert refused(PASS, model) == {"bn": "its scale gamma is computed at run time"}


def test_refuses_training_mode() -> None:
    net = Sketch()
    model = net.model(net.norm("block", picture(net), 3))
    node = model.graph.node[0]
    node.attribute.add(name="training_mode", type=2, i=1)
    node.output.extend(["mean_out", "variance_out"])
    assert "training mode" in refused(PASS, model)["block/bn"]


def test_a_variance_below_zero_is_the_users_error() -> None:
    net = Sketch()
    model = net.model(net.norm("block", net.conv("block", picture(net), (3, 4)), 4))
    damaged = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("variance"))
    damaged.raw_data = np.full(4, -1, np.float32).tobytes()
    with pytest.raises(ModelError, match=r"block/bn: variance \+ epsilon is -0.998.* above 0"):
        PASS.run(module_of(model))
