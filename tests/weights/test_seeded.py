"""Seeded weights: the same everywhere, and a network that computes something with them."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.lower import lower
from mdcompiler.reference import run_reference
from mdcompiler.spec import load_spec, weight_shapes, zoo_names
from mdcompiler.weights import seeded_weights

SHAPES = {"C1/b0.conv/conv/weight": (4, 3, 3, 3), "C1/b0.conv/conv/bn/gamma": (4,), "C1/b0.conv/conv/bn/mean": (4,)}
GOLDEN = ["0x1.5ce23a0000000p-2", "0x1.be3e840000000p-1", "-0x1.48f2f00000000p-5"]


def test_values_never_change() -> None:
    """Numbers written down once: another machine, NumPy or Python release must give the same."""
    weights = seeded_weights(SHAPES, 7)
    got = [float(weights[name].flat[0]).hex() for name in SHAPES]
    assert got == GOLDEN


def test_order_and_neighbours_change_nothing() -> None:
    backwards = dict(reversed(SHAPES.items()))
    some = seeded_weights(backwards | {"other/weight": (2, 2, 1, 1)}, 3)
    for name, values in seeded_weights(SHAPES, 3).items():
        np.testing.assert_array_equal(values, some[name])
    assert list(seeded_weights(backwards, 3)) == list(backwards)


def test_seed_and_name_change_the_values() -> None:
    twins = seeded_weights({"a/weight": (8, 8, 1, 1), "b/weight": (8, 8, 1, 1)}, 0)
    assert not np.array_equal(twins["a/weight"], twins["b/weight"])
    assert not np.array_equal(twins["a/weight"], seeded_weights({"a/weight": (8, 8, 1, 1)}, 1)["a/weight"])


def test_types_shapes_and_scales() -> None:
    weights = seeded_weights(weight_shapes(load_spec("mobiledet-edgetpu")), 0)
    for name, shape in weight_shapes(load_spec("mobiledet-edgetpu")).items():
        assert weights[name].dtype == np.float32
        assert weights[name].shape == tuple(shape)
    core = weights["C3/b0.fused/expand/weight"]
    assert core.std() == pytest.approx(np.sqrt(2 / core[0].size), rel=0.02)
    assert weights["C3/b0.fused/expand/bn/variance"].min() >= 0.8


@pytest.mark.parametrize("name", zoo_names())
def test_activations_neither_die_nor_explode(name: str) -> None:
    spec = load_spec(name).with_(height=64, width_px=64)
    model = lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    outputs = run_reference(model, {"image": image})
    scores, boxes = outputs["class_scores"], outputs["box_encodings"]
    assert 0.05 < scores.std() < 0.35
    assert 0.0 < scores.min() < scores.max() < 1.0
    assert 0.2 < boxes.std() < 3.0
    # the picture matters, not only the biases: cells of one level differ
    first_level = scores[0, : 4 * 4 * 3]
    assert first_level[::3].std(axis=0).mean() > 0.02
