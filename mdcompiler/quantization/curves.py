"""Tables: an activation of one integer, as an entry for every value its input can have.

An entry is the exact real value of the function, rounded half to even to the output's steps: computed in float64,
and where that lies too near to a halfway case to tell, in as many digits as it takes. Schemes that compute as TFLite
does have its LOGISTIC instead (LUTPopulate in tflite/kernels/internal/common.h), which rounds to float32 throughout.
A table holds the output's zero point and saturation.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.known import known
from mdcompiler.quantization.affine import bounds
from mdcompiler.quantization.scheme import Rounding
from mdcompiler.quantization.steps import Step
from mdcompiler.same_everywhere import decimal_sigmoid, exp_float32, sigmoid
from mdcompiler.weights.quantization import Quantization

Real = NDArray[np.float64]
Curve = tuple[str, float, float, float, float]
"""kind, low, high, alpha and beta of an activation."""
_UNSURE = 2.0**-46
"""Share of what a result is made of within which float64, right to a few units of 2^-53, does not decide."""


def table(step: Step, rounding: Rounding) -> NDArray[Any]:
    """The entries of a step that is a table, for inputs from the smallest to the largest integer of its source's type.

    rounding: the scheme's. The dtype is the result's; the array is shared and not to be written to.
    """
    assert step.activation is not None, "read_steps gives every table its activation"
    found = step.activation
    curve = (found.kind, found.low, found.high, found.alpha, found.beta)
    return _table(curve, step.inputs[0].quantization, step.output.quantization, rounding)


@lru_cache(maxsize=512)
def _table(curve: Curve, source: Quantization, result: Quantization, rounding: Rounding) -> NDArray[Any]:
    least, most = bounds(source.dtype)
    centred = np.arange(least, most + 1, dtype=np.float64) - source.zero_point[0]
    if rounding == "fixed-point-double" and curve[0] == "sigmoid" and np.dtype(source.dtype).itemsize == 1:
        steps = _logistic(centred, source.scale[0], result.scale[0])
    else:
        steps = _steps(curve, centred * source.scale[0], result.scale[0])
    entries = np.clip(steps + result.zero_point[0], *bounds(result.dtype)).astype(result.dtype)
    entries.setflags(write=False)
    return entries


def _evaluate(curve: Curve, x: Real) -> Real:
    kind, low, high, alpha, beta = curve
    curves: dict[str, Callable[[], Real]] = {
        "relu": lambda: np.maximum(x, 0.0),
        "clip": lambda: np.clip(x, low, high),
        "sigmoid": lambda: sigmoid(x),
        "swish": lambda: x * sigmoid(x),
        "hard_sigmoid": lambda: np.clip(alpha * x + beta, 0.0, 1.0),
        "hard_swish": lambda: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
    }
    return np.asarray(known(curves, kind, "the activation of a table")(), np.float64)


def _exactly(curve: Curve, value: float) -> Fraction:
    """The same of one number, to 60 digits at least."""
    kind, low, high, alpha, beta = curve
    x = Fraction(value)
    curves: dict[str, Callable[[], Fraction]] = {
        "relu": lambda: max(x, Fraction(0)),
        "clip": lambda: Fraction(min(max(value, low), high)),
        "sigmoid": lambda: _sigmoid(value),
        "swish": lambda: x * _sigmoid(value),
        "hard_sigmoid": lambda: _unit(Fraction(alpha) * x + Fraction(beta)),
        "hard_swish": lambda: x * _unit(x / 6 + Fraction(1, 2)),
    }
    return known(curves, kind, "the activation of a table")()


def _sigmoid(value: float) -> Fraction:
    return Fraction(1, 2) if value == 0 else Fraction(decimal_sigmoid(value))


def _unit(value: Fraction) -> Fraction:
    return min(max(value, Fraction(0)), Fraction(1))


def _steps(curve: Curve, x: Real, scale: float) -> NDArray[np.int64]:
    """`curve` of `x` in steps of `scale`, the nearest integers, halves to even."""
    near = np.clip(_evaluate(curve, x) / scale, -(2.0**40), 2.0**40)
    steps = np.rint(near).astype(np.int64)
    from_half = np.abs(near - np.floor(near) - 0.5)
    for index in np.flatnonzero(from_half <= _UNSURE * (np.abs(near) + (1.0 + np.abs(x)) / scale)):
        steps[index] = round(_exactly(curve, float(x[index])) / Fraction(scale))
    return steps


def _logistic(centred: Real, source_scale: float, result_scale: float) -> NDArray[np.int64]:
    """The steps of TFLite's 8-bit LOGISTIC: float32 throughout, halves away from zero."""
    one = np.float32(1.0)
    real = np.float32(source_scale) * centred.astype(np.float32)
    made = one / (one + exp_float32(-real))
    scaled = (made * (one / np.float32(result_scale))).astype(np.float64)
    return np.floor(scaled + 0.5).astype(np.int64)
