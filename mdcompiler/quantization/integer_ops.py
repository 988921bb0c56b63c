"""Convolution, pooling and products in exact integers, in numpy.

Sums are formed in float32 or float64 by the linear-algebra library, which is exact as long as every partial sum is
an integer below 2^24 or 2^53: `bound` from the no-wrap proof chooses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
_EXACT_FLOAT32 = 2**24


def convolve(x: Array, weight: Array, bias: Array, conv: gs.Node, bound: int) -> Array:
    """`bias + sum x * weight`, [1, O, H, W], a float array that holds exact integers.

    x: [1, C, H, W] and weight [O, C / groups, kh, kw], zero points taken off. conv gives strides, padding,
    dilations and groups.
    """
    dtype = np.float32 if bound < _EXACT_FLOAT32 else np.float64
    windows = _windows(x[0].astype(dtype), weight.shape[2:], conv)
    filters, groups = weight.astype(dtype), int(conv.attrs.get("group", 1))
    depth_is_one = weight.shape[1] == 1 and groups == weight.shape[0]
    total = _depthwise(windows, filters) if depth_is_one else _grouped(windows, filters, groups)
    return np.asarray(total + bias.astype(dtype).reshape(-1, 1, 1))[None]


def _windows(x: Array, kernel: tuple[int, ...], conv: gs.Node) -> Array:
    """[C, H, W, kh, kw]: what every output position reads; a view."""
    strides = conv.attrs.get("strides", [1, 1])
    dilations = conv.attrs.get("dilations", [1, 1])
    top, left, bottom, right = conv.attrs.get("pads", [0, 0, 0, 0])
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    spans = tuple((size - 1) * gap + 1 for size, gap in zip(kernel, dilations, strict=True))
    view = sliding_window_view(padded, spans, axis=(1, 2))
    return np.asarray(view[:, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]])


def _depthwise(windows: Array, filters: Array) -> Array:
    total = np.zeros(windows.shape[:3], windows.dtype)
    for row, column in np.ndindex(*filters.shape[2:]):
        total += windows[..., row, column] * filters[:, 0, row, column].reshape(-1, 1, 1)
    return total


def _grouped(windows: Array, filters: Array, groups: int) -> Array:
    _, height, width, *_ = windows.shape
    parts = zip(np.split(windows, groups), np.split(filters, groups), strict=True)
    sums = [rows.reshape(len(rows), -1) @ _columns(part) for part, rows in parts]
    return np.concatenate(sums).reshape(-1, height, width)


def _columns(windows: Array) -> Array:
    """[C * kh * kw, H * W]."""
    channels, height, width, *kernel = windows.shape
    return windows.transpose(0, 3, 4, 1, 2).reshape(channels * kernel[0] * kernel[1], height * width)
