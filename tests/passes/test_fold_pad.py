"""fold-pad: before and after, numbers, refusals, second run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mdcompiler.passes.fold_pad import FoldPad
from tests.graphs import Sketch
from tests.pass_checks import ops, refused, run_pass

PASS = FoldPad()
AROUND = [0, 0, 1, 2, 0, 0, 3, 0]


def padded(net: Sketch, amounts: list[int], *value: float, **attributes: Any) -> str:
    data = net.input("x", [1, 3, 6, 7])
    inputs = [net.weight("pads", np.array(amounts, np.int64)), *(net.weight("fill", np.float32(v)) for v in value)]
    return net.node("Pad", "pad", data, *inputs, **attributes)


def pad_and_convolve(amounts: list[int], *value: float, **attributes: Any) -> onnx.ModelProto:
    net = Sketch()
    return net.model(net.conv("block", padded(net, amounts, *value, **attributes), (3, 4), 3, pads=[1, 0, 0, 1]))


@pytest.mark.parametrize("value", [(), (0.0,)])
def test_goes_into_the_convolution(value: tuple[float, ...]) -> None:
    module = run_pass(PASS, pad_and_convolve(AROUND, *value))
    assert ops(module) == ["Conv"]
    assert module.graph.nodes[0].attrs["pads"] == [2, 2, 3, 1]


def test_goes_into_every_convolution_that_reads_it() -> None:
    net = Sketch()
    data = padded(net, AROUND)
    both = net.node("Add", "sum", net.conv("a", data, (3, 4), 3), net.conv("b", data, (3, 4), 3))
    assert ops(run_pass(PASS, net.model(both))) == ["Conv", "Conv", "Add"]


def test_stays_for_a_pooling_beside_the_convolution() -> None:
    net = Sketch()
    data = padded(net, AROUND)
    pooled = net.node("AveragePool", "pool", data, kernel_shape=[3, 3])
    model = net.model(net.conv("block", data, (3, 4), 3), pooled)
    module = run_pass(PASS, model)
    assert ops(module) == ["Pad", "AveragePool", "Conv"] or ops(module) == ["Pad", "Conv", "AveragePool"]
    (refusal,) = PASS.refusals(module)
    assert "pool is a AveragePool" in refusal.reason


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (pad_and_convolve(AROUND, mode="reflect"), "mode is reflect"),
        (pad_and_convolve(AROUND, 1.0), "pads with 1.0"),
        (pad_and_convolve([0, 0, -1, 0, 0, 0, 0, 0]), "cuts off -1"),
        (pad_and_convolve([0, 0, 1, 0, 1, 0, 0, 0]), "pads batch or channels"),
    ],
    ids=["mode", "value", "negative", "batch"],
)
def test_refuses(model: onnx.ModelProto, reason: str) -> None:
    assert reason in refused(PASS, model)["pad"]


def test_refuses_amounts_from_run_time() -> None:
    net = Sketch()
    data = net.node("Pad", "pad", net.input("x", [1, 3, 6, 7]), net.input("amounts", [8], onnx.TensorProto.INT64))
    model = net.model(net.node("Relu", "act", data))
    assert "computed at run time" in refused(PASS, model)["pad"]


def test_refuses_named_axes() -> None:
    net = Sketch(opset=18)
    pads, axes = net.weight("pads", np.array([1, 1], np.int64)), net.weight("axes", np.array([2], np.int64))
    data = net.node("Pad", "pad", net.input("x", [1, 3, 6, 7]), pads, "", axes)
    model = net.model(net.conv("block", data, (3, 4), 3))
    assert "names its axes" in refused(PASS, model)["pad"]
