"""What is compiled is compared with the file's own model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import mdcompiler
from mdcompiler import convert_opset
from mdcompiler.errors import ModelError
from mdcompiler.meaning import check_meaning
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.target import find_target
from tests.onnx_models import chain, one_node

X = np.random.default_rng(3).standard_normal((1, 2, 4, 4)).astype(np.float32)


def test_a_conversion_that_forgets_is_refused_by_the_name_of_its_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(convert_opset, "_say_where", lambda *_: None)
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="before"),
        helper.make_node("Resize", ["r", "s"], ["z"], name="grow", mode="linear"),
        helper.make_node("Neg", ["z"], ["y"], name="after"),
    ]
    path = tmp_path / "old.onnx"
    path.write_bytes(chain(nodes, {"x": X.shape}, {"s": np.array([1, 1, 2, 2], np.float32)}, 10).SerializeToString())
    with pytest.raises(ModelError, match=r"changed what it computes, first at node 'grow' \(Resize"):
        mdcompiler.compile(path, target="null")


def test_names_that_reading_changes_are_matched_by_their_place() -> None:
    module = module_from_model(one_node("Relu", ["x"], {"x": X.shape}, {}), find_target("null"))
    module.graph.inputs[0].name, module.graph.outputs[0].name = "renamed", "out"
    check_meaning(module, {"renamed": X})


def test_a_changed_constant_is_noticed() -> None:
    model = one_node("Mul", ["x", "w"], {"x": X.shape}, {"w": np.full((1, 2, 1, 1), 2, np.float32)})
    module = module_from_model(model, find_target("null"))
    next(iter(t for t in module.graph.tensors().values() if t.name == "w")).values = np.full((1, 2, 1, 1), 2.1, "f4")
    with pytest.raises(ModelError, match="node 'it'"):
        check_meaning(module, {"x": X})


def test_what_no_judge_can_run_is_said_in_a_sentence(tmp_path: Path) -> None:
    model = one_node(
        "Resize",
        ["x", "", "", "s"],
        {"x": X.shape},
        {"s": np.array([1, 2, 5, 6], np.int64)},
        11,
        mode="nearest",
        coordinate_transformation_mode="tf_half_pixel_for_nn",
    )
    path = tmp_path / "nobody.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="Without a reference nothing says what the network means"):
        mdcompiler.compile(path, target="null")


def test_what_one_judge_refuses_the_other_runs(tmp_path: Path) -> None:
    w = np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32)
    outputs = []
    for attributes in ({"auto_pad": "SAME_UPPER"}, {"pads": [2, 2, 2, 2]}):
        model = one_node("Conv", ["x", "w"], {"x": X.shape}, {"w": w}, dilations=[2, 2], **attributes)
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        with mdcompiler.compile(path, target="null").load() as detector:
            outputs.append(detector.run({"x": X})["y"])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)


def test_convolution_in_float64_has_a_judge(tmp_path: Path) -> None:
    w = np.random.default_rng(0).standard_normal((3, 2, 3, 3))
    model = one_node("Conv", ["x", "w"], {"x": X.shape}, {"w": w}, dtype=onnx.TensorProto.DOUBLE)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with mdcompiler.compile(path, target="null").load() as detector:
        assert detector.run({"x": X.astype(np.float64)})["y"].dtype == np.float64
