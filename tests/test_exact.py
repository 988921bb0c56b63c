"""The network in float64: own kernels against the onnx package's evaluator, and what has no float64 form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import mdcompiler
from mdcompiler.exact import ExactNetwork, NoExactFormError
from mdcompiler.reference import run_reference
from tests.onnx_models import chain, one_node

SCALES = {"s": np.array([1, 1, 2, 2], np.float32)}
RANDOM = np.random.default_rng(5)


def values(*shape: int) -> NDArray[np.float32]:
    return RANDOM.standard_normal(shape).astype(np.float32)


def evaluated(model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The onnx package's evaluator on the same network with every number in float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for tensor in wide.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float64), tensor.name))
    fed = {name: array.astype(np.float64) for name, array in inputs.items()}
    outputs: Any = ReferenceEvaluator(wide).run(None, fed)
    return np.asarray(outputs[0])


WINDOWS: list[tuple[str, dict[str, Any]]] = [
    ("Conv", {"pads": [1, 1, 1, 1]}),
    ("Conv", {"pads": [0, 1, 2, 1], "strides": [2, 3]}),
    ("Conv", {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("Conv", {"auto_pad": "SAME_LOWER"}),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
]


@pytest.mark.parametrize(("op", "attributes"), WINDOWS)
@pytest.mark.parametrize("group", [1, 2, 4])
def test_windows(op: str, attributes: dict[str, Any], group: int) -> None:
    if op != "Conv" and group > 1:
        pytest.skip("pooling has no groups")
    extra = {"group": group} if op == "Conv" else {}
    constants = {"w": values(8, 4 // group, 3, 3), "b": values(8)} if op == "Conv" else {}
    model = one_node(op, ["x", *constants], {"x": (2, 4, 9, 8)}, constants, **attributes, **extra)
    x = values(2, 4, 9, 8)
    got = ExactNetwork(model).run({"x": x})["y"]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, evaluated(model, {"x": x}), atol=1e-12)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Relu", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("HardSigmoid", {"alpha": 0.3}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("Softmax", {"axis": 1}),
        ("Elu", {}),
        ("Erf", {}),
        ("GlobalAveragePool", {}),
        ("Transpose", {"perm": [0, 2, 3, 1]}),
    ],
)
def test_operators_in_float64(op: str, attributes: dict[str, Any]) -> None:
    model, x = one_node(op, ["x"], {"x": (1, 3, 4, 5)}, {}, **attributes), values(1, 3, 4, 5) * 3
    got = ExactNetwork(model).run({"x": x})["y"]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, evaluated(model, {"x": x}), rtol=1e-9, atol=1e-12)


def test_casts_and_constants_become_wide() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(1 / 3, np.float32))),
        helper.make_node("Mul", ["f", "c"], ["y"]),
    ]
    model = chain(nodes, {"x": (4,)}, {}, dtype=onnx.TensorProto.UINT8)
    got = ExactNetwork(model).run({"x": np.arange(4, dtype=np.uint8)})["y"]
    np.testing.assert_array_equal(got, np.arange(4) * np.float64(np.float32(1 / 3)))


def test_what_has_no_wide_form_is_computed_in_float32() -> None:
    model = one_node(
        "Resize", ["x", "", "s"], {"x": (1, 8, 96, 96)}, {"s": np.array([1, 1, 2, 2], "f4")}, mode="linear"
    )
    x = values(1, 8, 96, 96)
    got = ExactNetwork(model).run({"x": x})["y"]
    np.testing.assert_array_equal(got, run_reference(model, {"x": x})["y"].astype(np.float64))


def test_what_nobody_computes_is_named() -> None:
    model = one_node("Unheard", ["x"], {"x": (1,)}, {})
    with pytest.raises(NoExactFormError, match=r"it \(Unheard\)"):
        ExactNetwork(model).run({"x": values(1)})


def test_half_precision_leaves_in_its_own_type(tmp_path: Path) -> None:
    """The arbiter itself keeps more digits, to judge by."""
    net = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 3])],
    )
    model = helper.make_model(net, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "half.onnx"
    path.write_bytes(model.SerializeToString())
    with mdcompiler.compile(path, "null").load() as detector:
        found = detector.run({"x": np.full((1, 3), 1.1, np.float16)})["y"]
    np.testing.assert_array_equal(found, np.full((1, 3), np.float16(1.1) ** 2))
    assert found.dtype == np.float16
