"""Multiplication by a real number in integers: a 31-bit multiplier and a power of two.

The arithmetic is that of TFLite's kernels (tensorflow/lite/kernels/internal/{common,quantization_util}.cc) and of
gemmlowp (fixedpoint/fixedpoint.h): results equal theirs bit for bit, which is what makes the imported detector
comparable. Arrays are int64 and hold int32 values unless stated otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class FixedPoint:
    """`multiplier * 2^(shift - 31)`, element-wise: multiplier 0 or from 2^30 to 2^31 - 1, shift from -31 to 30."""

    multiplier: Integers
    shift: Integers


def fixed_point(real: Any) -> FixedPoint:
    """The nearest fixed-point numbers to `real` (float64, not negative); below 2^-32 they are 0."""
    fraction, exponent = np.frexp(np.asarray(real, np.float64))
    # halves go away from zero: fraction is positive, and 2^31 * fraction + 0.5 is exact in float64
    multiplier = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    shift = exponent.astype(np.int64)
    carried = multiplier == 1 << 31
    multiplier, shift = np.where(carried, 1 << 30, multiplier), np.where(carried, shift + 1, shift)
    vanished = shift < -31
    multiplier, shift = np.where(vanished, 0, multiplier), np.where(vanished, 0, shift)
    return FixedPoint(multiplier, np.minimum(shift, 30))


def multiply_double(value: Integers, factor: FixedPoint) -> Integers:
    """`value * factor` rounded twice: after the product (half up) and after the shift (half away from zero).

    A positive shift is applied before the product, where the value may wrap as int32 does; scales of real networks
    do not come near. The one saturating case, -2^31 * -2^31, cannot occur: multipliers are positive.
    """
    left = np.maximum(factor.shift, 0)
    wrapped = (value << left).astype(np.int32).astype(np.int64)
    high = (wrapped * factor.multiplier + (1 << 30)) >> 31
    return _divide_away(high, -np.minimum(factor.shift, 0))


def _divide_away(value: Integers, exponent: Integers) -> Integers:
    """`value / 2^exponent`, halves away from zero."""
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (value < 0)
    return np.asarray((value >> exponent) + ((value & mask) > threshold))


def multiply_single(value: Integers, factor: FixedPoint) -> Integers:
    """`value * factor` rounded once, half up."""
    total = 31 - factor.shift
    return np.asarray((value * factor.multiplier + (np.int64(1) << (total - 1))) >> total)


def multiply_wide(value: Integers, factor: FixedPoint) -> Integers:
    """`value * factor` for accumulators beyond int32 (below 2^47), half up: the multiplier keeps 15 bits.

    What TFLite does for 16-bit activations. Shifts above 7 are not supported there and not needed.
    """
    reduced = np.where(factor.multiplier < 0x7FFF0000, (factor.multiplier + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - factor.shift
    return np.asarray((value * reduced + (np.int64(1) << (total - 1))) >> total)


def divide_half_up(value: Integers, exponent: Integers) -> Integers:
    """`value / 2^exponent`, halves up; a negative exponent multiplies."""
    down = np.maximum(exponent, 0)
    nudge = np.where(down > 0, np.int64(1) << np.maximum(down - 1, 0), 0)
    return np.asarray(((value << np.maximum(-exponent, 0)) + nudge) >> down)
