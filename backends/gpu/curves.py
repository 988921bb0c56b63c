"""Activations as GPU expressions: a GPU has an exponential of its own, so none is written out as on CPUs."""

from __future__ import annotations

from mdcompiler.backends.kernels.activation import Curve, clip
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, splat

_EXP_LIMIT = 87.0
"""e ** 87 is finite in float32; the curve is flat to the last bit beyond."""


def apply_curve(curve: Curve, value: Expr, lanes: int) -> Expr:
    """`curve` of a float32 vector of `lanes`. `value` is read several times: bind it to a variable first."""
    if curve.kind == "clip":
        return clip(value, curve.low, curve.high, lanes)
    if curve.kind == "hard_sigmoid":
        return _hard_sigmoid(value, curve.slope, curve.offset, lanes)
    if curve.kind == "hard_swish":
        return value * _hard_sigmoid(value, 1.0 / 6.0, 0.5, lanes)
    if curve.kind == "sigmoid":
        return _sigmoid(value, lanes)
    if curve.kind == "swish":
        return value * _sigmoid(value, lanes)
    return value


def _sigmoid(value: Expr, lanes: int) -> Expr:
    one = splat(1.0, lanes)
    bounded = clip(splat(0.0, lanes) - value, -_EXP_LIMIT, _EXP_LIMIT, lanes)
    return one / (one + tirx.exp(bounded))


def _hard_sigmoid(value: Expr, slope: float, offset: float, lanes: int) -> Expr:
    return clip(value * splat(slope, lanes) + splat(offset, lanes), 0.0, 1.0, lanes)
