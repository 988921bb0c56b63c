"""Convolutions and means under windows of [N,C,H,W] in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.evaluator.products import Weights, integers_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """kernel, stride, dilation: rows and columns. pads: top, left, bottom, right."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]

    def padded(self, x: Array, fill: float = 0.0) -> Array:
        """`x` with its borders."""
        top, left, bottom, right = self.pads
        if not any(self.pads):
            return x
        return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)

    def taps(self, padded: Array) -> Iterator[Array]:
        """What every position of the window sees, row by row: [N,C,OH,OW] each."""
        height, width = self.out(padded)
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                y, x = row * self.dilation[0], column * self.dilation[1]
                rows = slice(y, y + (height - 1) * self.stride[0] + 1, self.stride[0])
                yield padded[:, :, rows, x : x + (width - 1) * self.stride[1] + 1 : self.stride[1]]

    def out(self, padded: Array) -> tuple[int, int]:
        """Rows and columns of the result."""
        height, width = (
            (size - (taps - 1) * gap - 1) // step + 1
            for size, taps, gap, step in zip(padded.shape[2:], self.kernel, self.dilation, self.stride, strict=True)
        )
        return height, width


def window_of(attributes: Mapping[str, Any], kernel: Sequence[int]) -> Window | None:
    """The window of a node, None for one that only ONNX Runtime knows: another rank, automatic padding, a ceiling."""
    odd = attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "") or attributes.get("ceil_mode", 0)
    if len(kernel) != 2 or odd:
        return None
    pairs = (tuple(map(int, attributes.get(name, [1, 1]))) for name in ("strides", "dilations"))
    stride, dilation = pairs
    pads = tuple(map(int, attributes.get("pads", [0, 0, 0, 0])))
    return Window((int(kernel[0]), int(kernel[1])), stride, dilation, pads)  # type: ignore[arg-type]


class Convolution:
    """A convolution with constant weights [O,C/groups,kh,kw], prepared once."""

    def __init__(self, weight: Array, bias: Array | None, window: Window, groups: int) -> None:
        self.weight, self.bias, self.window, self.groups = weight, bias, window, groups
        self.is_depthwise = weight.shape[1] == 1 and groups > 1
        per_group = np.split(weight.reshape(weight.shape[0], -1), groups)
        self._parts = [] if self.is_depthwise else [Weights(part) for part in per_group]

    def run(self, x: Array) -> Array:
        """[N,C,H,W] -> [N,O,OH,OW]."""
        return np.concatenate([self._run_one(item[None]) for item in x]) if len(x) != 1 else self._run_one(x)

    def _run_one(self, x: Array) -> Array:
        padded = self.window.padded(x)
        return self._depthwise(padded) if self.is_depthwise else self._dense(padded)

    def _dense(self, padded: Array) -> Array:
        height, width = self.window.out(padded)
        size = padded.shape[1] // self.groups
        found = []
        for index, weights in enumerate(self._parts):
            integers, power = integers_of(padded[:, index * size : (index + 1) * size], weights.input_bits)
            taps = self.window.kernel[0] * self.window.kernel[1]
            columns = np.empty((size, taps, height, width))
            for place, seen in enumerate(self.window.taps(integers)):
                columns[:, place] = seen[0]
            found.append(weights.multiply(columns.reshape(size * taps, -1), power))
        total = found[0] if len(found) == 1 else np.concatenate(found)
        if self.bias is not None:
            total += self.bias.astype(np.float64)[:, None]
        return total.astype(np.float32).reshape(1, -1, height, width)

    def _depthwise(self, padded: Array) -> Array:
        """Sums in float32, tap by tap."""
        times = self.weight.shape[0] // padded.shape[1]
        source = padded if times == 1 else np.repeat(padded, times, axis=1)
        filters = self.weight.reshape(len(self.weight), -1)
        total = np.zeros((1, len(filters), *self.window.out(padded)), np.float32)
        if self.bias is not None:
            total += self.bias[None, :, None, None]
        product = np.empty_like(total)
        for place, seen in enumerate(self.window.taps(source)):
            np.multiply(seen, filters[None, :, place, None, None], out=product)
            total += product
        return total


def average_pool(x: Array, window: Window, count_borders: bool) -> Array:
    """The mean under each window, in float64."""
    total = sum(seen.astype(np.float64) for seen in window.taps(window.padded(x)))
    ones = window.padded(np.ones((1, 1, *x.shape[2:])), 1.0 if count_borders else 0.0)
    return np.asarray(total / sum(window.taps(ones)), np.float32)
