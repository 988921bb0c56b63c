"""The post-processing against LiteRT's own operator, in a TFLite file that holds nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.detections import postprocess
from mdcompiler.postprocess_options import PostprocessOptions
from tests.test_postprocess import MODES, OUTPUTS, Case, Floats, assert_same, random_case

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="needs the extra `tflite`")
interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra `tflite`")
flatbuffers = pytest.importorskip("flatbuffers", reason="needs the extra `tflite`")
flexbuffers = pytest.importorskip("flatbuffers.flexbuffers", reason="needs the extra `tflite`")

_FLOAT32, _CUSTOM = 0, 32


def custom_options(options: PostprocessOptions, classes: int) -> list[int]:
    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("max_detections", options.max_detections)
        builder.Int("max_classes_per_detection", 1)
        builder.Int("detections_per_class", options.detections_per_class)
        builder.Bool("use_regular_nms", options.regular)
        builder.Int("num_classes", classes)
        builder.Float("nms_score_threshold", options.score_threshold)
        builder.Float("nms_iou_threshold", options.iou_threshold)
        for axis in "yxhw":
            builder.Float(f"{axis}_scale", getattr(options, f"scale_{axis}"))
    return list(builder.Finish())


def tensor(name: str, shape: tuple[int, ...]) -> object:
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, list(shape), _FLOAT32, 0
    return made


def tflite_model(case: Case, options: PostprocessOptions) -> bytes:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = _CUSTOM
    code.customCode = "TFLite_Detection_PostProcess"
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3, 4, 5, 6]
    operator.customOptions = custom_options(options, case[1].shape[2] - 1)
    graph = schema.SubGraphT()
    rows = options.max_detections
    inputs = [tensor(f"in{index}", array.shape) for index, array in enumerate(case)]
    shapes = ((1, rows, 4), (1, rows), (1, rows), (1,))
    graph.tensors = inputs + [tensor(name, shape) for name, shape in zip(OUTPUTS, shapes, strict=True)]
    graph.inputs, graph.outputs, graph.operators = [0, 1, 2], [3, 4, 5, 6], [operator]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def run_litert(case: Case, options: PostprocessOptions) -> dict[str, Floats]:
    runner = interpreter.Interpreter(model_content=tflite_model(case, options), num_threads=1)
    runner.allocate_tensors()
    for place, array in zip(runner.get_input_details(), case, strict=True):
        runner.set_tensor(place["index"], array)
    runner.invoke()
    found = {name: runner.get_tensor(index) for name, index in zip(OUTPUTS, range(3, 7), strict=True)}
    return blank_unused(found)


def blank_unused(found: dict[str, Floats]) -> dict[str, Floats]:
    """TFLite leaves the rows behind `count` undefined in the fast mode."""
    count = int(found["count"][0])
    for name in ("boxes", "classes", "scores"):
        found[name] = found[name].copy()
        found[name][:, count:] = 0
    return found


@MODES
@pytest.mark.parametrize("levels", [0, 5])
@pytest.mark.parametrize("slots", [2, 3, 91])
def test_equals_litert(regular: bool, levels: int, slots: int) -> None:
    case = random_case(slots + levels, 120, slots, levels)
    for threshold, per_class, iou in [(1e-8, 100, 0.6), (0.6, 2, 0.3), (0.8, 4, 0.05)]:
        options = PostprocessOptions(regular, 20, per_class, threshold, iou)
        assert_same(postprocess(*case, options), run_litert(case, options))


@MODES
def test_a_score_at_the_threshold_counts(regular: bool) -> None:
    encodings, scores, anchors = random_case(0, 40, 3)
    case = (encodings, np.full_like(scores, np.float32(0.4)), anchors)
    options = PostprocessOptions(regular, score_threshold=float(np.float32(0.4)))
    found = run_litert(case, options)
    assert found["count"] > 0
    assert_same(postprocess(*case, options), found)
