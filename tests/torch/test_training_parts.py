"""Targets, losses, augmentation, averages and checkpoints, each against values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdcompiler.detections import decode_boxes
from mdcompiler.errors import WeightsError
from mdcompiler.lowering.ends import postprocess_options
from mdcompiler.spec import load_spec
from mdcompiler.weights import weights_for

torch = pytest.importorskip("torch", reason="needs the extra `train`")
from mdcompiler.torch import (  # noqa: E402
    Targets,
    WeightAverage,
    augment,
    build,
    detection_loss,
    focal_loss,
    hard_negative_loss,
    load_checkpoint,
    save_checkpoint,
)
from mdcompiler.torch.augmentation import crop, distort_colours, flip  # noqa: E402
from mdcompiler.torch.checkpoint import load_optimizer, optimizer_tensors  # noqa: E402
from mdcompiler.torch.weights import named_weights  # noqa: E402

SMALL = Path(__file__).resolve().parents[2] / "examples" / "specs" / "small.yaml"
BOXES = np.array([[0.1, 0.2, 0.5, 0.6], [0.55, 0.5, 0.95, 0.9]], np.float32)
CLASSES = np.array([2, 0])


def test_targets_are_decoded_to_the_objects() -> None:
    spec = load_spec(SMALL)
    targets = Targets(spec)
    slots, encodings = targets.batch([(BOXES, CLASSES), (BOXES[:0], CLASSES[:0])])
    assert slots.shape == (2, len(targets.anchors))
    assert encodings.shape == (2, len(targets.anchors), 4)
    assert not slots[1].any()
    decoded = decode_boxes(encodings[0].numpy(), targets.anchors, postprocess_options(spec.postprocess))
    for index, (box, category) in enumerate(zip(BOXES, CLASSES, strict=True)):
        mine = slots[0].numpy() == category + 1
        assert mine.any(), index
        np.testing.assert_allclose(decoded[mine], np.tile(box, (mine.sum(), 1)), atol=1e-5)


def test_focal_loss_by_hand() -> None:
    """One anchor of two slots: class 1 wanted, both logits 0, so every probability is 1/2."""
    loss = focal_loss(torch.zeros(1, 1, 2), torch.tensor([[1]])).item()
    assert loss == pytest.approx((0.75 + 0.25) * 0.5**2 * math.log(2))


def test_hard_negatives_are_the_worst_background_anchors() -> None:
    logits = torch.full((1, 8, 2), -20.0)
    logits[0, :, 1] = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0])
    slots = torch.tensor([[1, 0, 0, 0, 0, 0, 0, 0]])
    softplus = [math.log1p(math.exp(value)) for value in (-5.0, 4.0, 3.0, 2.0)]
    assert hard_negative_loss(logits, slots).item() == pytest.approx(sum(softplus), rel=1e-5)
    nothing = hard_negative_loss(logits, torch.zeros_like(slots)).item()
    assert nothing == pytest.approx(sum(math.log1p(math.exp(value)) for value in (5.0, 4.0, 3.0)), rel=1e-5)


def test_box_loss_is_of_matched_anchors() -> None:
    slots = torch.tensor([[0, 1, 2]])
    targets = torch.zeros(1, 3, 4)
    encodings = torch.tensor([[[9.0] * 4, [0.5] * 4, [2.0] * 4]])
    boxes, classes = detection_loss(encodings, torch.zeros(1, 3, 3), slots, targets, hard_negative_loss)
    # smooth L1: 0.5^2 / 2 and 2 - 0.5, a quarter of four each, over two anchors
    assert boxes.item() == pytest.approx((0.125 + 1.5) / 2)
    assert classes.item() == pytest.approx(9 * math.log(2) / 2, rel=1e-5)


def picture() -> Any:
    """Grey, the first object in pure red."""
    pixels = np.full((50, 50, 3), 100, np.uint8)
    pixels[5:25, 10:30] = (255, 0, 0)
    return pixels


def red_box(pixels: Any) -> Any:
    rows, columns = np.nonzero(pixels[..., 0].astype(int) - pixels[..., 1] > 80)
    edges = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    return np.array(edges, np.float32) / np.tile(pixels.shape[:2], 2).astype(np.float32)


def test_flip_twice_is_nothing() -> None:
    once = flip(picture(), BOXES, CLASSES)
    np.testing.assert_allclose(once[1][0], red_box(once[0]), atol=1e-6)
    again = flip(*once)
    assert np.array_equal(again[0], picture())
    np.testing.assert_allclose(again[1], BOXES, atol=1e-6)


def test_boxes_follow_what_a_crop_shows() -> None:
    rng = np.random.default_rng(0)
    seen = moved = 0
    for _ in range(60):
        pixels, boxes, classes = crop(rng, picture(), BOXES, CLASSES)
        assert pixels.shape == (50, 50, 3)
        assert len(boxes) == len(classes) >= 1
        assert boxes.dtype == np.float32
        assert ((boxes >= 0) & (boxes <= 1)).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        for box in boxes[classes == 2]:
            np.testing.assert_allclose(box, red_box(pixels), atol=0.06)
            seen += 1
        moved += not np.array_equal(pixels, picture())
    assert seen > 20
    assert moved > 40


def test_augmentation_is_its_seed() -> None:
    first, again, other = (augment(np.random.default_rng(seed), picture(), BOXES, CLASSES) for seed in (1, 1, 2))
    assert all(np.array_equal(first[index], again[index]) for index in range(3))
    assert not np.array_equal(first[0], other[0])
    assert distort_colours(np.random.default_rng(0), picture()).dtype == np.uint8


def test_an_average_is_worked_out_step_by_step() -> None:
    spec = load_spec(SMALL)
    module = build(spec, weights_for(spec, seed=0))
    average = WeightAverage(module, decay=0.25)
    name = "head/l0/box/pw/bias"
    want = named_weights(module)[name].detach().clone()
    for step in (1, 2, 3):
        with torch.no_grad():
            named_weights(module)[name].add_(step)
        average.update(module)
        want += (named_weights(module)[name].detach() - want) * (1 - min(0.25, (1 + step) / (10 + step)))
    np.testing.assert_allclose(average.weights()[name], want.numpy(), rtol=1e-6)
    average.copy_to(module)
    assert torch.equal(named_weights(module)[name], average.tensors[name])
    assert set(average.weights()) == set(weights_for(spec))


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=0.5)
    (parameter.sum() * 2).backward()
    optimizer.step()
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, {"weight/a": parameter, **optimizer_tensors(optimizer)}, {"step": 7})
    tensors, state = load_checkpoint(path)
    assert state == {"step": 7}
    assert torch.equal(tensors["weight/a"], parameter)
    other = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    load_optimizer(other, tensors)
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert other.param_groups[0]["lr"] == 0.1
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="reading the checkpoint"):
        load_checkpoint(path)
