"""fuse-head: the pattern, numbers, every refusal, second run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mdcompiler.passes.fuse_activation import FuseActivation
from mdcompiler.passes.fuse_head import FuseHead
from tests.graphs import Sketch, detector_like
from tests.pass_checks import groups, refused, run_pass

PASS = FuseHead()


def test_joins_transpose_and_reshape() -> None:
    assert groups(run_pass(PASS, detector_like())) == {"head/l0/box/pw": ["Conv", "Transpose", "Reshape"]}


def head(
    perm: tuple[int, ...] = (0, 2, 3, 1), act: bool = False, shared: bool = False, dynamic: bool = False
) -> onnx.ModelProto:
    net = Sketch()
    rows = net.conv("pw", net.input("x", [1, 4, 3, 3]), (4, 8))
    inner = net.node("Relu", "act", rows) if act else rows
    turned = net.node("Transpose", "transpose", inner, perm=list(perm))
    shape = net.weight("shape", np.array([1, -1, 4], np.int64))
    shape = net.node("Mul", "computed", shape, net.input("one", [1], TensorProto.INT64)) if dynamic else shape
    last = net.node("Reshape", "reshape", turned, shape)
    model = net.model(*([last, net.node("Sin", "sin", rows)] if shared else [last]))
    if dynamic:
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("reshape", TensorProto.FLOAT, [1, 18, 4]))
    return model


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"perm": (0, 3, 2, 1)}, "the transpose is [0, 3, 2, 1]"),
        ({"act": True}, "act stands between the convolution and the transpose"),
        ({"shared": True}, "its inner value pw/conv is also read by sin"),
        ({"dynamic": True}, "the shape of reshape is not constant"),
    ],
    ids=["perm", "activation", "shared", "shape"],
)
def test_refuses(options: dict[str, Any], reason: str) -> None:
    assert reason in refused(PASS, head(**options), FuseActivation())["transpose"]


def test_a_transpose_elsewhere_is_nothing_to_explain() -> None:
    net = Sketch()
    turned = net.node("Transpose", "transpose", net.input("x", [1, 4, 3, 3]), perm=[0, 2, 3, 1])
    model = net.model(net.node("Reshape", "flat", turned, net.weight("shape", np.array([-1], np.int64))))
    assert refused(PASS, model) == {}


def test_a_grouped_convolution_is_no_head() -> None:
    net = Sketch()
    data = net.conv("dw", net.input("x", [1, 4, 3, 3]), (4, 4), 3, group=4)
    data = net.node("Transpose", "transpose", data, perm=[0, 2, 3, 1])
    model = net.model(net.node("Reshape", "reshape", data, net.weight("shape", np.array([1, 9, 4]))))
    reason = refused(PASS, model, FuseActivation())["transpose"]
    assert reason == "dw/conv has 4 groups; a head's convolution reads every channel"
