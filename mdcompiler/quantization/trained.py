"""The quantization that a `.tflite` detector was trained with, as parameters of `insert-qdq`.

Scales, zero points, weights and biases are taken as they are, so that the integers are the file's own. Use the
scheme `edgetpu-qat` (uint8, per tensor) or `edgetpu-ptq` (int8), leave the sigmoid behind the concatenation, and give
the picture in the file's own meaning: byte 128 is 0, where our networks have 127.5.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from mdcompiler.errors import WeightsError
from mdcompiler.module import producers
from mdcompiler.quantization.assign import Parameters
from mdcompiler.weights.quantization import Quantization
from mdcompiler.weights.tflite import TfliteImport


def trained_parameters(graph: gs.Graph, found: TfliteImport) -> Parameters:
    """The parameters of `found` under the tensor names of `graph`: the lowered network after the fuse stage.

    Raises WeightsError when the file is not quantized.
    """
    if not found.integers:
        raise WeightsError(
            "importing the quantization of a .tflite file: its weights are float. Calibrate the network instead."
        )
    named = {node: tensor for tensor, node in _nodes(graph).items()}
    quantization = dict(found.quantization)
    for name, item in found.quantization.items():
        for tensor in (named.get(name), named.get(_before_batchnorm(name))):
            if tensor is not None:
                quantization.setdefault(tensor, item)
    return Parameters(quantization=_with_bias_names(quantization, found), integers=found.integers)


def _nodes(graph: gs.Graph) -> dict[str, str]:
    """Tensor -> the name of the node that makes it."""
    return {tensor: node.name for tensor, node in producers(graph).items()}


def _before_batchnorm(name: str) -> str:
    """The convolution that a folded BatchNormalization went into."""
    return f"{name[: -len('/bn')]}/conv" if name.endswith("/bn") else name


def _with_bias_names(quantization: dict[str, Quantization], found: TfliteImport) -> dict[str, Quantization]:
    return {
        name: item for name, item in quantization.items() if not (name in found.integers and name.endswith("/bias"))
    }
