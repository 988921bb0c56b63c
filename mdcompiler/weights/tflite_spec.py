"""What a `.tflite` file itself says about its detector, written into a spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mdcompiler.errors import WeightsError
from mdcompiler.spec import Spec
from mdcompiler.spec.load import build_spec
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator
from mdcompiler.weights.tflite_head import find_head

_INTEGERS = ("max_detections", "detections_per_class")
_THRESHOLDS = {"score_threshold": "nms_score_threshold", "iou_threshold": "nms_iou_threshold"}
_SCALES = ("y_scale", "x_scale", "h_scale", "w_scale")


def tflite_spec(graph: TfliteGraph, base: Spec) -> tuple[Spec, tuple[str, ...]]:
    """`base` with the file's input size, number of classes and post-processing, and what that changed.

    A change reads "head.classes 90 -> 2". Labels go when the number of classes changes. Raises WeightsError when
    the file is no detector or says what no spec may say.
    """
    data = base.to_data()
    before = dict(_flat(base.to_data()))
    head = find_head(graph)
    classes = _last(graph, head.scores) - 1
    if classes != base.head.classes:
        data["head"]["classes"] = classes
        data["head"].pop("labels", None)
    data["input"].update(_size(graph))
    if head.postprocess is not None:
        data["postprocess"].update(_options(graph, head.postprocess))
    return build_spec(data, f"{base.name} as {graph.path} has it"), tuple(_changes(before, dict(_flat(data))))


def _size(graph: TfliteGraph) -> dict[str, int]:
    shape = graph.tensors[graph.inputs[0]].shape
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
        raise WeightsError(
            f"reading weights: {graph.path} takes an input of shape {list(shape)}; a picture [1, height, width, 3] is "
            "expected. Give a detector for single RGB pictures."
        )
    return {"height": shape[1], "width": shape[2]}


def _last(graph: TfliteGraph, tensor: int) -> int:
    shape = graph.tensors[tensor].shape
    if len(shape) < 2 or shape[-1] < 2:
        raise WeightsError(
            f"reading weights: {graph.path} gives scores of shape {list(shape)}, not [1, anchors, classes + 1]. "
            "Give a detector whose scores hold the background in slot 0."
        )
    return shape[-1]


def _options(graph: TfliteGraph, operator: TfliteOperator) -> dict[str, Any]:
    """The options of TFLite_Detection_PostProcess, a flexbuffers map, in the words of a spec's `postprocess`."""
    # no import above: flatbuffers comes with the extra that read the file
    from flatbuffers import flexbuffers

    try:
        values = flexbuffers.GetRoot(operator.custom_options).AsMap
        keys = {values.Keys[index].AsKey for index in range(min(len(values), 64))}
        found: dict[str, Any] = {name: int(values[name].AsInt) for name in _INTEGERS if name in keys}
        found |= {ours: _shortest(values[name].AsFloat) for ours, name in _THRESHOLDS.items() if name in keys}
        if keys.issuperset(_SCALES):
            found["scales"] = [_shortest(values[name].AsFloat) for name in _SCALES]
        if "use_regular_nms" in keys:
            found["mode"] = "regular" if values["use_regular_nms"].AsBool else "fast"
    except Exception as error:  # the flexbuffers reader, too, meets garbage with any exception
        raise WeightsError(
            f"reading weights: {graph.path}: the options of {operator.kind} are damaged "
            f"({type(error).__name__}: {error}). Copy the file again."
        ) from None
    return found


def _shortest(value: float) -> float:
    """The decimal number that was meant by a float32: 0.6, not 0.6000000238418579."""
    return float(str(np.float32(value)))


def _flat(data: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in before:
        if name not in after:
            yield f"{name} left out"
        elif before[name] != after[name]:
            yield f"{name} {before[name]} -> {after[name]}"
