"""Convolution and pooling in numpy, on views of the padded input, one for each tap of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.windows import Window, window_of

Array = NDArray[Any]
_PATCH_VALUES = 1 << 23
"""Of the patches that are multiplied at once: 64 MiB."""


def convolve(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """Conv of any rank: x [n, c, ...], w [m, c / group, ...], bias [m] or nothing."""
    x, w, bias = [*inputs, None][:3]
    window, group = window_of(x, w.shape[2:], attributes), int(attributes.get("group", 1))
    weights = w.reshape(group, w.shape[0] // group, w.shape[1], -1)
    taps = list(window.taps(window.padded(x, 0.0)))
    shape = (x.shape[0], group, w.shape[1], -1)
    if w.shape[1] == 1:
        rows = _per_channel(weights[:, :, 0], [part.reshape(shape) for part in taps])
    else:
        rows = _product(weights, taps, shape)
    result = rows.reshape(x.shape[0], w.shape[0], *window.out)
    return result if bias is None else result + bias.reshape(-1, *[1] * len(window.out))


def convolution_taps(x: Array, w: Array, attributes: Mapping[str, Any]) -> tuple[tuple[int, ...], list[Array]]:
    """The extents of a Conv's output, and what each tap of its kernel reads, as [n, c, *out]."""
    window = window_of(x, w.shape[2:], attributes)
    return window.out, list(window.taps(window.padded(x, 0.0)))


def _per_channel(weights: Array, taps: Sequence[Array]) -> Array:
    """Depthwise: weights [g, m, taps], each tap [n, g, 1, pixels]; no product of matrices."""
    rows = weights[..., 0, None] * taps[0]
    part = np.empty_like(rows)
    for index, tap in enumerate(taps[1:], 1):
        rows += np.multiply(weights[..., index, None], tap, out=part)
    return rows


def _product(weights: Array, taps: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """weights [g, m, c, taps] times as many taps at once as memory allows, each reshaped to [n, g, c, pixels]."""
    several, rows = max(1, _PATCH_VALUES // taps[0].size), None
    for start in range(0, len(taps), several):
        some = [tap.reshape(shape) for tap in taps[start : start + several]]
        patches = some[0] if len(some) == 1 else np.concatenate(some, axis=2)
        factors = weights[..., start : start + several].swapaxes(2, 3).reshape(*weights.shape[:2], -1)
        product = np.matmul(factors, patches)
        rows = product if rows is None else np.add(rows, product, out=rows)
    return np.asarray(rows)


def max_pool(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """MaxPool without indices."""
    window = window_of(inputs[0], attributes["kernel_shape"], attributes)
    parts = list(window.taps(window.padded(inputs[0], -np.inf)))
    result = parts[0].copy()
    for part in parts[1:]:
        np.maximum(result, part, out=result)
    return result


def average_pool(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """AveragePool: padding counts where `count_include_pad` says so, what lies behind it never does."""
    x = inputs[0]
    window = window_of(x, attributes["kernel_shape"], attributes)
    counted = np.ones((1, 1, *x.shape[2:]))
    if attributes.get("count_include_pad"):
        counted = np.pad(counted, [(0, 0), (0, 0), *zip(window.begin, window.end, strict=True)], constant_values=1.0)
        bare = Window(
            window.kernel, window.stride, window.dilation, (0,) * len(window.out), (0,) * len(window.out), window.out
        )
        counts = sum(bare.taps(bare.padded(counted, 0.0)))
    else:
        counts = sum(window.taps(window.padded(counted, 0.0)))
    return np.asarray(sum(window.taps(window.padded(x, 0.0))) / counts)
