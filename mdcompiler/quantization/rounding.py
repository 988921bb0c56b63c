"""Requantization: from an accumulator to the integers of the next tensor, by each scheme's rule.

Nothing here adds a zero point or saturates: callers do, in the order rescale, add the zero point, clamp.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import UnsupportedError
from mdcompiler.known import unknown
from mdcompiler.quantization.fixed_point import (
    FixedPoint,
    divide_half_up,
    fixed_point,
    multiply_double,
    multiply_single,
    multiply_wide,
)
from mdcompiler.quantization.scheme import Rounding

Array = NDArray[Any]
Integers = NDArray[np.int64]
_ADD_SHIFT = 20
"""Bits that TFLite's 8-bit ADD gains before it rescales its operands (kernels/add.cc)."""
_WIDE_ADD_SHIFT = 15


def conv_multiplier(input_scale: float, weight_scale: Array, output_scale: float, rounding: Rounding) -> Array:
    """`input_scale * weight_scale / output_scale`, float64, one element a weight scale.

    With fixed-point rounding and one weight scale the product of the first two is rounded to float32, as TFLite
    does for weights quantized per tensor (GetQuantizedConvolutionMultipler in kernels/kernel_util.cc).
    """
    scales = np.asarray(weight_scale, np.float64)
    product = input_scale * scales
    if rounding in ("fixed-point-double", "fixed-point-single") and scales.size == 1:
        product = (np.float32(input_scale) * scales.astype(np.float32)).astype(np.float64)
    return np.asarray(product / output_scale)


def rescale(value: Array, multiplier: Any, rounding: Rounding, wide: bool = False) -> Integers:
    """`value * multiplier` rounded to integers by `rounding`.

    value: integers (of any dtype, floats that hold integers included). multiplier: float64, broadcast against
    `value`. wide: the values may exceed int32 (16-bit activations).
    """
    if rounding == "float-half-even":
        scaled = value.astype(np.float32) * np.asarray(multiplier, np.float32)
        return np.rint(scaled).astype(np.int64)
    if rounding == "power-of-two":
        return divide_half_up(value.astype(np.int64), -exponent_of(multiplier))
    if rounding not in ("fixed-point-double", "fixed-point-single"):
        raise unknown(rounding, "the rounding of a scheme", get_args(Rounding))
    factor = fixed_point(multiplier)
    if wide:
        return multiply_wide(value.astype(np.int64), factor)
    multiply = multiply_single if rounding == "fixed-point-single" else multiply_double
    return multiply(value.astype(np.int64), factor)


def rescale_mean(
    total: Array, count: int, scales: tuple[float, float], rounding: Rounding, wide: bool = False
) -> Integers:
    """`total / count * scales[0] / scales[1]`, rounded to integers by `rounding`. total: a sum of `count` integers.

    With fixed-point-double this is TFLite's MEAN (QuantizedMeanOrSum in kernels/internal/reference/reduce.h): the ratio
    of the scales is a float32 number, and its multiplier is divided by the count in integers.
    """
    if rounding != "fixed-point-double" or wide:
        return rescale(total, scales[0] / (count * scales[1]), rounding, wide)
    return multiply_double(total.astype(np.int64), mean_factor(count, scales))


def mean_factor(count: int, scales: tuple[float, float]) -> FixedPoint:
    """The multiplier of `rescale_mean` with fixed-point-double."""
    factor = fixed_point(float(np.float32(scales[0]) / np.float32(scales[1])))
    shift = min(count.bit_length() - 1, 32, 31 + int(factor.shift))
    return FixedPoint((factor.multiplier << shift) // count, factor.shift - shift)


def rescale_sum(
    first: Array, second: Array, scales: tuple[float, float, float], rounding: Rounding, wide: bool = False
) -> Integers:
    """`first * scales[0] / scales[2] + second * scales[1] / scales[2]`, rounded to integers by `rounding`.

    first, second: integers minus their zero points. Float rule: both products and the sum are rounded to float32
    each, without a fused multiply-add. Fixed point: TFLite's ADD, whose operands gain bits and share twice the
    larger scale. Powers of two: exact until the one rounding shift.
    """
    left, right, result = scales
    if rounding == "float-half-even":
        parts = (first.astype(np.float32) * np.float32(left / result), second.astype(np.float32))
        return np.rint(parts[0] + parts[1] * np.float32(right / result)).astype(np.int64)
    if rounding == "power-of-two":
        base = min(left, right)
        raised = [
            part.astype(np.int64) << exponent_of(scale / base) for part, scale in ((first, left), (second, right))
        ]
        return divide_half_up(raised[0] + raised[1], -exponent_of(base / result))
    return _fixed_point_sum(first, second, scales, rounding, _WIDE_ADD_SHIFT if wide else _ADD_SHIFT)


def _fixed_point_sum(
    first: Array, second: Array, scales: tuple[float, float, float], rounding: Rounding, bits: int
) -> Integers:
    left, right, result = scales
    twice = 2.0 * max(left, right)
    total = sum(
        rescale(part.astype(np.int64) << bits, scale / twice, rounding)
        for part, scale in ((first, left), (second, right))
    )
    return rescale(np.asarray(total), twice / (2.0**bits * result), rounding)


def rescale_part(x: Array, zero_point: int, scales: tuple[float, float], rounding: Rounding) -> Integers:
    """A part of a concatenation in the scale of the whole: `(x - zero_point) * scales[0] / scales[1]`.

    With fixed-point rounding this is TFLite's ConcatenationWithScaling (kernels/internal/reference/
    reference_ops.h), which computes in float32 and rounds half away from zero.
    """
    if rounding not in ("fixed-point-double", "fixed-point-single"):
        return rescale(x.astype(np.int64) - zero_point, scales[0] / scales[1], rounding)
    factor = np.float32(scales[0]) * (np.float32(1.0) / np.float32(scales[1]))
    offset = np.float32(-zero_point) * factor
    scaled = (x.astype(np.float32) * factor + offset).astype(np.float64)
    return np.asarray(np.copysign(np.floor(np.abs(scaled) + 0.5), scaled).astype(np.int64))


def exponent_of(value: Any) -> Any:
    """e of `value = 2^e`. Raises UnsupportedError for any other number."""
    if not is_power_of_two(value):
        raise UnsupportedError(
            f"rounding by powers of two: {value} is none, and such a scheme only shifts. Choose precision float where "
            "the picture's scale or the size of an average is no power of two, or another scheme."
        )
    return np.frexp(np.asarray(value, np.float64))[1].astype(np.int64) - 1


def is_power_of_two(value: Any) -> bool:
    """Whether every element of `value` is 2^e with a whole e."""
    return bool(np.all(np.frexp(np.asarray(value, np.float64))[0] == 0.5))
