"""Elementary functions and sums with the same bits on every host.

NumPy's `exp`, `log`, `tanh` and `power` take another path for every instruction set, those of the C library too, and
a product of matrices adds in the order that its BLAS likes on this processor. Whatever ends in a written byte, or
decides about one, is computed here instead: by IEEE additions, products and divisions in a fixed order, which NumPy's
elementwise operations round alike everywhere, or by sums that are exact, so that their order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reals = NDArray[np.float64]
Singles = NDArray[np.float32]
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 in two parts; the first has 32 bits, so that its products with exponents are exact (fdlibm, e_exp.c)."""
_LOG2_E = 1.4426950408889634
_SMALLEST_EXP, _LARGEST_EXP = -746.0, 710.0
"""Arguments beyond which e ** x is 0 or infinite in float64."""
_TAYLOR = tuple(1.0 / math.factorial(power) for power in range(13, 1, -1))
_SERIES = tuple(1.0 / power for power in range(27, 1, -2))
"""Of the inverse hyperbolic tangent; the first term that is left out is below 2^-58 of the sum."""
_UNSURE = 2.0**-49
"""Relative distance from a halfway case below which `exp`, right to 2^-51, does not decide."""
_DIGITS = Context(prec=60, Emin=-999999, Emax=999999)


def exp(values: ArrayLike) -> Reals:
    """e ** values in float64, within two units in the last place."""
    x = np.asarray(values, np.float64)
    bounded = np.where(np.isnan(x), 0.0, np.clip(x, _SMALLEST_EXP, _LARGEST_EXP))
    power = np.rint(bounded * _LOG2_E)
    rest = (bounded - power * _LN2_HIGH) - power * _LN2_LOW
    series = np.full_like(rest, _TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        series = series * rest + coefficient
    with np.errstate(over="ignore", under="ignore"):
        made = np.ldexp(1.0 + (rest + series * (rest * rest)), power.astype(np.int32))
    return np.where(np.isnan(x), x, made)


def log(values: ArrayLike) -> Reals:
    """The natural logarithm in float64 of positive finite `values`, within two units in the last place."""
    fraction, exponent = np.frexp(np.asarray(values, np.float64))
    low = fraction < math.sqrt(0.5)
    fraction, exponent = np.where(low, 2 * fraction, fraction), np.where(low, exponent - 1, exponent)
    ratio = (fraction - 1.0) / (fraction + 1.0)
    square = ratio * ratio
    series = np.full_like(square, _SERIES[0])
    for coefficient in _SERIES[1:]:
        series = series * square + coefficient
    small = 2.0 * ratio + 2.0 * ratio * (square * series)
    return np.asarray(exponent * _LN2_HIGH + (small + exponent * _LN2_LOW))


def exp_float32(values: ArrayLike) -> Singles:
    """e ** values rounded correctly to float32. values: float32."""
    x = np.asarray(values, np.float32)
    return round_to_float32(exp(x), lambda index: Decimal(float(x[index])).exp(_DIGITS))


def round_to_float32(near: Reals, exactly: Callable[[tuple[Any, ...]], Decimal]) -> Singles:
    """`near`, right to 2^-50, rounded to float32; too close to a halfway case, `exactly` of its index is instead."""
    with np.errstate(over="ignore", under="ignore"):
        made = near.astype(np.float32)
        low, high = (near * (1 + side * _UNSURE) for side in (-1, 1))
        unsure = low.astype(np.float32) != high.astype(np.float32)
    for index in zip(*np.nonzero(unsure), strict=True):
        made[index] = _nearest_float32(exactly(index))
    return made


def _nearest_float32(value: Decimal) -> np.float32:
    """The float32 number next to `value`, the even one of two."""
    with np.errstate(over="ignore", under="ignore"):
        guess = np.float32(float(value))
        around = [np.nextafter(guess, np.float32(side)) for side in (-np.inf, np.inf)]
    finite = [item for item in (guess, *around) if np.isfinite(item)]
    if len(finite) < 3:
        return guess
    return min(finite, key=lambda item: (abs(_DIGITS.subtract(Decimal(float(item)), value)), int(item.view("u4")) & 1))


def sigmoid(values: ArrayLike) -> Reals:
    """1 / (1 + e ** -values) in float64."""
    return np.asarray(1.0 / (1.0 + exp(-np.asarray(values, np.float64))))


def tanh(values: ArrayLike) -> Reals:
    """The hyperbolic tangent in float64; relative error below 2^-40 also near 0."""
    x = np.asarray(values, np.float64)
    square = x * x
    small = x * (1 - square * (1 / 3 - square * (2 / 15 - square * (17 / 315))))
    grown = exp(2 * np.clip(x, -30.0, 30.0))
    return np.where(np.abs(x) < 1e-3, small, (grown - 1) / (grown + 1))


def decimal_sigmoid(value: float) -> Decimal:
    """1 / (1 + e ** -value) to 60 digits."""
    return _DIGITS.divide(Decimal(1), _DIGITS.add(Decimal(1), Decimal(-value).exp(_DIGITS)))


def power_quarters(base: Reals, quarters: int) -> Reals:
    """base ** (quarters / 4), quarters from 0 to 4, by square roots, which IEEE rounds. base: not negative."""
    root = np.sqrt(base)
    powers = (np.ones_like(base), np.sqrt(root), root, root * np.sqrt(root), base)
    return np.asarray(powers[quarters])


def dot(first: NDArray[Any], second: NDArray[Any]) -> float:
    """The sum of the products of two arrays of one shape, in float64; NumPy's own sums add pairwise everywhere."""
    return float(np.add.reduce(np.multiply(first, second, dtype=np.float64), axis=None))
