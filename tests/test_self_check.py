"""The one measure: what passes, what fails, and that detections cannot pass by luck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

import mdcompiler
from mdcompiler.arbiter import check_of
from mdcompiler.artifact import Artifact
from mdcompiler.backends.null import NullBackend
from mdcompiler.decided import outcomes
from mdcompiler.detections import postprocess
from mdcompiler.errors import InternalError
from mdcompiler.explain import explain_artifact
from mdcompiler.head_check import RAW_BOXES, RAW_SCORES, HeadFacts
from mdcompiler.module import Module
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.postprocess_options import PostprocessOptions
from mdcompiler.self_check import Check, read_check
from mdcompiler.target import find_target
from mdcompiler.tolerance import Allowance
from tests.onnx_models import chain

Arrays = dict[str, NDArray[Any]]
RANDOM = np.random.default_rng(11)


def values(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


def cancelling(channels: int = 8) -> onnx.ModelProto:
    """Two sums that take each other away: float32 keeps few digits of what is left."""
    w = np.random.default_rng(4).standard_normal((channels, channels, 3, 3)).astype(np.float32)
    constants = {"w": w, "v": (w * np.float32(1 + 1e-3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["x", "v"], ["b"], pads=[1] * 4),
        helper.make_node("Sub", ["a", "b"], ["y"]),
    ]
    return chain(nodes, {"x": (1, channels, 24, 24)}, constants)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("float32", "limit"),
    [(1e-9, 2e-5), (4.9e-6, 2e-5), (6e-6, 2.4e-5), (2e-4, 8e-4), (None, 1e-4)],
)
def test_the_limit_is_four_times_float32_or_a_share_of_the_range(float32: float | None, limit: float) -> None:
    allowed = Allowance.measured(1.0, float32)
    assert allowed.limit == pytest.approx(limit)
    want = np.linspace(0, 1, 50, dtype=np.float32)
    assert allowed.fault(want + np.float32(limit / 2), want) is None
    fault = allowed.fault(want + np.float32(3 * limit), want)
    assert fault is not None
    assert "from the same network in float64, allowed" in fault


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_odd_numbers_on_one_side_are_a_fault(odd: float) -> None:
    want = np.ones(3, np.float32)
    got = want.copy()
    got[1] = odd
    assert "NaN or infinities" in (Allowance.measured(1.0, 1e-6).fault(got, want) or "")
    assert Allowance.measured(1.0, 1e-6).fault(got, got) is None


def test_one_infinity_does_not_hide_other_errors() -> None:
    want = np.array([np.inf, 1, 2], np.float32)
    assert Allowance.measured(1.0, 1e-6).fault(np.array([np.inf, 1.5, 2], np.float32), want)


def test_a_network_may_be_as_wrong_as_float32_makes_it(tmp_path: Path) -> None:
    check = check_of(module_from_model(cancelling(), find_target("null")))
    allowed = check.allowed["y"]
    assert allowed.float32 > 1e-4 * allowed.span, "a fixed share would refuse it"
    artifact = mdcompiler.compile(saved(cancelling(), tmp_path), "cpu", threads=1)
    with artifact.load() as detector:
        assert read_check(artifact).faults(detector.run) == []


def test_outputs_that_hardly_move_on_noise_are_judged_by_their_own_arithmetic(tmp_path: Path) -> None:
    """Scores close to zero nearly everywhere, as a trained text detector gives: their range says little."""
    w = values(8, 3, 3, 3, scale=0.02)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Add", ["a", "low"], ["b"]),
        helper.make_node("Sigmoid", ["b"], ["y"]),
    ]
    model = chain(nodes, {"x": (1, 3, 32, 32)}, {"w": w, "low": np.array(-6, np.float32)})
    artifact = mdcompiler.compile(saved(model, tmp_path), "cpu", threads=1)
    assert not artifact.manifest.check


def wrong(artifact: Artifact, change: Any) -> list[str]:
    """What the check says to an artifact whose outputs are changed by `change`."""
    check = read_check(artifact)
    with artifact.load() as detector:
        return check.faults(lambda arrays: change(dict(detector.run_with_head(arrays))))


def test_a_backend_that_forgets_a_bias_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emit = NullBackend.emit

    def forgetful(self: NullBackend, module: Module, *rest: Any) -> Any:
        other = Module.from_onnx(module.to_onnx(), module.target)
        bias = next(tensor for name, tensor in other.graph.tensors().items() if name == "bias")
        bias.values = bias.values * np.where(np.arange(6) == 3, 0, 1).astype(np.float32)
        return emit(self, other, *rest)

    monkeypatch.setattr(NullBackend, "emit", forgetful)
    nodes = [helper.make_node("Conv", ["x", "w", "bias"], ["y"], pads=[1] * 4)]
    constants = {"w": values(6, 3, 3, 3), "bias": np.array([1, 1, 1, 1e-3, 1, 1], np.float32)}
    with pytest.raises(InternalError, match=r"y: is off by 0\.001.*unoptimised float32 is off by less than"):
        mdcompiler.compile(saved(chain(nodes, {"x": (1, 3, 8, 8)}, constants), tmp_path), "null")


@pytest.fixture(scope="module")
def detector_artifact() -> Artifact:
    return mdcompiler.compile("mobiledet-cpu", "cpu", size=64, width=0.25, threads=1)


def test_a_detector_shows_what_it_suppressed(detector_artifact: Artifact) -> None:
    seen: list[set[str]] = []

    def look(outputs: Arrays) -> Arrays:
        seen.append(set(outputs))
        return outputs

    assert wrong(detector_artifact, look) == []
    assert {RAW_BOXES, RAW_SCORES} < seen[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (RAW_SCORES, "is off by"),
        (RAW_BOXES, "is off by"),
        ("scores", "not what suppression makes"),
        ("classes", "not what suppression makes"),
        ("count", "not what suppression makes"),
        ("boxes", "not what decoding makes"),
    ],
)
def test_one_wrong_number_is_enough(detector_artifact: Artifact, name: str, words: str) -> None:
    def change(outputs: Arrays) -> Arrays:
        outputs[name] = outputs[name].copy()
        outputs[name].reshape(-1)[0] += 1e-3
        return outputs

    assert any(words in fault for fault in wrong(detector_artifact, change))


def test_a_wrong_score_that_was_suppressed_is_noticed(detector_artifact: Artifact) -> None:
    """The worst score of all: no detection shows it."""

    def change(outputs: Arrays) -> Arrays:
        outputs[RAW_SCORES] = outputs[RAW_SCORES].copy()
        flat = outputs[RAW_SCORES].reshape(-1)
        flat[int(flat.argmin())] -= 0.01
        return outputs

    assert wrong(detector_artifact, change)


def head_of(seed: int, regular: bool) -> tuple[NDArray[np.float32], NDArray[np.float32], HeadFacts]:
    random = np.random.default_rng(seed)
    anchors = np.concatenate([random.uniform(0, 1, (60, 2)), random.uniform(0.1, 0.5, (60, 2))], 1).astype(np.float32)
    options = PostprocessOptions(regular=regular, max_detections=12, iou_threshold=0.5)
    boxes = random.standard_normal((1, 60, 4)).astype(np.float32)
    scores = random.uniform(0, 1, (1, 60, 4)).astype(np.float32)
    return boxes, scores, HeadFacts(anchors, options, ("boxes", "classes", "scores", "count"))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), regular=st.booleans(), limit=st.sampled_from([1e-6, 1e-4, 1e-2]))
def test_whatever_rounding_brings_is_accepted(seed: int, regular: bool, limit: float) -> None:
    boxes, scores, facts = head_of(seed, regular)
    possible = outcomes(boxes[0], scores[0], facts.anchors, facts.options, (limit, limit))
    random = np.random.default_rng(seed + 1)
    near = [(array + random.uniform(-limit, limit, array.shape) * 0.99).astype(np.float32) for array in (boxes, scores)]
    assert facts.undecided_fault(facts.detections(*near), possible) is None


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), regular=st.booleans())
def test_what_rounding_does_not_bring_is_refused(seed: int, regular: bool) -> None:
    boxes, scores, facts = head_of(seed, regular)
    possible = outcomes(boxes[0], scores[0], facts.anchors, facts.options, (1e-6, 1e-6))
    good = postprocess(boxes, scores, facts.anchors, facts.options)
    for name, change in (("boxes", 1e-3), ("scores", 1e-3), ("classes", 1.0), ("count", -1.0)):
        bad = {key: array.copy() for key, array in good.items()}
        bad[name].reshape(-1)[0] += np.float32(change)
        assert facts.undecided_fault(bad, possible) is not None, name


def test_the_check_survives_its_file(detector_artifact: Artifact) -> None:
    manifest = detector_artifact.manifest
    check = read_check(detector_artifact)
    again = Check.from_bytes(check.to_bytes(), manifest.inputs, [item.name for item in manifest.outputs])
    assert again.to_bytes() == check.to_bytes() == (detector_artifact.directory / "check.safetensors").read_bytes()
    assert len(check.inputs) > 1


def test_where_the_end_fails_the_worst_kernel_becomes_a_direct_one(tmp_path: Path) -> None:
    artifact = mdcompiler.compile(saved(cancelling(64), tmp_path), "cpu", threads=1)
    direct = artifact.manifest.facts["direct_kernels"]
    assert isinstance(direct, list)
    assert len(direct) in (1, 2)
    told = [row for row in explain_artifact(artifact.manifest).refusals if row.by == "check"]
    assert [row.where for row in told] == direct
    assert told[0].reason.startswith("computed directly: ")
    assert not artifact.manifest.check


def test_no_kernel_is_replaced_where_the_end_is_right(detector_artifact: Artifact) -> None:
    assert "direct_kernels" not in detector_artifact.manifest.facts
