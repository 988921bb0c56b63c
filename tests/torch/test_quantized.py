"""Fake quantization computes the integers of the reference, bit for bit, and learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from mdcompiler.errors import UnsupportedError
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.quantization.check import check_quantized
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import shipped_schemes
from mdcompiler.reference import run_reference
from mdcompiler.spec import Spec, load_spec, zoo_names
from mdcompiler.spec.load import parse_spec
from mdcompiler.target import find_target
from mdcompiler.tolerance import relative_difference
from mdcompiler.weights import weights_for
from tests.conftest import Mdc

torch = pytest.importorskip("torch", reason="needs the extra `train`")
from mdcompiler.torch import build, export_quantized, float_weights, prepare_qat, save_quantized  # noqa: E402

SMALL = Path(__file__).resolve().parents[2] / "examples" / "specs" / "small.yaml"

# A convolution of 9x9x64 whose sums pass 2^24, every activation, both gates, one level alone in the head.
WORDS = """
name: words
input: {height: 40, width: 36, scale: 0.0123, offset: -0.7}
defaults: {activation: swish, se_gate: hard-sigmoid, se_activation: hard-swish}
blocks:
  C1:
    - {kind: conv, out: 64, kernel: 3, stride: 2, activation: none}
    - {kind: conv, out: 16, kernel: 9, activation: hard-swish}
    - {kind: ibn, out: 16, expansion: 1, kernel: 7, se: 0.5}
  C2:
    - {kind: fused, out: 24, expansion: 2.5, kernel: 5, stride: 2, se: 0.25, activation: relu}
    - {kind: tucker, out: 24, input_ratio: 0.5, output_ratio: 1.5, kernel: 5, activation: relu6}
