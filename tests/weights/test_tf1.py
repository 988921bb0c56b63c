"""Import from TensorFlow 1 checkpoints with the published names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.spec import load_spec, weight_shapes
from mdcompiler.weights import Weights, seeded_weights, tf1_names, weights_for
from mdcompiler.weights.tf1_names import backbone_scope
from tests.weights.damage import Edit, edits, flipped, survives, truncations
from tests.weights.small_spec import small_spec
from tests.weights.tf1_writer import entry, field, sstable, write_checkpoint

SCOPE = "FeatureExtractor/MobileDetEdgeTPU"
SMALL = small_spec()
SHAPES = weight_shapes(SMALL)

# Names read in the indexes of the published checkpoints, with their shapes there.
PUBLISHED_CPU = {
    "FeatureExtractor/MobileDetCPU/Conv/weights": (3, 3, 3, 16),
    "FeatureExtractor/MobileDetCPU/Conv/BatchNorm/moving_variance": (16,),
    "FeatureExtractor/MobileDetCPU/IBNNoExpansion/SeparableConv2d/depthwise_weights": (3, 3, 16, 1),
    "FeatureExtractor/MobileDetCPU/IBNNoExpansion/SqueezeExcite/Conv_1/weights": (1, 1, 8, 16),
    "FeatureExtractor/MobileDetCPU/IBNNoExpansion/Conv/weights": (1, 1, 16, 8),
    "FeatureExtractor/MobileDetCPU/IBN/Conv/weights": (1, 1, 8, 32),
    "FeatureExtractor/MobileDetCPU/IBN/SqueezeExcite/Conv/biases": (8,),
    "FeatureExtractor/MobileDetCPU/IBN/Conv_1/weights": (1, 1, 32, 16),
    "FeatureExtractor/MobileDetCPU/IBN/SeparableConv2d/BatchNorm/gamma": (32,),
    "BoxPredictor_0/ClassPredictor/weights": (1, 1, 72, 273),
    "BoxPredictor_5/BoxEncodingPredictor/biases": (24,),
}
PUBLISHED_EDGETPU = {
    f"{SCOPE}/TuckerConv/Conv_2/weights": (1, 1, 16, 16),
    f"{SCOPE}/FusedConv_9/Conv_1/weights": (1, 1, 288, 72),
    f"{SCOPE}/IBN_10/SeparableConv2d/depthwise_weights": (5, 5, 960, 1),
    f"{SCOPE}/C5_1_Conv2d_2_1x1_256/weights": (1, 1, 384, 256),
    f"{SCOPE}/C5_1_Conv2d_5_1x1_64/BatchNorm/beta": (64,),
    f"{SCOPE}/C5_2_Conv2d_2_3x3_s2_512/weights": (1, 1, 256, 512),
    f"{SCOPE}/C5_2_Conv2d_5_3x3_s2_128_depthwise/depthwise_weights": (3, 3, 64, 1),
    "BoxPredictor_3/ClassPredictor_depthwise/BatchNorm/moving_mean": (256,),
    "BoxPredictor_1/BoxEncodingPredictor_depthwise/depthwise_weights": (3, 3, 384, 1),
}


def as_tf1(weights: Weights, scope: str = SCOPE) -> dict[str, NDArray[Any]]:
    """`weights` under TensorFlow's names and in its layouts."""
    shapes = {name: values.shape for name, values in weights.items()}
    return {theirs: _to_hwio(theirs, weights[ours]) for ours, theirs in tf1_names(shapes, scope).items()}


