"""The example detectors: scenes, training targets, the weights that ship, the torch network they were trained as."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from examples.shapes.accuracy import held_out_scenes, measure
from examples.shapes.outlines import CLASSES
from examples.shapes.scenes import CALIBRATION, HELD_OUT, TRAIN, Scene, draw_scene
from examples.shapes.shipped import HERE, SHIPPED, spec_source, weights_file
from mdcompiler.detections import Detection, decode_boxes
from mdcompiler.lower import lower
from mdcompiler.lowering.ends import postprocess_options
from mdcompiler.matching import corners, encode, match, overlaps
from mdcompiler.reference import run_reference
from mdcompiler.spec import Spec, build_network, load_spec
from mdcompiler.spec.anchors import make_anchors
from mdcompiler.spec.load import parse_spec
from mdcompiler.tolerance import relative_difference
from mdcompiler.weights import weights_for

ROOT = HERE.parents[1]
SMALL = ROOT / "examples" / "specs" / "small.yaml"


def digest(seed: int, size: int) -> str:
    scene = draw_scene(seed, size)
    parts = scene.image.tobytes() + scene.boxes.tobytes() + scene.classes.tobytes()
    return hashlib.sha256(parts).hexdigest()


def as_detections(scene: Scene, shift: float = 0.0) -> list[Detection]:
    """The truth as a detector would say it, every box moved down by `shift` of its height."""
    found = []
    for (ymin, xmin, ymax, xmax), index in zip(scene.boxes.tolist(), scene.classes.tolist(), strict=True):
        down = shift * (ymax - ymin)
        found.append(Detection((ymin + down, xmin, ymax + down, xmax), index, CLASSES[index], 0.9))
    return found


def shapes_spec(name: str) -> Spec:
    return load_spec(spec_source(name))


def test_a_scene_is_its_seed_in_every_process() -> None:
    code = "from tests.test_shapes import digest; print(digest(7, 160))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(7, 160)


def test_other_seeds_are_other_scenes() -> None:
    seeds = [*range(12), TRAIN, TRAIN + 1, CALIBRATION, HELD_OUT + 99]
    assert len({digest(seed, 64) for seed in seeds}) == len(seeds)


@pytest.mark.parametrize("size", [96, 160, 320])
def test_boxes_lie_in_the_picture_and_have_an_area(size: int) -> None:
    for scene in (draw_scene(seed, size) for seed in range(20)):
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.dtype == np.float32
        assert np.all((scene.boxes >= 0) & (scene.boxes <= 1))
        assert np.all((scene.boxes[:, 2:] - scene.boxes[:, :2]) * size >= 2)
        assert scene.labels == [CLASSES[index] for index in scene.classes]


def test_scenes_hold_every_class_and_small_and_large_shapes() -> None:
    scenes = list(held_out_scenes(80, 96))
    boxes = np.concatenate([scene.boxes for scene in scenes])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert {name for scene in scenes for name in scene.labels} == set(CLASSES)
    assert sides.min() < 0.15
    assert sides.max() > 0.45


def test_encoding_is_what_post_processing_undoes() -> None:
    spec = shapes_spec(SHIPPED[0])
    anchors = make_anchors(spec.head.anchors, build_network(spec).sizes)[:40]
    low = np.random.default_rng(0).uniform(0, 0.8, (40, 2))
    boxes = np.concatenate([low, low + np.linspace(0.02, 0.2, 80).reshape(40, 2)], axis=1).astype(np.float32)
    encodings = encode(boxes, anchors, spec.postprocess.scales)
    decoded = decode_boxes(encodings, anchors, postprocess_options(spec.postprocess))
    np.testing.assert_allclose(decoded, boxes, atol=1e-5)


def test_every_shape_has_an_anchor_and_the_rest_is_background() -> None:
    spec = shapes_spec(SHIPPED[0])
    anchors = make_anchors(spec.head.anchors, build_network(spec).sizes)
    for scene in held_out_scenes(10, 96):
        slots, encodings = match(scene.boxes, scene.classes, anchors, spec.postprocess.scales)
        assert set(slots[slots > 0]) == set(scene.classes + 1)
        assert np.all(encodings[slots == 0] == 0)
        far = overlaps(corners(anchors), scene.boxes).max(axis=1) < 1e-3
        assert far.any()
        assert np.all(slots[far] == 0)


def test_a_scene_without_shapes_is_all_background() -> None:
    slots, encodings = match(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.ones((5, 4), np.float32), [10] * 4)
    assert not slots.any()
    assert not encodings.any()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_small_and_fit(name: str) -> None:
    path = weights_file(name)
    assert path.stat().st_size < 4_000_000
    assert {array.dtype.name for array in safetensors.numpy.load_file(path).values()} == {"float16"}
    spec = shapes_spec(name)
    weights = weights_for(spec, path)
    assert spec.head.label_names == CLASSES
    assert all(np.isfinite(array).all() for array in weights.values())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_detectors_find_the_shapes(name: str) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `reference`")
    spec = shapes_spec(name)
    model = lower(spec, weights_for(spec, weights_file(name)))
    right = objects = claims = 0
    for scene in held_out_scenes(12, spec.input.height):
        outputs = run_reference(model, {"image": scene.image[np.newaxis]})
        sure = outputs["scores"][0] >= 0.5
        boxes, classes = outputs["boxes"][0][sure], outputs["classes"][0][sure]
        same = classes[:, None] == scene.classes[None]
        hits = (overlaps(boxes, scene.boxes) >= 0.5) & same
        right += int(hits.any(axis=0).sum())
        objects += len(scene.classes)
        claims += int(sure.sum())
    assert right >= 0.35 * objects, f"{right} of {objects} shapes found"
    assert right >= 0.6 * claims, f"{right} of {claims} detections are right"


def test_accuracy_of_truth_of_moved_boxes_and_of_blindness() -> None:
    pytest.importorskip("pycocotools", reason="needs the extra `eval`")
    scenes = list(held_out_scenes(12, 64))
    told = iter(scenes)
    assert measure(lambda _: as_detections(next(told)), scenes).mean_ap == pytest.approx(1.0)
    told = iter(scenes)
    moved = measure(lambda _: as_detections(next(told), 0.15), scenes)
    # moved by 0.15 of the height, IoU is 0.85 / 1.15 = 0.74 and less where the picture cuts the box
    assert moved.ap50 > 0.9
    assert moved.ap75 < 0.1
    assert measure(lambda _: [], scenes).mean_ap == 0.0


@pytest.mark.parametrize("name", SHIPPED)
def test_torch_network_is_the_lowered_one(name: str) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `train`")
    from mdcompiler.torch import build, export_weights

    spec = shapes_spec(name)
    image = draw_scene(HELD_OUT + 3, spec.input.height).image[np.newaxis]
    model = build(spec, weights_file(name)).eval()
    with torch.no_grad():
        encodings, scores = model(torch.from_numpy(image))
    outputs = run_reference(lower(spec, export_weights(model), raw=True), {"image": image})
    assert relative_difference(encodings.numpy(), outputs["box_encodings"]) <= 1e-5
    assert relative_difference(scores.numpy(), outputs["class_scores"]) <= 1e-5


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    from examples.shapes.train import ShapeBatches
    from mdcompiler.torch import export_weights

    spec = small_spec()
    batches = [ShapeBatches(spec, 2, 0).make(step) for step in range(4)]
    straight = training(spec, tmp_path / "straight")
    for batch in batches:
        straight.learn(batch)
    stopped = training(spec, tmp_path / "stopped")
    for batch in batches[:2]:
        stopped.learn(batch)
    stopped.save()
    resumed = training(spec, tmp_path / "stopped")
    resumed.resume()
    assert resumed.step == 2
    for batch in batches[2:]:
        resumed.learn(batch)
    ends = export_weights(resumed.model)
    for name, array in export_weights(straight.model).items():
        np.testing.assert_array_equal(ends[name], array, err_msg=name)
        assert bool((resumed.average.tensors[name] == straight.average.tensors[name]).all()), name


def test_training_learns(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    from examples.shapes.train import ShapeBatches

    spec = small_spec()
    batch = ShapeBatches(spec, 2, 0).make(0)
    trained = training(spec, tmp_path)
    losses = [sum(trained.learn(batch)) for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_checkpoint_of_another_spec_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `train`")
    training(small_spec(), tmp_path).save()
    other = small_spec("description: another")
    with pytest.raises(SystemExit, match="another spec"):
        training(other, tmp_path).resume()


def small_spec(extra: str = "") -> Spec:
    """The small example with as many classes as there are shapes."""
    data = load_spec(SMALL).with_(classes=len(CLASSES), height=64, width_px=64).to_yaml()
    return parse_spec(data.replace("description: one block of each kind", extra or "description: small"), "small")


def training(spec: Spec, out: Path) -> Any:
    import torch

    from examples.shapes.train import Options, Training

    # several threads only wait for each other in a network this small
    torch.set_num_threads(1)
    out.mkdir(exist_ok=True)
    options = Options(spec="", out=out, steps=1000, minutes=60.0, batch=2, rate=0.1, decay=0.01, threads=1, workers=0)
    return Training(options, spec, torch.device("cpu"))


def test_fine_tuning_writes_a_network_of_integers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `train`")
    import onnx

    from examples.shapes.finetune import Options, finetune
    from mdcompiler.torch import build, save_weights

    before = torch.get_num_threads()
    spec = small_spec()
    (tmp_path / "small.yaml").write_text(spec.to_yaml())
    save_weights(build(spec), tmp_path / "small.safetensors")
    module = finetune(
        Options(
            spec=str(tmp_path / "small.yaml"),
            out=tmp_path / "small.onnx",
            weights=tmp_path / "small.safetensors",
            scheme="cpu",
            scenes=2,
            steps=2,
            batch=2,
            rate=1e-4,
            scale_rate=1e-3,
            threads=1,
        )
    )
    torch.set_num_threads(before)
    assert module.growth.abs().max().item() > 0, "the scales were trained, too"
    model = onnx.load(tmp_path / "small.onnx")
    onnx.checker.check_model(model)
    assert {entry.key: entry.value for entry in model.metadata_props}["mdc.scheme"] == "cpu"
