"""`build(spec)` is the lowered graph: zoo, every word of the spec language, sizes at which padding is lopsided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdcompiler.errors import InputError
from mdcompiler.lower import lower
from mdcompiler.reference import run_reference
from mdcompiler.spec import SearchSpace, Spec, load_spec, weight_shapes, zoo_names
from mdcompiler.spec.load import parse_spec
from mdcompiler.tolerance import relative_difference
from mdcompiler.weights import weights_for

torch = pytest.importorskip("torch", reason="needs the extra `train`")
from mdcompiler.torch import build  # noqa: E402

SMALL = Path(__file__).resolve().parents[2] / "examples" / "specs" / "small.yaml"
LARGEST = 1e-5
"""Of the outputs' range: what float32 sums in another order may differ by."""

LANGUAGE = """
name: language
input: {height: 61, width: 46, scale: 0.0123, offset: -0.7}
width: 0.75
defaults: {activation: ACTIVATION, epsilon: 0.02, se_gate: GATE, se_activation: swish}
blocks:
  train:
    - {kind: conv, out: 16, kernel: 9, stride: 2}
    - {kind: ibn, out: 16, expansion: 1, kernel: 7, se: 0.5}
  C2:
    - {kind: fused, out: 24, expansion: 2.5, kernel: 5, stride: 2, se: 0.25, activation: relu}
    - {kind: fused, out: 24, expansion: 3, kernel: 1, residual: off}
  forward:
    - {kind: tucker, out: 32, input_ratio: 0.5, output_ratio: 1.5, kernel: 5, stride: 2, epsilon: 0.3}
    - {kind: tucker, out: 32, input_ratio: 0.25, output_ratio: 0.75, kernel: 3, residual: on}
    - {kind: ibn, out: 32, expansion: 4, kernel: 3, stride: 1}
endpoints:
  tap: {block: forward/b2, tap: expand}
head: {levels: [C2, tap], extra: [64, 32], classes: 4, kernel: 5, activation: ACTIVATION, epsilon: 0.01, minimum: 8}
"""


def differences(spec: Spec, weights: dict[str, Any], count: int = 2) -> list[float]:
    """Of both outputs, over the range of the lowered graph's; `count` pictures in one batch."""
    picture = spec.input
    images = np.random.default_rng(7).integers(0, 256, (count, picture.height, picture.width, 3), np.uint8)
    with torch.no_grad():
        encodings, scores = build(spec, weights).eval()(torch.from_numpy(images))
    model = lower(spec, weights, raw=True)
    ends = [run_reference(model, {"image": image[np.newaxis]}) for image in images]
    pairs = ((encodings, "box_encodings"), (scores, "class_scores"))
    return [relative_difference(got.numpy(), np.concatenate([end[name] for end in ends])) for got, name in pairs]


@pytest.mark.parametrize("name", zoo_names())
def test_zoo(name: str) -> None:
    spec = load_spec(name)
    assert max(differences(spec, weights_for(spec, seed=3), 1)) <= LARGEST


@pytest.mark.parametrize("gate", ["sigmoid", "hard-sigmoid"])
@pytest.mark.parametrize("activation", ["relu6", "relu", "hard-swish", "swish", "none"])
def test_every_word_of_the_language(activation: str, gate: str) -> None:
    spec = parse_spec(LANGUAGE.replace("ACTIVATION", activation).replace("GATE", gate), "language")
    assert max(differences(spec, weights_for(spec, seed=5))) <= LARGEST


@pytest.mark.parametrize("seed", range(4))
def test_candidates_of_the_search(seed: int) -> None:
    spec = SearchSpace.mobiledet().sample(seed).with_(width=0.25, height=72, width_px=56)
    assert max(differences(spec, weights_for(spec, seed=seed))) <= LARGEST


@pytest.mark.parametrize("size", [(64, 64), (65, 63), (33, 80)])
def test_sizes(size: tuple[int, int]) -> None:
    spec = load_spec(SMALL).with_(width=0.5, height=size[0], width_px=size[1])
    assert max(differences(spec, weights_for(spec, seed=1))) <= LARGEST


def test_a_difference_is_seen() -> None:
    """One gamma of a hundred, a tenth larger."""
    spec = load_spec(SMALL)
    weights = weights_for(spec, seed=1)
    image = np.random.default_rng(7).integers(0, 256, (1, 96, 96, 3), np.uint8)
    want = run_reference(lower(spec, weights, raw=True), {"image": image})
    weights["C1/b0.conv/conv/bn/gamma"][3] *= 1.1
    with torch.no_grad():
        encodings, _ = build(spec, weights).eval()(torch.from_numpy(image))
    assert relative_difference(encodings.numpy(), want["box_encodings"]) > 10 * LARGEST


def test_train_mode_gives_logits_and_learns() -> None:
    torch.manual_seed(0)
    spec = load_spec(SMALL)
    module = build(spec)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8))
    encodings, logits = module(images)
    assert logits.shape[2] == spec.head.class_slots
    assert torch.sigmoid(logits).mean().item() == pytest.approx(0.01, rel=0.5), "the prior of a new network"
    (encodings.square().mean() + logits.square().mean()).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert set(weight_shapes(spec)) >= {name.replace(".conv.weight", "/weight") for name in _convolutions(module)}


def _convolutions(module: Any) -> list[str]:
    return [name for name, _ in module.named_parameters() if name.endswith(".conv.weight")]


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[1, 64, 96, 3\]; \[N, 96, 96, 3\] is wanted"):
        build(load_spec(SMALL))(torch.zeros(1, 64, 96, 3, dtype=torch.uint8))