def _to_hwio(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.ndim != 4:
        return values
    return values.transpose((2, 3, 0, 1) if name.endswith("depthwise_weights") else (2, 3, 1, 0))


@pytest.mark.parametrize(
    ("model", "scope", "count", "published"),
    [
        ("mobiledet-cpu", "MobileDetCPU", 505, PUBLISHED_CPU),
        ("mobiledet-edgetpu", "MobileDetEdgeTPU", 429, PUBLISHED_EDGETPU),
    ],
)
def test_published_names_and_shapes(model: str, scope: str, count: int, published: dict[str, Any]) -> None:
    shapes = weight_shapes(load_spec(model))
    names = tf1_names(shapes, f"FeatureExtractor/{scope}")
    assert names.keys() == shapes.keys()
    assert len(set(names.values())) == len(names) == count
    empty = {ours: np.broadcast_to(np.float32(0), shape) for ours, shape in shapes.items()}
    there = {theirs: _to_hwio(theirs, empty[ours]).shape for ours, theirs in names.items()}
    assert {name: there.get(name) for name in published} == published


@pytest.mark.parametrize("model", ["mobiledet-dsp", "mobiledet-gpu"])
def test_every_mobiledet_has_a_name_for_every_tensor(model: str) -> None:
    shapes = weight_shapes(load_spec(model))
    names = tf1_names(shapes, "FeatureExtractor/X")
    assert names.keys() == shapes.keys()
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("snappy", [False, True])
@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001"])
def test_import_equals_what_was_written(tmp_path: Path, snappy: bool, ending: str) -> None:
    weights = seeded_weights(SHAPES, 1)
    leftovers: dict[str, NDArray[Any]] = {
        "global_step": np.array(400000, np.int64),
        f"{SCOPE}/Conv/weights/Momentum": np.zeros((3, 3, 3, 8), np.float32),
        f"{SCOPE}/Conv/weights/ExponentialMovingAverage": np.zeros((3, 3, 3, 8), np.float32),
        f"{SCOPE}/Conv/act_quant/min": np.zeros((), np.float32),
    }
    write_checkpoint(tmp_path / "model.ckpt-400000", as_tf1(weights) | leftovers, snappy=snappy)
    back = weights_for(SMALL, tmp_path / f"model.ckpt-400000{ending}")
    assert back.keys() == weights.keys()
    for name, values in weights.items():
        np.testing.assert_array_equal(back[name], values)


def test_full_size_import(tmp_path: Path) -> None:
    spec = load_spec("mobiledet-edgetpu")
    weights = seeded_weights(weight_shapes(spec), 2)
    write_checkpoint(tmp_path / "model.ckpt", as_tf1(weights))
    back = weights_for(spec, tmp_path / "model.ckpt.index")
    assert all(np.array_equal(back[name], values) for name, values in weights.items())


def test_misfits_are_listed_at_once(tmp_path: Path) -> None:
    tensors = as_tf1(seeded_weights(SHAPES, 1))
    del tensors[f"{SCOPE}/FusedConv/Conv_1/weights"]
    tensors[f"{SCOPE}/Stranger/weights"] = np.zeros((2,), np.float32)
    tensors[f"{SCOPE}/TuckerConv/Conv/weights"] = np.zeros((1, 1, 3, 5), np.float32)
    write_checkpoint(tmp_path / "m", tensors)
    with pytest.raises(WeightsError) as caught:
        weights_for(SMALL, tmp_path / "m")
    text = str(caught.value)
    assert "3 tensor(s) at fault" in text
    assert "C2/b0.fused/project/weight: missing; expected shape [16, 16, 1, 1]" in text
    assert "C2/b1.tucker/reduce/weight: shape [5, 3, 1, 1]; expected [8, 16, 1, 1]" in text
    assert f"{SCOPE}/Stranger/weights: extra" in text


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "other", {"resnet/conv1/weights": np.zeros(3, np.float32)})
    with pytest.raises(WeightsError, match="has no variable FeatureExtractor/<network>/Conv/weights"):
        weights_for(SMALL, tmp_path / "other")
    assert backbone_scope(["FeatureExtractor/A/Conv/weights", "FeatureExtractor/B/Conv/weights"]) is None


def test_another_type_is_refused(tmp_path: Path) -> None:
    tensors = as_tf1(seeded_weights(SHAPES, 1))
    tensors[f"{SCOPE}/Conv/BatchNorm/gamma"] = np.zeros(8, np.float64)
    write_checkpoint(tmp_path / "m", tensors)
    with pytest.raises(WeightsError, match="Conv/BatchNorm/gamma is of TensorFlow type 2"):
        weights_for(SMALL, tmp_path / "m")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"size": 2**60}, "at most"),
        ({"offset": 2**40}, "claims shape"),
        ({"shard": 5}, "names shard 5 of 1"),
        ({"size": 4}, "claims shape"),
    ],
)
def test_entries_that_lie(tmp_path: Path, changed: dict[str, int], reason: str) -> None:
    array = np.zeros((3, 3, 3, 8), np.float32)
    table = [(b"", field(1, 1)), (f"{SCOPE}/Conv/weights".encode(), entry(array, **changed))]
    (tmp_path / "m.index").write_bytes(sstable(table))
    (tmp_path / "m.data-00000-of-00001").write_bytes(array.tobytes())
    with pytest.raises(WeightsError, match=reason):
        weights_for(SMALL, tmp_path / "m.index")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", as_tf1(seeded_weights(SHAPES, 1)))
    (tmp_path / "m.data-00000-of-00001").unlink()
    with pytest.raises(WeightsError, match=r"m\.data-00000-of-00001 is no file"):
        weights_for(SMALL, tmp_path / "m.index")


def test_truncated_index_and_shard(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m", as_tf1(seeded_weights(SHAPES, 1)), snappy=True)
    for name in ("m.index", "m.data-00000-of-00001"):
        path = tmp_path / name
        whole = path.read_bytes()
        for part in truncations(whole, 20):
            assert not survives(path, part, lambda _: weights_for(SMALL, tmp_path / "m.index"))
        path.write_bytes(whole)


@given(value=st.binary(max_size=40), header=st.binary(max_size=8))
def test_garbage_behind_sound_checksums(tmp_path_factory: pytest.TempPathFactory, value: bytes, header: bytes) -> None:
    folder = tmp_path_factory.mktemp("garbage")
    (folder / "m.data-00000-of-00001").write_bytes(bytes(100))
    data = sstable([(b"", header), (f"{SCOPE}/Conv/weights".encode(), value)])
    assert not survives(folder / "m.index", data, lambda file: weights_for(SMALL, file))


@given(flips=edits)
def test_damaged_index(tmp_path_factory: pytest.TempPathFactory, flips: list[Edit]) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    array = np.zeros((3, 3, 3, 8), np.float32)
    write_checkpoint(folder / "m", {f"{SCOPE}/Conv/weights": array, "global_step": np.array(1, np.int64)}, snappy=True)
    path = folder / "m.index"
    survives(path, flipped(path.read_bytes(), flips), lambda file: weights_for(SMALL, file))
