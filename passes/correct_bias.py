"""Take the mean error that rounding its weights makes out of every convolution's result.

    E[Wq x] - E[W x] = (Wq - W) E[x]      is subtracted from the bias, a channel at a time

The part of bias correction (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019, section 4.2) that is local to a layer, with E[x] measured on calibration data, padding included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.calibration.patches import Moments, convolutions, moments
from mdcompiler.calibration.samples import ListedSamples, Samples
from mdcompiler.compile_pass import Stage
from mdcompiler.constants import assign, constant, optional_input
from mdcompiler.module import Module
from mdcompiler.names import kernel_path
from mdcompiler.passes.insert_qdq import is_quantized, scheme_of
from mdcompiler.quantization.affine import quantize
from mdcompiler.quantization.scheme import Scheme

Array = NDArray[Any]


@dataclass(frozen=True)
class CorrectBias:
    """Fold the expected error of the rounded weights into biases.

    samples: of calibration; without them nothing is done. scheme: the target's where it is None.
    """

    samples: Samples = field(default_factory=lambda: ListedSamples([]))
    scheme: Scheme | None = None

    name: ClassVar[str] = "correct-bias"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        if not len(self.samples) or is_quantized(module):
            return 0
        scheme = self.scheme or scheme_of(module)
        seen = moments(module.graph, self.samples)
        found = [node for node in convolutions(module.graph) if correctable(node)]
        return sum(_correct(module.graph, node, seen[node.name], scheme) for node in found)


def rounded(weight: Array, scheme: Scheme) -> Array:
    """`weight` as the integers of `scheme` stand for it, float32."""
    how = scheme.weight_rule(weight)
    return how.dequantize(quantize(weight, how))


def correctable(node: gs.Node) -> bool:
    """Whether the bias of a convolution is absent or constant."""
    bias = optional_input(node, 2)
    return bias is None or constant(bias) is not None


def _correct(graph: gs.Graph, node: gs.Node, seen: Moments, scheme: Scheme) -> int:
    weight: Array = node.inputs[1].values
    return shift_bias(graph, node, rounded(weight, scheme) - weight, seen)


def shift_bias(graph: gs.Graph, node: gs.Node, error: Array, seen: Moments) -> int:
    """Subtract from the bias what weights wrong by `error` [O,I,h,w] add to the mean; 1 if it did."""
    groups, size = seen.mean.shape
    products = error.reshape(groups, -1, size) * np.asarray(seen.mean, np.float64)[:, None, :]
    shift = np.add.reduce(products, axis=-1).reshape(-1)
    if not shift.any():
        return 0
    bias = constant(optional_input(node, 2))
    before = np.zeros(shift.size) if bias is None else bias.astype(np.float64)
    assign(graph, node, 2, (before - shift).astype(np.float32), f"{kernel_path(node.name)}/bias")
    return 1
