"""Scales and zero points: `real = scale * (integer - zero_point)`.

Scales are float32 numbers (ONNX stores no others), so every one made here is rounded to float32 before its zero
point is computed. Zero is always exactly representable: padding and the low bound of ReLU need it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.weights.quantization import Quantization

Array = NDArray[Any]
_SMALLEST_SPAN = 1e-9
"""Range of a tensor that is always zero; any scale would do, this one overflows nowhere."""
_BIAS_LIMIT = 2.0**29
"""Largest bias in steps of its scale: leaves room for the products before int32 ends."""


def bounds(dtype: str) -> tuple[int, int]:
    """Smallest and largest integer of `dtype`."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def representable(quantization: Quantization) -> tuple[float, float]:
    """The smallest and the largest real number that a per-tensor `quantization` can hold."""
    low, high = bounds(quantization.dtype)
    scale, zero_point = quantization.scale[0], quantization.zero_point[0]
    return (low - zero_point) * scale, (high - zero_point) * scale


def from_range(
    low: float, high: float, dtype: str, symmetric: bool = False, power_of_two: bool = False
) -> Quantization:
    """The per-tensor quantization of `dtype` that covers [low, high] and 0.

    symmetric: the zero point is 0, or the middle of an unsigned type. power_of_two: the scale is the next power of
    two. A scale is at least float32's smallest normal number times 2^20, so that products of scales stay normal.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    least, most = bounds(dtype)
    if symmetric:
        middle = (least + most + 1) // 2
        reach = max(-low, high, _SMALLEST_SPAN / 2)
        return Quantization((_scale(reach / (most - middle), power_of_two),), (middle,), dtype)
    scale = _scale(max(high - low, _SMALLEST_SPAN) / (most - least), power_of_two)
    zero_point = least + round(-low / scale)
    return Quantization((scale,), (min(max(zero_point, least), most),), dtype)


def _scale(value: float, power_of_two: bool) -> float:
    if not power_of_two:
        return float(np.float32(value))
    fraction, exponent = math.frexp(value)
    return math.ldexp(1.0, exponent - 1 if fraction == 0.5 else exponent)


def weight_quantization(
    weight: Array,
    dtype: str,
    *,
    per_channel: bool,
    symmetric: bool,
    power_of_two: bool = False,
    bias: Array | None = None,
    input_scale: float = 1.0,
) -> Quantization:
    """The quantization of `weight` (output channels first) that covers its values.

    Symmetric weights use the narrow range, -127 to 127. bias, input_scale: a channel whose weights are so small that
    its bias would not fit into 30 bits of input_scale * weight scale gets a larger scale; such channels (weights
    near 0 after batch normalisation is folded) occur in trained networks and would wrap otherwise.
    """
    rows = weight.reshape(weight.shape[0], -1).astype(np.float64)
    rows = rows if per_channel else rows.reshape(1, -1)
    low, high = np.minimum(rows.min(axis=1), 0.0), np.maximum(rows.max(axis=1), 0.0)
    least, most = bounds(dtype)
    steps = (most - least) // 2 if symmetric else most - least
    scale = (np.maximum(-low, high) if symmetric else high - low) / steps
    if bias is not None:
        needed = np.abs(bias.astype(np.float64)) / (input_scale * _BIAS_LIMIT)
        scale = np.maximum(scale, needed if per_channel else needed.max())
    scale = np.where(scale > 0, np.maximum(scale, 1e-30), 1.0)
    scales = tuple(_scale(float(value), power_of_two) for value in scale)
    middle = (least + most + 1) // 2
    zeros = tuple(middle if symmetric else least + round(-float(a) / s) for a, s in zip(low, scales, strict=True))
    return Quantization(scales, zeros, dtype, 0 if per_channel else None)


def quantize(values: Array, quantization: Quantization) -> Array:
    """The nearest integers of `values`, ties to even, saturated; per channel where `quantization` is."""
    shape = [1] * values.ndim
    if quantization.axis is not None:
        shape[quantization.axis] = -1
    scale = np.asarray(quantization.scale, np.float64).reshape(shape)
    zero_point = np.asarray(quantization.zero_point, np.float64).reshape(shape)
    least, most = bounds(quantization.dtype)
    steps = np.rint(values.astype(np.float64) / scale) + zero_point
    return np.asarray(np.clip(steps, least, most).astype(quantization.dtype))


def clamp_integers(quantization: Quantization, low: float, high: float) -> tuple[int, int]:
    """The integer bounds that clamping to [low, high] means in a per-tensor `quantization`.

    They are the type's own where the clamp changes nothing: saturation then does its work.
    """
    least, most = bounds(quantization.dtype)
    scale, zero_point = quantization.scale[0], quantization.zero_point[0]
    bottom = least if math.isinf(low) else max(least, zero_point + _nearest(low / scale))
    top = most if math.isinf(high) else min(most, zero_point + _nearest(high / scale))
    return min(bottom, most), max(top, least)


def _nearest(value: float) -> int:
    """Half away from zero, as TFLite rounds the bounds of fused activations."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))
