"""Activations as GPU expressions: a GPU has an exponential of its own, so none is written out as on CPUs."""

from __future__ import annotations

from mdcompiler.backends.kernels.activation import Curve, clip
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, splat

_EXP_LIMIT = 87.0
"""e ** 87 is finite in float32; the curve is flat to the last bit beyond."""


def apply_curve(curve: Curve, value: Expr, lanes: int) -> Expr:
    """`curve` of a float32 vector of `lanes`. `value` is read several times: bind it to a variable first."""
    return curve.apply(value, lanes, _sigmoid)


def _sigmoid(value: Expr, lanes: int) -> Expr:
    one = splat(1.0, lanes)
    bounded = clip(splat(0.0, lanes) - value, -_EXP_LIMIT, _EXP_LIMIT, lanes)
    return one / (one + tirx.exp(bounded))
