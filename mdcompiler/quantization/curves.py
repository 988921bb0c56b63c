"""Tables: an activation of one integer, as an entry for every value its input can have.

The function is computed in float64 and rounded half to even. A table holds the output's zero point and saturation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.activation import Activation
from mdcompiler.quantization.affine import bounds, quantize
from mdcompiler.weights.quantization import Quantization

Real = NDArray[np.float64]


def table(activation: Activation, source: Quantization, result: Quantization) -> NDArray[Any]:
    """The entries for inputs from the smallest to the largest integer of `source`; dtype that of `result`."""
    least, most = bounds(source.dtype)
    integers = np.arange(least, most + 1, dtype=np.float64)
    real = (integers - source.zero_point[0]) * source.scale[0]
    return quantize(evaluate(activation, real), result)


def evaluate(activation: Activation, x: Real) -> Real:
    """`activation` of `x` in float64."""
    curves: dict[str, Callable[[], Real]] = {
        "relu": lambda: np.maximum(x, 0.0),
        "clip": lambda: np.clip(x, activation.low, activation.high),
        "sigmoid": lambda: _sigmoid(x),
        "swish": lambda: x * _sigmoid(x),
        "hard_sigmoid": lambda: np.clip(activation.alpha * x + activation.beta, 0.0, 1.0),
        "hard_swish": lambda: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
    }
    return np.asarray(curves[activation.kind](), np.float64)


def _sigmoid(x: Real) -> Real:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -700.0, None))))