head: {levels: [C2], extra: [], classes: 4, kernel: 5, activation: relu}
"""
SCHEMES = {
    **shipped_schemes(),
    "powers": shipped_schemes()["cpu"].model_copy(update={"name": "powers", "rounding": "power-of-two"}),
}


def pictures(spec: Spec, count: int, seed: int = 0) -> Any:
    picture = spec.input
    return np.random.default_rng(seed).integers(0, 256, (count, picture.height, picture.width, 3), np.uint8)


def assert_equal_to_reference(module: Any, images: Any) -> None:
    """Every integer of every tensor, and both outputs to the last bit."""
    exported = Module.from_onnx(export_quantized(module, raw=True), find_target("null"))
    check_quantized(exported.graph)
    reference = IntegerReference(exported, module.plan.scheme)
    runs = [reference.run({"image": image[np.newaxis]}) for image in images]
    batch = torch.from_numpy(images)
    integers = module.eval().integers(batch)
    assert len(integers) > 20
    for name, array in integers.items():
        np.testing.assert_array_equal(array, np.concatenate([run[name] for run in runs]), err_msg=name)
    with torch.no_grad():
        ends = dict(zip(("box_encodings", "class_scores"), module(batch), strict=True))
    for name, tensor in ends.items():
        np.testing.assert_array_equal(tensor.numpy(), np.concatenate([run[name] for run in runs]), err_msg=name)


def learn(module: Any, images: Any, wanted: tuple[Any, Any], steps: int, rate: float = 2e-2) -> list[float]:
    """Move `module` towards outputs; the loss of every step."""
    weights = [tensor for name, tensor in module.named_parameters() if name != "growth"]
    groups = [{"params": weights, "lr": rate / 200}, {"params": [module.growth], "lr": rate}]
    optimizer = torch.optim.Adam(groups)
    module.train()
    losses = []
    for _ in range(steps):
        got = module(torch.from_numpy(images))
        loss = sum(((ours - theirs) ** 2).mean() for ours, theirs in zip(got, wanted, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# in powers of two only pictures and pools do whose numbers are such themselves
@pytest.mark.parametrize(
    ("source", "scheme"), [*(("small", name) for name in SCHEMES), *(("words", name) for name in shipped_schemes())]
)
def test_integers_are_the_reference_s(source: str, scheme: str) -> None:
    spec = load_spec(SMALL).with_(width=0.5, height=64, width_px=64) if source == "small" else parse_spec(WORDS, source)
    if scheme == "powers":
        input_of = spec.input.model_copy(update={"scale": 2.0**-7, "offset": -1.0})
        spec = spec.model_copy(update={"input": input_of})
    rules = SCHEMES[scheme]
    module = prepare_qat(build(spec, weights_for(spec, seed=2)), rules, pictures=pictures(spec, 2))
    assert_equal_to_reference(module, pictures(spec, 2, seed=1))


@pytest.mark.parametrize("name", zoo_names())
def test_zoo(name: str) -> None:
    spec = load_spec(name).with_(width=0.25, height=64, width_px=64)
    module = prepare_qat(build(spec, weights_for(spec, seed=2)), pictures=pictures(spec, 1))
    assert_equal_to_reference(module, pictures(spec, 1, seed=1))


@pytest.mark.parametrize("scheme", ["cpu", "edgetpu-ptq"])
def test_still_the_reference_s_after_training(scheme: str) -> None:
    spec = parse_spec(WORDS, "words")
    images = pictures(spec, 2)
    teacher = build(spec, weights_for(spec, seed=2)).eval()
    with torch.no_grad():
        wanted = teacher.logits(torch.from_numpy(images))
    module = prepare_qat(teacher, scheme, pictures=images // 3)  # ranges that cut off much
    before = [layer.detach().clone() for layer in module.parameters()]
    losses = learn(module, images, wanted, 12)
    assert losses[-1] < 0.7 * losses[0]
    assert all(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))
    assert [bool(growth) for growth in module.growth] == [not group.fixed for group in module.plan.groups]
    assert_equal_to_reference(module, pictures(spec, 2, seed=1))


def test_sums_beyond_float32_are_exact() -> None:
    spec = parse_spec(WORDS, "words")
    module = prepare_qat(build(spec, weights_for(spec, seed=2)), pictures=pictures(spec, 1))
    source = module.quantization()[module.plan.group_of["C1/b0.conv/conv/conv"]]
    assert module.layer("C1/b1.conv/conv").numbers(source).dtype == torch.float64


def test_train_mode_rounds_as_the_reference_where_that_rounds_half_to_even() -> None:
    """Elsewhere an operation is a step off where its real number lies near the middle of two."""
    spec = load_spec(SMALL).with_(width=0.5, height=64, width_px=48)
    images = torch.from_numpy(pictures(spec, 2))
    for scheme in ("cpu", "edgetpu-ptq"):
        module = prepare_qat(build(spec, weights_for(spec, seed=2)), scheme, pictures=images.numpy())
        exact, trained = module.eval().integers(images), module.train().integers(images)
        if scheme == "cpu":
            assert all(np.array_equal(exact[name], trained[name]) for name in exact)
        first = "C1/b0.conv/conv/act/q"
        gap = np.abs(exact[first].astype(int) - trained[first].astype(int))
        assert gap.max() <= 1
        assert (gap > 0).mean() < 0.02


def test_gradients_point_where_those_of_the_float_network_do() -> None:
    spec = load_spec(SMALL).with_(width=0.5, height=64, width_px=48)
    images = torch.from_numpy(pictures(spec, 2))
    weights = weights_for(spec, seed=2)
    module = prepare_qat(build(spec, weights), pictures=images.numpy()).train()
    floats = build(spec, float_weights(module)).eval()
    sum(end.square().sum() for end in module(images)).backward()
    sum(end.square().sum() for end in floats.logits(images)).backward()
    for path in ("C1/b0.conv/conv", "C3/b0.ibn/se/reduce", "C4/b0.ibn/dw", "head/l0/class/pw"):
        ours, theirs = module.layer(path).weight.grad, floats.get_submodule(path).conv.weight.grad
        alike = torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), 0).item()
        assert alike > 0.8, f"{path}: {alike}"


def test_a_state_is_saved_with_its_zero_points() -> None:
    spec = load_spec(SMALL).with_(width=0.5, height=64, width_px=48)
    images = torch.from_numpy(pictures(spec, 2))
    floats = build(spec, weights_for(spec, seed=2))
    first = prepare_qat(floats, pictures=images.numpy()).eval()
    other = prepare_qat(floats, pictures=images.numpy() // 8).eval()
    with torch.no_grad():
        assert not torch.equal(first(images)[0], other(images)[0])
        other.load_state_dict(first.state_dict())
        assert torch.equal(first(images)[0], other(images)[0])


def test_compiled_it_gives_the_same_bits(tmp_path: Path, mdc: Mdc) -> None:
    spec = load_spec(SMALL)
    module = prepare_qat(build(spec, weights_for(spec, seed=2)), pictures=pictures(spec, 2)).eval()
    image = pictures(spec, 1, seed=1)
    save_quantized(module, tmp_path / "q.onnx", raw=True)
    code, _, error = mdc("compile", tmp_path / "q.onnx", "--precision", "int8", "--threads", 1, "-o", tmp_path / "out")
    assert code == 0, error
    with mdcompiler.load(tmp_path / "out") as detector, torch.no_grad():
        assert detector.artifact.manifest.precision == "int8"
        assert not any(kernel.fallback for kernel in detector.artifact.manifest.kernels)
        outputs = detector.run({"image": image})
        encodings, scores = module(torch.from_numpy(image))
    np.testing.assert_array_equal(outputs["box_encodings"], encodings.numpy())
    np.testing.assert_array_equal(outputs["class_scores"], scores.numpy())


def test_float_weights_are_those_that_were_trained() -> None:
    spec = load_spec(SMALL)
    weights = weights_for(spec, seed=2)
    module = prepare_qat(build(spec, weights), pictures=pictures(spec, 1))
    image = pictures(spec, 1, seed=1)
    first, second = (
        run_reference(lower(spec, item, raw=True), {"image": image}) for item in (weights, float_weights(module))
    )
    assert all(relative_difference(first[name], second[name]) < 1e-5 for name in first)


def test_ranges_come_from_one_place() -> None:
    spec = load_spec(SMALL)
    module = build(spec)
    with pytest.raises(UnsupportedError, match="give one of both"):
        prepare_qat(module)
    with pytest.raises(UnsupportedError, match="give one of both"):
        prepare_qat(module, pictures=pictures(spec, 1), ranges={})
    with pytest.raises(UnsupportedError, match="tensors have no range"):
        prepare_qat(module, ranges={})
