"""lower-mean: before and after, numbers, refusals, second run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mdcompiler.passes.lower_mean import LowerMean
from tests.graphs import Sketch
from tests.pass_checks import ops, refused, run_pass

PASS = LowerMean()


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
@pytest.mark.parametrize(("keep", "expected"), [(1, []), (0, ["Squeeze"])])
def test_becomes_global_pooling(axes: list[int], keep: int, expected: list[str]) -> None:
    net = Sketch()
    data = net.node("ReduceMean", "mean", net.input("x", [1, 3, 4, 5]), axes=axes, keepdims=keep)
    module = run_pass(PASS, net.model(data))
    assert ops(module) == ["GlobalAveragePool", *expected]
    assert module.graph.nodes[-1].name == "mean"


def test_axes_as_an_input() -> None:
    net = Sketch(opset=18)
    axes = net.weight("axes", np.array([2, 3], np.int64))
    model = net.model(net.node("ReduceMean", "mean", net.input("x", [1, 3, 4, 5]), axes))
    assert ops(run_pass(PASS, model)) == ["GlobalAveragePool"]


def mean(shape: list[int], dtype: int = TensorProto.FLOAT, **attributes: Any) -> onnx.ModelProto:
    net = Sketch()
    return net.model(net.node("ReduceMean", "mean", net.input("x", shape, dtype), **attributes))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (mean([1, 3, 4, 5], axes=[1]), "averages axes [1] of 4"),
        (mean([3, 4, 5], axes=[1, 2]), "averages axes [1, 2] of 3"),
        (mean([1, 3, 4, 5]), "its axes are not constant"),
        (mean([1, 3, 4, 5], TensorProto.INT32, axes=[2, 3]), "averages int32"),
    ],
    ids=["channels", "rank", "no axes", "integers"],
)
def test_refuses(model: onnx.ModelProto, reason: str) -> None:
    assert reason in refused(PASS, model)["mean"]
