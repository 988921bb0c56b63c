"""Activations as vector expressions.

`exp` is range reduction by log2(e) and a polynomial of degree 6 on [-ln2/2, ln2/2] (the Cephes method,
S. L. Moshier, 1992), within 2 ulp of the exact value; LLVM has no vector exp without a maths library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, splat, vector_type
from mdcompiler.known import unknown

Residual = Literal["none", "before", "after"]
"""Where a second tensor is added: nowhere, before or after the activation."""
_LOG2_E = 1.44269504088896341
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440e-4
_EXP_LIMIT = 87.3
_EXP_POLYNOMIAL = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_MANTISSA_BITS = 23
_EXPONENT_BIAS = 127


CURVES = ("none", "clip", "hard_sigmoid", "hard_swish", "sigmoid", "swish")


@dataclass(frozen=True)
class Curve:
    """An activation function.

    kind: none, clip, hard_sigmoid, hard_swish, sigmoid, swish. low, high: bounds of clip, infinite where
    there is none. slope, offset: of hard_sigmoid, max(0, min(1, slope * x + offset)).
    """

    kind: str = "none"
    low: float = -math.inf
    high: float = math.inf
    slope: float = 0.0
    offset: float = 0.0

    def apply(self, value: Expr, lanes: int, sigmoid: Callable[[Expr, int], Expr] | None = None) -> Expr:
        """The function of a float32 vector of `lanes`. sigmoid: the machine's own, where it has an exponential."""
        sigmoid = sigmoid or _sigmoid
        if self.kind == "clip":
            return clip(value, self.low, self.high, lanes)
        if self.kind == "hard_sigmoid":
            return _hard_sigmoid(value, self.slope, self.offset, lanes)
        if self.kind == "hard_swish":
            return value * _hard_sigmoid(value, 1.0 / 6.0, 0.5, lanes)
        if self.kind == "sigmoid":
            return sigmoid(value, lanes)
        if self.kind == "swish":
            return value * sigmoid(value, lanes)
        if self.kind == "none":
            return value
        raise unknown(self.kind, "the activation of a kernel", CURVES)

    def end(self, value: Expr, lanes: int, residual: Residual, other: Callable[[], Expr]) -> Expr:
        """`apply` and the vector `other` added before or after it: what a convolution does with its sums."""
        if residual == "before":
            value = value + other()
        value = self.apply(value, lanes)
        return value + other() if residual == "after" else value


NO_ACTIVATION = Curve()


def clip(value: Expr, low: float, high: float, lanes: int) -> Expr:
    """`value` within [low, high]; an infinite bound costs nothing."""
    if low > -math.inf:
        value = tirx.max(value, splat(low, lanes))
    return tirx.min(value, splat(high, lanes)) if high < math.inf else value


def exp(value: Expr, lanes: int) -> Expr:
    """e ** value; arguments beyond ±87.3 saturate."""

    def const(number: float) -> Expr:
        return splat(number, lanes)

    bounded = clip(value, -_EXP_LIMIT, _EXP_LIMIT, lanes)
    power = tirx.floor(bounded * const(_LOG2_E) + const(0.5))
    rest = bounded - power * const(_LN2_HIGH) - power * const(_LN2_LOW)
    series = const(_EXP_POLYNOMIAL[0])
    for coefficient in _EXP_POLYNOMIAL[1:]:
        series = series * rest + const(coefficient)
    mantissa = series * rest * rest + rest + const(1.0)
    exponent = (power.astype(vector_type("int32", lanes)) + splat(_EXPONENT_BIAS, lanes, "int32")) << splat(
        _MANTISSA_BITS, lanes, "int32"
    )
    return mantissa * tirx.reinterpret(vector_type("float32", lanes), exponent)


def _sigmoid(value: Expr, lanes: int) -> Expr:
    one = splat(1.0, lanes)
    return one / (one + exp(splat(0.0, lanes) - value, lanes))


def _hard_sigmoid(value: Expr, slope: float, offset: float, lanes: int) -> Expr:
    return clip(value * splat(slope, lanes) + splat(offset, lanes), 0.0, 1.0, lanes)
