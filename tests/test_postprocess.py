"""Post-processing: the ONNX body, the C code, the numpy twin and LiteRT's own operator say the same."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from mdcompiler.detections import detections_from, postprocess
from mdcompiler.module import Module
from mdcompiler.postprocess import FAST, REGULAR, is_postprocess, options_of, postprocess_node
from mdcompiler.postprocess_options import PostprocessOptions
from mdcompiler.reference import run_reference
from mdcompiler.target import find_target
from mdcompiler.verify import check_structure
from tests.c_compiler import RUNTIME, compilers, shared_library

Floats = np.ndarray[Any, np.dtype[np.float32]]
Case = tuple[Floats, Floats, Floats]
OUTPUTS = ("boxes", "classes", "scores", "count")
MODES = pytest.mark.parametrize("regular", [False, True], ids=["fast", "regular"])


class _Options(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("anchors", "class_slots", "max_detections", "per_class", "regular")),
        *((name, ctypes.c_float) for name in ("score", "iou", "y", "x", "h", "w")),
    )


def random_case(seed: int, anchors: int = 200, slots: int = 7, levels: int = 0) -> Case:
    """Encodings, scores and anchors; levels > 0 rounds the scores so that many are equal."""
    generator = np.random.default_rng(seed)
    encodings = generator.normal(0, 2, (1, anchors, 4)).astype(np.float32)
    scores = generator.uniform(0, 1, (1, anchors, slots)).astype(np.float32)
    if levels:
        scores = (np.round(scores * levels) / levels).astype(np.float32)
    boxes = generator.uniform(0.05, 0.95, (anchors, 4)).astype(np.float32)
    return encodings, scores, boxes


def model_of(case: Case, options: PostprocessOptions) -> Module:
    encodings, scores, anchors = case
    raw = gs.Variable("box_encodings", np.float32, encodings.shape)
    classes = gs.Variable("class_scores", np.float32, scores.shape)
    node = postprocess_node("head/postprocess", raw, classes, gs.Constant("head/anchors", anchors), options)
    graph = gs.Graph([node], [raw, classes], list(node.outputs), name="g", opset=17, ir_version=10)
    return Module(graph, find_target("null"))


def run_onnx(case: Case, options: PostprocessOptions) -> dict[str, Floats]:
    model = model_of(case, options).to_onnx()
    return run_reference(model, {"box_encodings": case[0], "class_scores": case[1]})


@pytest.fixture(scope="module", params=range(len(compilers())), ids=["cc", "zig"][-len(compilers()) :])
def run_c(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Floats]]:
    out = tmp_path_factory.mktemp("postprocess") / "postprocess.so"
    return loaded(ctypes.CDLL(str(shared_library([RUNTIME / "postprocess.c"], out, compilers()[request.param]))))


def loaded(library: ctypes.CDLL) -> Callable[[Case, PostprocessOptions], dict[str, Floats]]:
    library.mdc_postprocess_scratch_bytes.restype = ctypes.c_size_t

    def run(case: Case, options: PostprocessOptions) -> dict[str, Floats]:
        rows = options.max_detections
        given = astuple(options)
        raw = _Options(case[0].shape[1], case[1].shape[2], given[1], given[2], given[0], *given[3:])
        scratch = np.full(library.mdc_postprocess_scratch_bytes(ctypes.byref(raw)) + 64, 0xA5, np.uint8)
        shapes = ((1, rows, 4), (1, rows), (1, rows), (1,))
        outputs = {name: np.full(shape, np.nan, np.float32) for name, shape in zip(OUTPUTS, shapes, strict=True)}
        tensors = [np.ascontiguousarray(array) for array in case]
        library.mdc_postprocess(
            *(ctypes.c_void_p(array.ctypes.data) for array in tensors),
            ctypes.byref(raw),
            ctypes.c_void_p(scratch.ctypes.data),
            *(ctypes.c_void_p(outputs[name].ctypes.data) for name in OUTPUTS),
        )
        assert (scratch[-64:] == 0xA5).all(), "written past the scratch memory"
        return outputs

    return run


def assert_same(got: dict[str, Floats], want: dict[str, Floats]) -> None:
    """Everything equal; boxes within one float32 rounding of exp."""
    for name in ("count", "classes", "scores"):
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    np.testing.assert_allclose(got["boxes"], want["boxes"], rtol=3e-7, atol=1e-7)


def adversarial_cases() -> dict[str, Case]:
    encodings, scores, anchors = random_case(3, 60, 4)
    flat = np.zeros_like(encodings)
    same = np.tile(np.array([0.5, 0.5, 0.2, 0.2], np.float32), (60, 1))
    thin = anchors.copy()
    thin[::2, 2] = 0
    return {
        "all scores equal": (encodings, np.full_like(scores, 0.5), anchors),
        "all below threshold": (encodings, np.full_like(scores, 0.0), anchors),
        "only background": (encodings, np.concatenate([scores[..., :1], 0 * scores[..., 1:]], 2), anchors),
        "all boxes the same": (flat, scores, same),
        "boxes without area": (encodings, scores, thin),
        "boxes that overflow": (encodings * 400, scores, anchors),
        "exactly at the threshold": (encodings, np.full_like(scores, np.float32(0.3)), anchors),
        "fewer anchors than rows": (encodings[:, :3], scores[:, :3], anchors[:3]),
        "one class": (encodings, scores[..., :2], anchors),
        "many classes": random_case(4, 40, 91),
        "negative scores": (encodings, scores - 2, anchors),
    }


@MODES
@pytest.mark.parametrize("name", adversarial_cases())
@pytest.mark.parametrize("threshold", [1e-8, 0.3])
def test_adversarial_inputs(run_c: Callable[..., Any], name: str, regular: bool, threshold: float) -> None:
    case = adversarial_cases()[name]
    options = PostprocessOptions(regular=regular, score_threshold=threshold)
    want = postprocess(*case, options)
    assert_same(run_c(case, options), want)
    assert_same(run_onnx(case, options), want)


def test_a_threshold_is_reached_by_equal_scores() -> None:
    case = adversarial_cases()["exactly at the threshold"]
    assert postprocess(*case, PostprocessOptions(score_threshold=0.3))["count"] > 0
    assert postprocess(*case, PostprocessOptions(score_threshold=0.31))["count"] == 0


@MODES
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    anchors=st.integers(1, 80),
    slots=st.integers(2, 40),
    levels=st.sampled_from([0, 1, 3, 10]),
    rows=st.integers(1, 30),
    per_class=st.integers(1, 6),
    iou=st.sampled_from([0.05, 0.3, 0.6, 1.0]),
)
def test_c_equals_numpy(
    run_c: Callable[..., Any],
    regular: bool,
    seed: int,
    anchors: int,
    slots: int,
    levels: int,
    rows: int,
    per_class: int,
    iou: float,
) -> None:
    options = PostprocessOptions(regular, rows, per_class, 0.2, iou)
    case = random_case(seed, anchors, slots, levels)
    assert_same(run_c(case, options), postprocess(*case, options))


@MODES
@pytest.mark.parametrize("seed", range(6))
def test_onnx_equals_numpy(regular: bool, seed: int) -> None:
    options = PostprocessOptions(regular, max_detections=25, detections_per_class=3 + seed, score_threshold=0.1 * seed)
    case = random_case(seed, 150, 6, levels=seed)
    assert_same(run_onnx(case, options), postprocess(*case, options))


@MODES
def test_the_whole_ssd_at_full_size(run_c: Callable[..., Any], regular: bool) -> None:
    case = random_case(9, 2034, 91)
    options = PostprocessOptions(regular, max_detections=100)
    want = postprocess(*case, options)
    assert want["count"] == 100
    assert_same(run_c(case, options), want)
    assert_same(run_onnx(case, options), want)


@MODES
def test_the_node_passes_the_checker_and_keeps_its_options(regular: bool) -> None:
    options = PostprocessOptions(regular, max_detections=7, iou_threshold=0.5)
    module = model_of(random_case(0), options)
    check_structure(module)
    model = module.to_onnx()
    assert [body.name for body in model.functions] == [REGULAR if regular else FAST]
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    (node,) = Module.from_onnx(model, module.target).graph.nodes
    assert is_postprocess(node)
    rounded = float(np.float32(options.score_threshold))
    assert options_of(node) == replace(options, score_threshold=rounded)


@MODES
def test_the_evaluator_of_the_onnx_package_agrees(regular: bool) -> None:
    case, options = random_case(2, 30, 4, levels=4), PostprocessOptions(regular, score_threshold=0.25)
    evaluator = ReferenceEvaluator(model_of(case, options).to_onnx())
    outputs: Any = evaluator.run(list(OUTPUTS), {"box_encodings": case[0], "class_scores": case[1]})
    assert_same(dict(zip(OUTPUTS, outputs, strict=True)), postprocess(*case, options))


def test_detections_are_named_by_the_labels() -> None:
    outputs = postprocess(*random_case(1, slots=3), PostprocessOptions(max_detections=5))
    found = detections_from(outputs, ["cat"])
    assert len(found) == 5
    assert {item.class_name for item in found} <= {"cat", "class 1"}
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    assert found[0].as_dict()["box"] == list(found[0].box)


def test_the_header_and_the_options_agree() -> None:
    header = Path(RUNTIME / "postprocess.h").read_text()
    for name in astuple_names():
        assert name in header


def astuple_names() -> list[str]:
    return [*PostprocessOptions().attributes(), "regular"]
