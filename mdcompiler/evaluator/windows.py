"""Convolutions and means under windows of [N,C,H,W] in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.evaluator.products import Weights, integers_of
from mdcompiler.windows import Window, window_of

Array = NDArray[Any]


def is_known(attributes: Mapping[str, Any], kernel: Sequence[int]) -> bool:
    """False for a window that only ONNX Runtime knows: another rank, automatic padding, a ceiling."""
    odd = attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "") or attributes.get("ceil_mode", 0)
    return len(kernel) == 2 and not odd


class Convolution:
    """A convolution with constant weights [O,C/groups,kh,kw], prepared once. attributes: of its node."""

    def __init__(self, weight: Array, bias: Array | None, attributes: Mapping[str, Any]) -> None:
        self.weight, self.bias, self.attributes = weight, bias, attributes
        self.groups = groups = int(attributes.get("group", 1))
        self.is_depthwise = weight.shape[1] == 1 and groups > 1
        per_group = np.split(weight.reshape(weight.shape[0], -1), groups)
        self._parts = [] if self.is_depthwise else [Weights(part) for part in per_group]

    def run(self, x: Array) -> Array:
        """[N,C,H,W] -> [N,O,OH,OW]."""
        return np.concatenate([self._run_one(item[None]) for item in x]) if len(x) != 1 else self._run_one(x)

    def _run_one(self, x: Array) -> Array:
        window = window_of(x, self.weight.shape[2:], self.attributes)
        padded = window.padded(x, 0.0)
        return self._depthwise(window, padded) if self.is_depthwise else self._dense(window, padded)

    def _dense(self, window: Window, padded: Array) -> Array:
        height, width = window.out
        size = padded.shape[1] // self.groups
        found = []
        for index, weights in enumerate(self._parts):
            integers, power = integers_of(padded[:, index * size : (index + 1) * size], weights.input_bits)
            taps = window.kernel[0] * window.kernel[1]
            columns = np.empty((size, taps, height, width))
            for place, seen in enumerate(window.taps(integers)):
                columns[:, place] = seen[0]
            found.append(weights.multiply(columns.reshape(size * taps, -1), power))
        total = found[0] if len(found) == 1 else np.concatenate(found)
        if self.bias is not None:
            total += self.bias.astype(np.float64)[:, None]
        return total.astype(np.float32).reshape(1, -1, height, width)

    def _depthwise(self, window: Window, padded: Array) -> Array:
        """Sums in float32, tap by tap."""
        times = self.weight.shape[0] // padded.shape[1]
        source = padded if times == 1 else np.repeat(padded, times, axis=1)
        filters = self.weight.reshape(len(self.weight), -1)
        total = np.zeros((1, len(filters), *window.out), np.float32)
        if self.bias is not None:
            total += self.bias[None, :, None, None]
        product = np.empty_like(total)
        for place, seen in enumerate(window.taps(source)):
            np.multiply(seen, filters[None, :, place, None, None], out=product)
            total += product
        return total


def average_pool(x: Array, attributes: Mapping[str, Any]) -> Array:
    """The mean under each window of an AveragePool, in float64."""
    window, count_borders = window_of(x, attributes["kernel_shape"], attributes), attributes.get("count_include_pad", 0)
    total = sum(seen.astype(np.float64) for seen in window.taps(window.padded(x, 0.0)))
    ones = window.padded(np.ones((1, 1, *x.shape[2:])), 1.0 if count_borders else 0.0)
    return np.asarray(total / sum(window.taps(ones)), np.float32)
