"""Import from `.tflite` files of every kind that converters write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from mdcompiler.errors import MissingToolError, WeightsError
from mdcompiler.spec import Spec, load_spec, weight_shapes
from mdcompiler.weights import check_weights, fit_spec, read_tflite, weights_for
from tests.weights.damage import Edit, edits, flipped, survives, truncations
from tests.weights.small_spec import small_spec

writer = pytest.importorskip("tests.weights.tflite_writer", reason="needs the extra `tflite`")
SPEC = small_spec()


def save(path: Path, spec: Spec = SPEC, **options: Any) -> Any:
    """What a reader of the file must find."""
    return writer.TfliteWriter(spec, **options).save(path)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float16"])
def test_weights_of_every_type(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "model.tflite"
    written = save(path, dtype=dtype)
    weights = weights_for(SPEC, path)
    for name in weight_shapes(SPEC):
        if name.endswith(("/weight", "/bias")):
            np.testing.assert_array_equal(weights[name], written.weights[name], err_msg=name)


def test_batchnorm_adds_the_bias_and_nothing_else(tmp_path: Path) -> None:
    written = save(tmp_path / "model.tflite")
    weights = read_tflite(tmp_path / "model.tflite", SPEC).weights
    for path, epsilon in (("C2/b1.tucker/core", 0.01), ("extra/l2/dw", 0.001)):
        gamma, beta, mean, variance = (weights[f"{path}/bn/{part}"] for part in ("gamma", "beta", "mean", "variance"))
        np.testing.assert_allclose(gamma / np.sqrt(variance + np.float32(epsilon)), 1.0, rtol=2e-7)
        np.testing.assert_array_equal(beta, written.weights[f"{path}/bias"])
        assert not mean.any()


def test_scales_and_zero_points_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    written = save(path, dtype="int8")
    found = read_tflite(path, SPEC).quantization
    assert {name: found[name].scale[0] for name in written.scales} == pytest.approx(written.scales)
    names = ("input/offset", "C1/b0.conv/conv/act", "C2/b1.tucker/add", "C3/b0.ibn/dw/bn", "C3/b0.ibn/se/gate")
    assert all(found[name].zero_point == (3,) for name in names)
    for conv in ("C2/b0.fused/expand", "C3/b1.ibn/dw"):
        weight = found[f"{conv}/weight"]
        assert (weight.dtype, weight.axis, len(weight.scale)) == ("int8", 0, weight_shapes(SPEC)[f"{conv}/weight"][0])
        assert found[f"{conv}/bias"].dtype == "int32"


def test_integers_can_be_recovered(tmp_path: Path) -> None:
    save(tmp_path / "model.tflite", dtype="int8")
    found = read_tflite(tmp_path / "model.tflite", SPEC)
    name = "C3/b1.ibn/dw/weight"
    scale = np.array(found.quantization[name].scale).reshape(-1, 1, 1, 1)
    integers = np.rint(found.weights[name] / scale)
    assert np.abs(integers).max() <= 128
    np.testing.assert_array_equal(found.quantization[name].dequantize(integers), found.weights[name])


def test_anchors(tmp_path: Path) -> None:
    written = save(tmp_path / "model.tflite")
    anchors = read_tflite(tmp_path / "model.tflite", SPEC).anchors
    assert anchors is not None
    np.testing.assert_array_equal(anchors, written.anchors)


def test_a_file_without_postprocessing(tmp_path: Path) -> None:
    save(tmp_path / "raw.tflite", postprocess={})
    found = read_tflite(tmp_path / "raw.tflite", SPEC)
    check_weights(weight_shapes(SPEC), found.weights)
    assert found.anchors is None
    assert fit_spec(SPEC, tmp_path / "raw.tflite").changes == ()


def test_four_class_slots_do_not_confuse_boxes_with_scores(tmp_path: Path) -> None:
    """With three classes both predictors of a level have equal shapes: only the outputs tell them apart."""
    written = save(tmp_path / "model.tflite")
    weights = read_tflite(tmp_path / "model.tflite", SPEC).weights
    box, scores = (f"head/l1/{branch}/pw/weight" for branch in ("box", "class"))
    assert weights[box].shape == weights[scores].shape
    np.testing.assert_array_equal(weights[box], written.weights[box])
    np.testing.assert_array_equal(weights[scores], written.weights[scores])


def test_the_spec_is_fitted_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    save(path, small_spec(classes=5).with_(height=48))
    fitted = fit_spec(SPEC, path)
    assert (fitted.spec.head.classes, fitted.spec.input.height, fitted.spec.postprocess.mode) == (5, 48, "regular")
    assert fitted.spec.postprocess.iou_threshold == 0.5
    assert "head.classes 3 -> 5" in fitted.changes
    assert "input.height 32 -> 48" in fitted.changes
    check_weights(weight_shapes(fitted.spec), weights_for(fitted.spec, path))
    assert fit_spec(fitted.spec, path).changes == ()


def test_only_tflite_files_change_a_spec(tmp_path: Path) -> None:
    assert fit_spec(SPEC, None).spec is SPEC
    assert fit_spec(SPEC, tmp_path / "any.npz").spec is SPEC


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (load_spec("mobiledet-cpu"), r"at C1/b0.conv/conv it has 0 fitting .* spec has one CONV_2D of \[16, 3, 3, 3\]"),
        (small_spec(classes=9), r"at head/l0/class/pw it has 0 fitting"),
        (SPEC.with_(width=2.0), r"CONV_2D of \[8, 3, 3, 3\] stride 2"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, spec: Spec, said: str) -> None:
    save(tmp_path / "model.tflite")
    with pytest.raises(WeightsError, match=said):
        weights_for(spec, tmp_path / "model.tflite")


def test_a_residual_too_few_or_too_many_is_noticed(tmp_path: Path) -> None:
    data = SPEC.to_data()
    data["blocks"]["C3"][1]["residual"] = "off"
    without = Spec.model_validate(data)
    save(tmp_path / "with.tflite")
    save(tmp_path / "without.tflite", without)
    with pytest.raises(WeightsError, match=r"at C3/b2.ibn/expand it has 0 fitting"):
        weights_for(without, tmp_path / "with.tflite")
    with pytest.raises(WeightsError, match=r"at C3/b1.ibn/add it has no ADD"):
        weights_for(SPEC, tmp_path / "without.tflite")


def test_another_activation_is_noticed(tmp_path: Path) -> None:
    data = SPEC.to_data()
    data["blocks"]["C1"][0]["activation"] = "relu"
    save(tmp_path / "model.tflite")
    with pytest.raises(WeightsError, match=r"at C1/b0.conv/conv it has activation RELU6 where the spec has relu"):
        weights_for(Spec.model_validate(data), tmp_path / "model.tflite")


def test_convolutions_left_over_are_noticed(tmp_path: Path) -> None:
    made = writer.TfliteWriter(SPEC)
    made._operator(
        "CONV_2D", made.operators[0].inputs, [made._activation(None, (1, 2, 2, 8))], writer._options("Conv2DOptions")
    )
    made.save(tmp_path / "model.tflite")
    with pytest.raises(WeightsError, match="1 more convolutions"):
        weights_for(SPEC, tmp_path / "model.tflite")


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model.tflite")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(MissingToolError, match=r"pip install mdcompiler\[tflite\]"):
        weights_for(SPEC, tmp_path / "model.tflite")


def test_files_that_are_no_tflite(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"PK\x03\x04 not this")
    with pytest.raises(WeightsError, match="is no TFLite file"):
        weights_for(SPEC, tmp_path / "a.tflite")


@pytest.mark.parametrize("changed", [{"max_detections": -4}, {"nms_iou_threshold": 7.5}, {"y_scale": 0.0}])
def test_options_that_no_spec_may_have(tmp_path: Path, changed: dict[str, float]) -> None:
    save(tmp_path / "model.tflite", postprocess=writer.POSTPROCESS | changed)
    with pytest.raises(WeightsError, match=r"says what no spec may: .*postprocess"):
        fit_spec(SPEC, tmp_path / "model.tflite")


def test_scales_beyond_float32_are_refused(tmp_path: Path) -> None:
    made = writer.TfliteWriter(SPEC, "int8")
    weight = made.tensors[made.operators[0].inputs[1]]
    weight.quantization.scale = np.full_like(weight.quantization.scale, 3e38)
    made.save(tmp_path / "model.tflite")
    with pytest.raises(WeightsError, match=r"C1/b0.conv/conv/weight: \d+ of 216 values are not finite"):
        weights_for(SPEC, tmp_path / "model.tflite")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_that_are_none(tmp_path: Path, scale: float) -> None:
    made = writer.TfliteWriter(SPEC)
    made.tensors[0].quantization.scale = np.array([scale], np.float32)
    made.save(tmp_path / "model.tflite")
    with pytest.raises(WeightsError, match="scale that is no positive number"):
        weights_for(SPEC, tmp_path / "model.tflite")


def read_all(path: Path) -> None:
    weights_for(fit_spec(SPEC, path).spec, path)


def test_truncated_files(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    save(path)
    for part in truncations(path.read_bytes(), 40):
        assert not survives(path, part, read_all)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "model.tflite"
    save(path, dtype="int8")
    return path.read_bytes()


@given(flips=edits)
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, sound: bytes, flips: list[Edit]) -> None:
    survives(tmp_path_factory.mktemp("damaged") / "model.tflite", flipped(sound, flips), read_all)
