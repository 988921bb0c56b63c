"""The head of an SSD in a `.tflite` graph, walked backwards from its outputs.

Both predictors of a level read the same tensor by convolutions of the same shape; only which output they end in
tells boxes from classes.

    level -> DEPTHWISE_CONV_2D -> CONV_2D -> RESHAPE -> CONCATENATION -> RESHAPE              -> boxes
    level -> DEPTHWISE_CONV_2D -> CONV_2D -> RESHAPE -> CONCATENATION -> LOGISTIC             -> scores
"""

from __future__ import annotations

from dataclasses import dataclass

from mdcompiler.errors import WeightsError
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator

POSTPROCESS = "TFLite_Detection_PostProcess"
_PASSIVE = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "LOGISTIC", "QUANTIZE", "DEQUANTIZE")
_ACTIVATIONS = ("RELU", "RELU6", "HARD_SWISH")


@dataclass(frozen=True)
class TfliteHead:
    """boxes, scores: the raw outputs [1, A, 4] and [1, A, K]; concatenated: what enters their last reshape or sigmoid.

    convs: our path -> its operator. postprocess: the detection operator, when the file has one.
    """

    boxes: int
    scores: int
    concatenated: tuple[int, int]
    convs: dict[str, TfliteOperator]
    postprocess: TfliteOperator | None


def find_head(graph: TfliteGraph) -> TfliteHead:
    """The head of `graph`. Raises WeightsError when its outputs do not come from SSDLite predictors."""
    operator = next((item for item in graph.operators if item.kind == POSTPROCESS), None)
    ends = graph.outputs if operator is None else operator.inputs[:2]
    if len(ends) != 2 or min(ends) < 0:
        raise WeightsError(
            f"reading weights: {graph.path} has {len(graph.outputs)} outputs and no {POSTPROCESS}; a detector with "
            "that operator, or with the two outputs boxes and scores, is read. Export it so."
        )
    boxes, box_levels = _levels(graph, ends[0])
    scores, class_levels = _levels(graph, ends[1])
    convs = _predictors(graph, "box", box_levels) | _predictors(graph, "class", class_levels)
    return TfliteHead(ends[0], ends[1], (boxes, scores), convs, operator)


def _levels(graph: TfliteGraph, tensor: int) -> tuple[int, tuple[int, ...]]:
    """The concatenated tensor behind `tensor`, and its parts: one a level."""
    source = _back(graph, tensor, _PASSIVE)
    if source is None:
        raise _no_head(graph, "an output that no operator makes")
    if source.kind == "CONCATENATION":
        return source.outputs[0], source.inputs
    return tensor, (tensor,)


def _predictors(graph: TfliteGraph, branch: str, levels: tuple[int, ...]) -> dict[str, TfliteOperator]:
    convs: dict[str, TfliteOperator] = {}
    for index, tensor in enumerate(levels):
        pointwise = _expect(graph, tensor, _PASSIVE, "CONV_2D")
        path = f"head/l{index}/{branch}"
        convs[f"{path}/dw"] = _expect(graph, pointwise.inputs[0], _ACTIVATIONS, "DEPTHWISE_CONV_2D")
        convs[f"{path}/pw"] = pointwise
    return convs


def _expect(graph: TfliteGraph, tensor: int, skipped: tuple[str, ...], kind: str) -> TfliteOperator:
    source = _back(graph, tensor, skipped)
    if source is None or source.kind != kind:
        raise _no_head(graph, source.kind if source else "an input")
    return source


def _back(graph: TfliteGraph, tensor: int, skipped: tuple[str, ...]) -> TfliteOperator | None:
    """What makes `tensor`, operators of the kinds `skipped` passed over."""
    source = graph.producers.get(tensor)
    # a damaged file may hold a circle
    for _ in range(len(skipped) + 1):
        if source is None or source.kind not in skipped:
            break
        source = graph.producers.get(source.inputs[0])
    return source


def _no_head(graph: TfliteGraph, found: str) -> WeightsError:
    return WeightsError(
        f"reading weights: {graph.path} is no SSDLite detector: behind its outputs stands {found}, where a depthwise "
        "and a 1x1 convolution for every level are expected. Give a MobileDet exported by the Object Detection API."
    )
