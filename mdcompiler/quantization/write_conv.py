"""The integers of a convolution: weights by their scheme, biases in steps of input scale * weight scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.constants import constant, optional_input
from mdcompiler.errors import UnsupportedError
from mdcompiler.names import kernel_path
from mdcompiler.quantization.affine import quantize
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.scheme import Scheme
from mdcompiler.weights.quantization import Quantization

Array = NDArray[Any]


@dataclass(frozen=True)
class ConvIntegers:
    """weight: OIHW; bias: int32, one a channel; both with their quantization and the float tensor's name."""

    weight: Array
    weight_quantization: Quantization
    weight_name: str
    bias: Array
    bias_quantization: Quantization
    bias_name: str


def conv_integers(
    conv: gs.Node, source: Quantization, scheme: Scheme, parameters: Parameters, correction: float = 0.0
) -> ConvIntegers:
    """Quantize the weights and the bias of `conv`, whose input has the quantization `source`.

    correction: a number that every input element is short of; what it contributes goes into the bias.
    Raises UnsupportedError when the bias does not fit int32.
    """
    weight = np.asarray(conv.inputs[1].values, np.float32)
    weight_name = str(conv.inputs[1].name)
    given = optional_input(conv, 2)
    bias_name = f"{kernel_path(conv.name)}/bias" if given is None else str(given.name)
    values = constant(given)
    bias = np.zeros(weight.shape[0], np.float64) if values is None else values.astype(np.float64)
    rule = parameters.quantization.get(weight_name) or scheme.weight_rule(weight, bias, source.scale[0])
    ready = parameters.integers.get(weight_name)
    integers = quantize(weight, rule) if ready is None else ready
    steps = parameters.integers.get(bias_name)
    if steps is None:
        steps = bias_integers(str(conv.name), bias, integers, rule, source, correction)
    return ConvIntegers(integers, rule, weight_name, steps, _bias_quantization(source, rule), bias_name)


def _bias_quantization(source: Quantization, rule: Quantization) -> Quantization:
    scales = tuple(float(np.float32(source.scale[0] * scale)) for scale in rule.scale)
    return Quantization(scales, (0,) * len(scales), "int32", rule.axis)


def bias_integers(
    conv: str, bias: Array, weight: Array, rule: Quantization, source: Quantization, correction: float = 0.0
) -> NDArray[np.int32]:
    """`bias` (float64) in steps of input scale * weight scale. conv: what messages call it.

    weight: the integers of the weights, quantized by `rule`. correction: as of `conv_integers`.
    """
    if correction:
        bias = bias + correction * rule.dequantize(weight).astype(np.float64).sum(axis=(1, 2, 3))
    steps = np.rint(bias / (source.scale[0] * np.asarray(rule.scale, np.float64)))
    if np.abs(steps).max(initial=0) >= 2**31:
        raise UnsupportedError(
            f"inserting quantization: the bias of {conv} is {np.abs(steps).max():.3g} steps of its scale "
            "(input * weight); int32 holds 2147483647. Give its weights a larger scale, or choose precision float."
        )
    return steps.astype(np.int32)
