"""Older resizing keeps its coordinates."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mdcompiler.errors import ModelError
from mdcompiler.meaning import check_meaning, run_original
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.reference import run_reference
from mdcompiler.target import find_target
from tests.graphs import Sketch
from tests.onnx_models import one_node

X = np.random.default_rng(3).standard_normal((1, 2, 5, 7)).astype(np.float32)
FACTORS = [(2, 2), (3, 3), (1, 2), (1.6, 2.3), (0.6, 0.6), (2, 0.5), (0.4, 1.7)]


@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("op", "opset"), [("Upsample", 9), ("Resize", 10)])
def test_older_resizing_samples_where_it_did(op: str, opset: int, mode: str, factors: tuple[float, float]) -> None:
    if op == "Upsample" and min(factors) < 1:
        pytest.skip("Upsample only grows")
    model = one_node(op, ["x", "s"], {"x": X.shape}, {"s": np.array([1, 1, *factors], np.float32)}, opset, mode=mode)
    module = module_from_model(model, find_target("null"))
    want = run_reference(model, {"x": X})["y"]
    np.testing.assert_array_equal(run_reference(module.to_onnx(), {"x": X})["y"], want)
    np.testing.assert_array_equal(run_original(module, {"x": X})["y"], want)
    check_meaning(module, {"x": X})


def test_scales_in_an_attribute() -> None:
    model = one_node("Upsample", ["x"], {"x": X.shape}, {}, 7, mode="linear", scales=[1.0, 1.0, 2.0, 2.0])
    module = module_from_model(model, find_target("null"))
    check_meaning(module, {"x": X})
    assert float(abs(run_reference(module.to_onnx(), {"x": X})["y"] - run_reference(model, {"x": X})["y"]).max()) == 0


def test_a_resizing_inside_a_network_samples_where_it_did() -> None:
    """Only outputs of the network keep their names in the conversion."""
    net = Sketch(opset=9)
    data = net.input("x", [1, 2, 5, 7])
    grown = net.node("Upsample", "up", data, net.weight("scales", np.array([1, 1, 2, 2], np.float32)), mode="linear")
    model = net.model(net.conv("after", grown, (2, 3), 3))
    module = module_from_model(model, find_target("null"))
    got, want = run_reference(module.to_onnx(), {"x": X}), run_reference(model, {"x": X})
    np.testing.assert_allclose(got["after/conv"], want["after/conv"], atol=1e-6)


def test_an_attribute_of_another_type_is_refused() -> None:
    """The converter trusts types: a number where a list belongs ended the process."""
    model = one_node("Squeeze", ["x"], {"x": (1, 4, 1, 1)}, {}, 11, axes=[2, 3])
    attribute = model.graph.node[0].attribute[0]
    attribute.type, attribute.f = onnx.AttributeProto.FLOAT, 0.0
    with pytest.raises(ModelError, match=r"attribute axes is of type FLOAT; INTS is allowed"):
        module_from_model(model, find_target("null"))


def test_weights_that_an_old_format_does_not_list_as_inputs() -> None:
    net = Sketch(opset=7)
    model = net.model(net.conv("c", net.input("x", [1, 2, 5, 7]), (2, 3), 3))
    model.ir_version = 3
    module = module_from_model(model, find_target("null"))
    assert [tensor.name for tensor in module.graph.inputs] == ["x"]
    check_meaning(module, {"x": X})
