"""Import from a `.tflite` file: a MobileDet trained elsewhere, float or quantized.

Batch normalisation is folded in such a file. It comes back as the one that does nothing but add the bias: mean 0,
variance 1, gamma sqrt(1 + epsilon), beta the bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.spec import Spec, build_network
from mdcompiler.spec.network import Network
from mdcompiler.spec.steps import Conv, SqueezeExcite
from mdcompiler.weights.quantization import Quantization
from mdcompiler.weights.seeded import Weights
from mdcompiler.weights.tflite_file import read_graph
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator, TfliteTensor
from mdcompiler.weights.tflite_head import find_head
from mdcompiler.weights.tflite_match import Match

_INTEGERS = {"UINT8": "uint8", "INT8": "int8", "INT16": "int16", "INT32": "int32"}


@dataclass(frozen=True)
class TfliteImport:
    """What a `.tflite` file says about the network of a spec.

    weights: float32 under our names (convolutions OIHW), complete.
    quantization: by our tensor names, for what the file quantizes: the network's input `input/offset`; weights
    `<path>/weight` and folded biases `<path>/bias`; the activations `<path>/act`, linear `<path>/bn`, `<block>/add`,
    `<block>/se/…`, predictors `head/l0/box/pw/conv`; `head/concat_boxes`, `head/concat_scores`, `head/sigmoid`.
    anchors: float32 [A, 4] (y center, x center, height, width) as the file has them; None without post-processing.
    integers: the quantized weights and folded biases themselves, by the names and in the layout of `quantization`.
    """

    weights: Weights
    quantization: dict[str, Quantization]
    anchors: NDArray[np.float32] | None
    integers: dict[str, NDArray[Any]] = field(default_factory=dict)


def read_tflite(path: str | Path, spec: Spec) -> TfliteImport:
    """The weights, scales and anchors of the `.tflite` file at `path` for the network of `spec`.

    Raises WeightsError when the file is damaged or another network than the spec (`fit_spec` adapts the spec's
    input size and classes), MissingToolError when ai-edge-litert is not installed.
    """
    graph = read_graph(Path(path))
    network = build_network(spec)
    head = find_head(graph)
    match = Match(graph, network, head)
    importer = _Importer(graph, match)
    for conv in convolutions(network):
        importer.take(conv)
    ends = {"head/concat_boxes": head.concatenated[0], "head/concat_scores": head.concatenated[1]}
    activations = {**match.tensors, **ends, "head/sigmoid": head.scores}
    importer.quantization.update(_activations(graph, activations))
    return TfliteImport(importer.weights, importer.quantization, _anchors(graph, head.postprocess), importer.integers)


def convolutions(network: Network) -> Iterator[Conv]:
    """All convolutions of `network` in order, those of squeeze-excites included."""
    for step in network.steps:
        if isinstance(step, Conv):
            yield step
        elif isinstance(step, SqueezeExcite):
            yield from (step.reduce, step.expand)


class _Importer:
    def __init__(self, graph: TfliteGraph, match: Match) -> None:
        self.graph = graph
        self.match = match
        self.weights: Weights = {}
        self.quantization: dict[str, Quantization] = {}
        self.integers: dict[str, NDArray[Any]] = {}

    def take(self, conv: Conv) -> None:
        operator = self.match.convs[conv.path]
        weight = self.graph.constant(operator.inputs[1])
        assert weight is not None, "Match only accepts constant weights"
        order = (3, 0, 1, 2) if conv.depthwise else (0, 3, 1, 2)
        self._take(f"{conv.path}/weight", weight, order)
        bias = self._bias(conv, operator)
        if conv.epsilon is None:
            self.weights[f"{conv.path}/bias"] = bias
        else:
            self.weights.update(_neutral_batchnorm(conv, bias))

    def _bias(self, conv: Conv, operator: TfliteOperator) -> NDArray[np.float32]:
        constant = self.graph.constant(operator.inputs[2]) if len(operator.inputs) > 2 else None
        if constant is None and (len(operator.inputs) < 3 or operator.inputs[2] < 0):
            return np.zeros(conv.channels, np.float32)
        if constant is None or constant.shape != (conv.channels,):
            raise WeightsError(
                f"reading weights: {self.graph.path}: {conv.path} has no bias of {conv.channels} constants."
            )
        name = f"{conv.path}/bias"
        self._take(name, constant, (0,))
        return self.weights.pop(name)

    def _take(self, name: str, constant: TfliteTensor, order: tuple[int, ...]) -> None:
        assert constant.data is not None, "constant() gives tensors with data"
        data = np.ascontiguousarray(constant.data.transpose(order))
        if constant.type in ("FLOAT32", "FLOAT16"):
            self.weights[name] = data.astype(np.float32)
            return
        self.quantization[name] = _quantization(self.graph, name, constant, order)
        self.integers[name] = data
        self.weights[name] = self.quantization[name].dequantize(data)


def _neutral_batchnorm(conv: Conv, bias: NDArray[np.float32]) -> Weights:
    ones = np.ones(conv.channels, np.float32)
    gamma = np.float32(sqrt(1.0 + (conv.epsilon or 0.0)))
    parts = {"gamma": gamma * ones, "beta": bias, "mean": 0 * ones, "variance": ones}
    return {f"{conv.path}/bn/{part}": values for part, values in parts.items()}


def _activations(graph: TfliteGraph, tensors: dict[str, int]) -> dict[str, Quantization]:
    found = {}
    for name, index in tensors.items():
        tensor = graph.tensors[index]
        if tensor.scales and tensor.type in _INTEGERS:
            found[name] = _quantization(graph, name, tensor, tuple(range(len(tensor.shape))))
    return found


def _quantization(graph: TfliteGraph, name: str, tensor: TfliteTensor, order: tuple[int, ...]) -> Quantization:
    dtype = _INTEGERS.get(tensor.type)
    if dtype is None or not tensor.scales:
        raise WeightsError(f"reading weights: {graph.path}: {name} is {tensor.type} without a scale; export it again.")
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if not all(low <= zero <= high for zero in tensor.zero_points):
        raise WeightsError(f"reading weights: {graph.path}: {name} has a zero point outside {low} to {high}.")
    if len(tensor.scales) == 1:
        return Quantization(tensor.scales, tensor.zero_points, dtype)
    if not 0 <= tensor.axis < len(order) or tensor.shape[tensor.axis] != len(tensor.scales):
        raise WeightsError(
            f"reading weights: {graph.path}: {name} of shape {list(tensor.shape)} has {len(tensor.scales)} scales "
            f"along dimension {tensor.axis}; export it again."
        )
    return Quantization(tensor.scales, tensor.zero_points, dtype, order.index(tensor.axis))


def _anchors(graph: TfliteGraph, postprocess: TfliteOperator | None) -> NDArray[np.float32] | None:
    if postprocess is None or len(postprocess.inputs) < 3:
        return None
    constant = graph.constant(postprocess.inputs[2])
    if constant is None or constant.data is None or len(constant.shape) != 2 or constant.shape[1] != 4:
        return None
    if constant.type.startswith("FLOAT"):
        return _real(constant.data)
    return _quantization(graph, "head/anchors", constant, (0, 1)).dequantize(constant.data)


def _real(data: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(data, np.float32)
