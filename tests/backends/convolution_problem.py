"""A convolution problem with its answer by definition, for the tests of every template that solves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.pack_weights import pack_bias, pack_convolution
from mdcompiler.target import find_target
from mdcompiler.tolerance import within_float_tolerance
from tests.backends.kernel_runner import aligned, block, unblock

Array = NDArray[Any]
RELU6 = Curve("clip", low=0.0, high=6.0)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: zeros before, and output size."""
    out = -(-size // stride)
    return max((out - 1) * stride + kernel - size, 0) // 2, out


def same(size: tuple[int, int], kernel: int, stride: int, **more: Any) -> Geometry:
    (top, height), (left, width) = (same_padding(extent, kernel, stride) for extent in size)
    fields: dict[str, Any] = {"pad": (top, left), "out": (height, width)}
    return Geometry(size, (kernel, kernel), (stride, stride), **{**fields, **more})


def convolution(inputs: int, outputs: int, geometry: Geometry, **more: Any) -> Convolution:
    return Convolution(geometry, inputs, outputs, find_target("cpu").lanes, **more)


def direct(geometry: Geometry, source: Array, weight: Array, bias: Array) -> Array:
    """Convolution by definition: [C,H,W], [O,C,kh,kw] (depthwise: [C,1,kh,kw]), in float64."""
    out = np.zeros((len(weight), *geometry.out)) + bias[:, None, None]
    for y, x, i, j in np.ndindex(*geometry.out, *geometry.kernel):
        row, column = geometry.source(0, y, i), geometry.source(1, x, j)
        if 0 <= row < geometry.size[0] and 0 <= column < geometry.size[1]:
            taps, pixel = weight[:, :, i, j], source[:, row, column]
            out[:, y, x] += taps[:, 0] * pixel if taps.shape[1] == 1 != len(pixel) else taps @ pixel
    return out


def activated(curve: Curve, values: Array) -> Array:
    gate = 1 / (1 + np.exp(-values))
    hard = np.clip(values * (curve.slope or 1 / 6) + (curve.offset or 0.5), 0, 1)
    table: dict[str, Array] = {
        "none": values,
        "clip": np.clip(values, curve.low, curve.high),
        "hard_sigmoid": hard,
        "hard_swish": values * hard,
        "sigmoid": gate,
        "swish": values * gate,
    }
    return table[curve.kind]


@dataclass(frozen=True)
class Problem:
    """Arrays of one workload. source [C,H,W], weight [O,C,kh,kw], bias [O], extra (the residual) [O,h,w]."""

    work: Convolution
    source: Array
    weight: Array
    bias: Array
    extra: Array

    def expected(self) -> Array:
        """The output [O, h, w] in float64."""
        total = direct(self.work.geometry, self.source, self.weight, self.bias)
        total = total + self.extra if self.work.residual == "before" else total
        total = activated(self.work.activation, total)
        return total + self.extra if self.work.residual == "after" else total

    def constants(self, groups: int) -> list[Array]:
        """Weight, bias and, if there is one, the residual in the kernels' layout."""
        work = self.work
        weight = aligned(pack_convolution(self.weight, work.lanes, groups, work.channel_block))
        residual = [block(self.extra, work.lanes)] if work.residual != "none" else []
        return [weight, aligned(pack_bias(self.bias, work.lanes)), *residual]

    def input(self) -> Array:
        blocked = self.work.source == "blocked"
        return block(self.source, self.work.lanes) if blocked else aligned(self.source.transpose(1, 2, 0))

    def output(self) -> Array:
        """Memory for the result, full of NaN."""
        empty = np.full_like(self.extra, np.nan)
        return block(empty, self.work.lanes) if self.work.target == "blocked" else aligned(empty.transpose(1, 2, 0))

    def assert_solved(self, got: Array) -> None:
        """`got` (see `output`) holds the expected values."""
        blocked = self.work.target == "blocked"
        result = unblock(got, self.work.out_channels) if blocked else got.transpose(2, 0, 1)
        assert within_float_tolerance(result, self.expected().astype(np.float32))


def problem(work: Convolution, seed: int = 0) -> Problem:
    random = np.random.default_rng(seed)
    shape = (work.out_channels, work.in_channels, *work.geometry.kernel)
    return Problem(
        work,
        source=random.uniform(-1, 1, (work.in_channels, *work.geometry.size)).astype(np.float32),
        weight=random.normal(0, 0.2, shape).astype(np.float32),
        bias=random.normal(0, 1, work.out_channels).astype(np.float32),
        extra=random.uniform(-1, 1, (work.out_channels, *work.geometry.out)).astype(np.float32),
    )
