"""lower-auto-pad: numbers for every rule, also for odd sizes, strides and dilations; second run."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.passes.lower_auto_pad import LowerAutoPad
from mdcompiler.verify import check_structure
from tests.graphs import Sketch
from tests.pass_checks import module_of, run_pass

PASS = LowerAutoPad()


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (4, 1), (1, 2)])
def test_convolution(rule: str, kernel: int, stride: int) -> None:
    net = Sketch()
    weight = net.weight("w", net.random.normal(size=(4, 3, kernel, kernel)).astype(np.float32))
    data = net.input("x", [1, 3, 11, 14])
    data = net.node("Conv", "conv", data, weight, auto_pad=rule, strides=[stride] * 2)
    module = run_pass(PASS, net.model(data))
    assert "auto_pad" not in module.graph.nodes[0].attrs


def test_dilation_widens_the_window() -> None:
    # ONNX Runtime refuses SAME with dilation, so the rule is checked by hand: a window of 5 at stride 1
    net = Sketch()
    weight = net.weight("w", np.ones((4, 3, 3, 3), np.float32))
    data = net.node("Conv", "conv", net.input("x", [1, 3, 11, 14]), weight, auto_pad="SAME_UPPER", dilations=[2, 2])
    module = module_of(net.model(data))
    assert PASS.run(module) == 1
    assert module.graph.nodes[0].attrs["pads"] == [2, 2, 2, 2]
    check_structure(module)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pooling(op: str) -> None:
    net = Sketch()
    data = net.input("x", [1, 3, 11, 14])
    data = net.node(op, "pool", data, auto_pad="SAME_UPPER", kernel_shape=[3, 3], strides=[2, 2])
    module = run_pass(PASS, net.model(data))
    assert module.graph.nodes[0].attrs["pads"] == [1, 0, 1, 1]
