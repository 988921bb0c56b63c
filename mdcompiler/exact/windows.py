"""Convolution and pooling in numpy, on views of the padded input, one for each tap of the kernel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_PATCH_VALUES = 1 << 23
"""Of the patches that are multiplied at once: 64 MiB."""


@dataclass(frozen=True)
class _Window:
    """kernel, stride, dilation, out: one number an axis; begin, end: padding in front and behind."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]

    def taps(self, padded: Array) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Every tap with what it reads of `padded` [n, c, *extents], as [n, c, *out]."""
        for tap in itertools.product(*map(range, self.kernel)):
            starts = [position * step for position, step in zip(tap, self.dilation, strict=True)]
            cut = [
                slice(start, start + (count - 1) * stride + 1, stride)
                for start, count, stride in zip(starts, self.out, self.stride, strict=True)
            ]
            yield tap, padded[(slice(None), slice(None), *cut)]

    def padded(self, x: Array, value: float) -> Array:
        """`x` with its padding, and as much behind it as the last window of a rounded-up size reads."""
        reach = [
            (count - 1) * stride + (taps - 1) * step + 1
            for count, stride, taps, step in zip(self.out, self.stride, self.kernel, self.dilation, strict=True)
        ]
        behind = [
            max(end, size - begin - extent)
            for end, size, begin, extent in zip(self.end, reach, self.begin, x.shape[2:], strict=True)
        ]
        pads = [(0, 0), (0, 0), *zip(self.begin, behind, strict=True)]
        return np.pad(x, pads, constant_values=value) if any(map(any, pads)) else x


def _window(x: Array, kernel: Sequence[int], attributes: Mapping[str, Any]) -> _Window:
    rank = len(kernel)
    stride = tuple(attributes.get("strides") or [1] * rank)
    dilation = tuple(attributes.get("dilations") or [1] * rank)
    reach = [(taps - 1) * step + 1 for taps, step in zip(kernel, dilation, strict=True)]
    pads = attributes.get("pads") or [0] * 2 * rank
    mode = attributes.get("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = [0] * 2 * rank
    if mode.startswith("SAME"):
        needed = [
            max((math.ceil(extent / step) - 1) * step + size - extent, 0)
            for extent, step, size in zip(x.shape[2:], stride, reach, strict=True)
        ]
        small, large = [total // 2 for total in needed], [total - total // 2 for total in needed]
        pads = small + large if mode == "SAME_UPPER" else large + small
    begin, end = tuple(pads[:rank]), tuple(pads[rank:])
    spans = [sum(parts) for parts in zip(x.shape[2:], begin, end, [-size for size in reach], strict=True)]
    out = [_count(span, step, bool(attributes.get("ceil_mode"))) for span, step in zip(spans, stride, strict=True)]
    if attributes.get("ceil_mode"):  # a window that begins in the padding behind the picture is none
        out = [
            count - ((count - 1) * step >= extent + front)
            for count, step, extent, front in zip(out, stride, x.shape[2:], begin, strict=True)
        ]
    return _Window(tuple(kernel), stride, dilation, begin, end, tuple(out))


def _count(span: int, stride: int, round_up: bool) -> int:
    return (-(-span // stride) if round_up else span // stride) + 1


def convolve(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """Conv of any rank: x [n, c, ...], w [m, c / group, ...], bias [m] or nothing."""
    x, w, bias = [*inputs, None][:3]
    window, group = _window(x, w.shape[2:], attributes), int(attributes.get("group", 1))
    weights = w.reshape(group, w.shape[0] // group, w.shape[1], -1)
    taps = [part for _, part in window.taps(window.padded(x, 0.0))]
    shape = (x.shape[0], group, w.shape[1], -1)
    if w.shape[1] == 1:
        rows = _per_channel(weights[:, :, 0], [part.reshape(shape) for part in taps])
    else:
        rows = _product(weights, taps, shape)
    result = rows.reshape(x.shape[0], w.shape[0], *window.out)
    return result if bias is None else result + bias.reshape(-1, *[1] * len(window.out))


def convolution_taps(x: Array, w: Array, attributes: Mapping[str, Any]) -> tuple[tuple[int, ...], list[Array]]:
    """The extents of a Conv's output, and what each tap of its kernel reads, as [n, c, *out]."""
    window = _window(x, w.shape[2:], attributes)
    return window.out, [part for _, part in window.taps(window.padded(x, 0.0))]


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
    window = _window(inputs[0], attributes["kernel_shape"], attributes)
    parts = [part for _, part in window.taps(window.padded(inputs[0], -np.inf))]
    result = parts[0].copy()
    for part in parts[1:]:
        np.maximum(result, part, out=result)
    return result


def average_pool(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Array:
    """AveragePool: padding counts where `count_include_pad` says so, what lies behind it never does."""
    x = inputs[0]
    window = _window(x, attributes["kernel_shape"], attributes)
    counted = np.ones((1, 1, *x.shape[2:]))
    if attributes.get("count_include_pad"):
        counted = np.pad(counted, [(0, 0), (0, 0), *zip(window.begin, window.end, strict=True)], constant_values=1.0)
        bare = _Window(
            window.kernel, window.stride, window.dilation, (0,) * len(window.out), (0,) * len(window.out), window.out
        )
        counts = sum(part for _, part in bare.taps(bare.padded(counted, 0.0)))
    else:
        counts = sum(part for _, part in window.taps(window.padded(counted, 0.0)))
    return np.asarray(sum(part for _, part in window.taps(window.padded(x, 0.0))) / counts)
