"""fuse-preprocessing: the chain, numbers, every refusal, second run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mdcompiler.passes.fuse_preprocessing import FusePreprocessing
from tests.graphs import Sketch, detector_like, resnet_like
from tests.pass_checks import groups, module_of, refused, run_pass

PASS = FusePreprocessing()


def test_joins_the_stem() -> None:
    module = run_pass(PASS, detector_like())
    assert groups(module) == {"C1/b0.conv/conv": ["Cast", "Transpose", "Mul", "Add", "Conv"]}


def test_a_float_input_is_nothing_to_explain() -> None:
    assert refused(PASS, resnet_like()) == {}


def preprocessing(
    perm: tuple[int, ...] = (0, 3, 1, 2), scale: Any = 2.0, shared: bool = False, swapped: bool = False
) -> onnx.ModelProto:
    net = Sketch()
    data = net.input("image", [1, 5, 5, 5], TensorProto.UINT8)
    data = net.node("Cast", "cast", data, to=TensorProto.FLOAT)
    data = net.node("Transpose", "transpose", data, perm=list(perm))
    data = net.node("Mul", "scale", data, net.weight("two", np.array(scale, np.float32)))
    data = net.node("Add", "offset", data, net.weight("one", np.float32(-1)))
    filters = net.weight("filters", np.ones((5, 5, 5, 5), np.float32))
    last = net.node("Conv", "conv", *((filters, data) if swapped else (data, filters)))
    outputs = [last, net.node("Relu", "also", "offset")] if shared else [last]
    return net.model(*outputs)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (preprocessing(perm=(0, 1, 3, 2)), "the transpose is [0, 1, 3, 2]"),
        (preprocessing(scale=[1, 2, 3, 4, 5]), "scale has no constant operand with a single element"),
        (preprocessing(shared=True), "its inner value offset is also read by also"),
        (preprocessing(swapped=True), "the picture is the weight of conv"),
    ],
    ids=["perm", "per channel", "shared", "swapped"],
)
def test_refuses(model: onnx.ModelProto, reason: str) -> None:
    assert reason in refused(PASS, model)["cast"]


def test_refuses_a_chain_that_ends_early() -> None:
    net = Sketch()
    data = net.node("Cast", "cast", net.input("image", [1, 5, 5, 3], TensorProto.UINT8), to=TensorProto.FLOAT)
    model = net.model(net.node("Relu", "act", data))
    assert refused(PASS, model)["cast"].startswith("Cast is not followed by Transpose")


def test_a_grouped_convolution_is_no_stem() -> None:
    net = Sketch()
    data = net.node("Cast", "cast", net.input("image", [1, 5, 5, 3], TensorProto.UINT8), to=TensorProto.FLOAT)
    data = net.node("Transpose", "transpose", data, perm=[0, 3, 1, 2])
    data = net.node("Mul", "scale", data, net.weight("two", np.float32(2)))
    data = net.node("Add", "offset", data, net.weight("one", np.float32(-1)))
    model = net.model(net.conv("dw", data, (3, 3), 3, group=3))
    assert refused(PASS, model)["cast"] == "dw/conv has 3 groups; a stem's convolution reads every channel"


def test_without_stem_convolution_nothing_is_joined() -> None:
    module = module_of(resnet_like())
    assert PASS.run(module) == 0
    assert groups(module) == {}
