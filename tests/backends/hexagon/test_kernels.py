"""Every HVX template in QEMU against numpy: equal in every bit, and nothing written beside the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from mdcompiler.backends.hexagon.convolution import HvxConvolution, HvxTile, Window
from mdcompiler.backends.hexagon.depthwise import HvxRows, HvxWindow
from mdcompiler.backends.hexagon.ending import FACTORS, NUMBERS, Ending, Sum
from mdcompiler.backends.hexagon.pack import (
    factor_parts,
    float_planes,
    pack_depthwise,
    pack_scale,
    pack_weights,
    pad_to,
    picture_spread,
    table_order,
)
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource, HvxSimpleSource, HvxWindowSource
from mdcompiler.backends.hexagon.sums import Rows, sum_offsets, sum_tasks
from mdcompiler.quantization.fixed_point import FixedPoint, multiply_single
from mdcompiler.quantization.rounding import rescale, rescale_sum
from mdcompiler.target import Target, find_target
from tests.backends.hexagon.kernel_program import Array, KernelCall, run_calls

RULE: Final = "fixed-point-single"
LOW, HIGH, ZERO, SOURCE_ZERO = 3, 250, 120, 100
SCALES = (0.5, 0.3, 0.7)
"""Of the result before a sum, of the residual, and of the sum."""


@dataclass(frozen=True)
class Problem:
    """A convolution: channels, outputs, rows and columns out, window and stride. factor: about what scales the sums."""

    channels: int
    outputs: int
    out: tuple[int, int]
    kernel: int = 1
    stride: int = 1
    factor: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        return tuple((extent - 1) * self.stride + self.kernel for extent in self.out)  # type: ignore[return-value]


def blocked(values: Array) -> Array:
    """[C, H, W] -> [C/32, H, W, 32]"""
    padded = pad_to(values, 0, 32)
    return np.ascontiguousarray(padded.reshape(-1, 32, *values.shape[1:]).transpose(0, 2, 3, 1))


def numbers(add: Sum | None = None) -> Array:
    values = np.zeros(NUMBERS, np.int32)
    values[:3] = 2 * ZERO, LOW, HIGH
    if add is not None:
        values[3:8] = ZERO, 77, 2 * 130, 5, 240
        twice = 2 * max(SCALES[:2])
        for place, real in enumerate((SCALES[0] / twice, SCALES[1] / twice, twice / (2.0**20 * SCALES[2]))):
            values[FACTORS + 2 * place : FACTORS + 2 * place + 2] = factor_parts(real)[:2]
    return values


class Convolution:
    """Random data of a problem, the call that computes it, and what numpy says."""

    def __init__(self, problem: Problem, tile: HvxTile, *, table: bool = False, add: bool = False) -> None:
        rng, p = np.random.default_rng(7), problem
        self.problem, self.table, self.add = problem, table, add
        self.x = rng.integers(0, 256, (p.channels, *p.size)).astype(np.uint8)
        self.weight = rng.integers(-127, 128, (p.outputs, p.channels, p.kernel, p.kernel))
        self.bias = rng.integers(-3000, 3000, p.outputs)
        self.multiplier = p.factor * rng.uniform(0.2, 1.0, p.outputs) / (64 * np.sqrt(p.channels * p.kernel**2))
        self.entries = rng.permutation(256).astype(np.uint8)
        self.residual = rng.integers(0, 256, (p.outputs, *p.out)).astype(np.uint8)
        self.sum = Sum(own_is_half=SCALES[0] >= SCALES[1], other_is_half=SCALES[1] >= SCALES[0]) if add else None
        self.tile = tile

    def call(self) -> KernelCall:
        scale, scaling = pack_scale(self.multiplier)
        work = HvxConvolution(self._window(), -(-self.problem.outputs // 32), self._out(), self._ending(scaling))
        start = self.bias - SOURCE_ZERO * self.weight.sum((1, 2, 3))
        arrays = [
            blocked(self.x),
            pack_weights(self.weight, self.tile.groups),
            pad_to(start, 0, 32).astype(np.int32),
            self._sums(work.window),
            scale,
            numbers(self.sum),
            *([table_order(self.entries)] if self.table else []),
            *([blocked(self.residual)] if self.add else []),
            np.zeros_like(blocked(self.residual)),
        ]
        return KernelCall(HvxConvolutionSource(work, self.tile), arrays, self.tile.tasks(work))

    def _sums(self, window: Window) -> Array:
        """128 times the sum of the bytes that each window reads, channels rounded up to four, at its first pixel."""
        p = self.problem
        totals = pad_to(self.x, 0, 4).astype(np.int64).sum(axis=0) * 128
        windows = sliding_window_view(totals, (p.kernel, p.kernel)).sum(axis=(2, 3))
        sums = np.full(totals.shape, 12345, np.int32)
        sums[: windows.shape[0], : windows.shape[1]] = windows
        return sums.reshape(-1)[: window.starts(self._out()).end]

    def _out(self) -> tuple[int, int]:
        rows, columns = self.problem.out
        return (1, rows * columns) if self.problem.kernel == self.problem.stride == 1 else (rows, columns)

    def _ending(self, scaling: Ending) -> Ending:
        return Ending(scaling.raises, self.table, self.sum)

    def _window(self) -> Window:
        p, (height, width) = self.problem, self.problem.size
        blocks, row = -(-p.channels // 32), width * 32
        last = (p.channels - 1) % 32 + 1
        return Window(
            size=blocks * height * row,
            blocks=blocks,
            block_bytes=height * row,
            kernel=(p.kernel, p.kernel),
            row_bytes=row,
            column_bytes=32,
            quads=8,
            last_quads=-(-last // 4),
            pixel_bytes=32 * p.stride,
            line_bytes=row * p.stride,
        )

    def expected(self) -> Array:
        p = self.problem
        windows = sliding_window_view(self.x.astype(np.int64) - SOURCE_ZERO, (p.kernel, p.kernel), axis=(1, 2))
        total = np.einsum("chwij,ocij->ohw", windows[:, :: p.stride, :: p.stride], self.weight)
        result = finished(total + self.bias.reshape(-1, 1, 1), self.multiplier)
        if self.table:
            result = self.entries[result].astype(np.int64)
        if self.add:
            parts = result - ZERO, self.residual.astype(np.int64) - 77
            result = np.clip(rescale_sum(*parts, SCALES, RULE) + 130, 5, 240)
        return result


def finished(total: Array, multiplier: Array) -> Array:
    return np.clip(rescale(total, multiplier.reshape(-1, 1, 1), RULE) + ZERO, LOW, HIGH)


CONVOLUTIONS = {
    "one pixel": Convolution(Problem(40, 33, (1, 1)), HvxTile(1, 1)),
    "three pixels, two groups": Convolution(Problem(32, 64, (1, 3)), HvxTile(3, 2)),
    "overlapping tiles": Convolution(Problem(96, 64, (3, 5)), HvxTile(4, 1, 3)),
    "five pixels": Convolution(Problem(8, 24, (2, 5)), HvxTile(5, 1)),
    "six channels": Convolution(Problem(6, 32, (1, 9)), HvxTile(9, 1)),
    "sixteen pixels": Convolution(Problem(64, 32, (2, 17)), HvxTile(16, 1, 2)),
    "3x3, all taps in one round": Convolution(Problem(36, 64, (3, 6), 3), HvxTile(4, 2, 9)),
    "3x3": Convolution(Problem(48, 64, (3, 6), 3), HvxTile(4, 2, 3)),
    "3x3, many pixels and channels": Convolution(Problem(128, 64, (20, 20), 3), HvxTile(4, 2, 9)),
    "3x3, stride 2": Convolution(Problem(35, 32, (3, 5), 3, 2), HvxTile(5, 1)),
    "1x1, stride 2": Convolution(Problem(16, 32, (3, 5), 1, 2), HvxTile(4, 1)),
    "factors above one half": Convolution(Problem(4, 32, (2, 4), factor=300.0), HvxTile(4, 1)),
    "factors around one half": Convolution(Problem(4, 32, (2, 4), factor=100.0), HvxTile(4, 1)),
    "table": Convolution(Problem(32, 32, (2, 4)), HvxTile(8, 1), table=True),
    "residual": Convolution(Problem(32, 48, (3, 3)), HvxTile(4, 2), add=True),
    "table and residual": Convolution(Problem(32, 32, (1, 2)), HvxTile(2, 1), table=True, add=True),
}


@pytest.mark.parametrize("name", ["hexagon-v66", "hexagon-v68"])
@pytest.mark.usefixtures("hexagon")
def test_convolutions_are_exact(name: str, tmp_path: Path) -> None:
    results = run_calls(tmp_path, find_target(name), [case.call() for case in CONVOLUTIONS.values()])
    for (what, case), got in zip(CONVOLUTIONS.items(), results, strict=True):
        expected = blocked(case.expected().astype(np.uint8))
        channels = case.problem.outputs
        assert len(np.unique(expected)) > 5, f"{what}: nearly everything is saturated, which proves nothing"
        difference = _channels(got, channels) != _channels(expected, channels)
        assert not difference.any(), f"{what}: {difference.mean():.1%} differ"


def _channels(values: Array, count: int) -> Array:
    blocks, height, width, lanes = values.shape
    return values.transpose(0, 3, 1, 2).reshape(blocks * lanes, height, width)[:count]


@pytest.mark.parametrize("name", ["hexagon-v66", "hexagon-v68"])
def test_targets_keep_loads_behind_the_stores_that_they_read(name: str) -> None:
    """Otherwise LLVM puts a store and the load of what it stores into one packet, without the mark (mem_noshuf) that
    keeps their order: mobiledet-gpu read an old loop counter and died."""
    assert "-slot1-store-slot0-load:bool=0" in find_target(name).llvm["cl-opt"]


@pytest.mark.parametrize(("largest", "raises"), [(0.499999, False), (0.5, True), (3.0, True)])
def test_only_factors_from_one_half_on_need_a_left_shift(largest: float, raises: bool) -> None:
    assert pack_scale(np.array([0.2, largest]))[1].raises == raises


@given(
    value=st.integers(-(2**31), 2**31 - 1),
    multiplier=st.integers(2**30, 2**31 - 1),
    shift=st.integers(1, 31),
    zero=st.integers(0, 255),
)
def test_four_instructions_round_once(value: int, multiplier: int, shift: int, zero: int) -> None:
    """The identity that `ending` rests on, for every int32 sum and every factor below one half."""
    exact = multiply_single(np.array([value]), FixedPoint(np.array([multiplier]), np.array([-shift])))
    product = (value * multiplier) >> 31
    assert ((product >> (shift - 1)) + 2 * zero + 1) >> 1 == exact[0] + zero


DEPTHWISE = [
    (HvxWindow(2, (5, 12), (3, 3), 1, (3, 10)), 2),
    (HvxWindow(1, (10, 8), (3, 3), 1, (8, 6)), 6),
    (HvxWindow(1, (9, 19), (5, 5), 2, (3, 8)), 2),
    (HvxWindow(1, (7, 7), (3, 3), 2, (3, 3)), 3),
    (HvxWindow(1, (3, 3), (3, 3), 1, (1, 1)), 1),
    (HvxWindow(1, (4, 9), (2, 4), 2, (2, 3)), 1),
]


def test_depthwise_is_exact(hexagon: Target, tmp_path: Path) -> None:
    calls, expected = zip(*(depthwise_case(work, rows) for work, rows in DEPTHWISE), strict=True)
    for (work, _), got, wanted in zip(DEPTHWISE, run_calls(tmp_path, hexagon, calls), expected, strict=True):
        assert len(np.unique(wanted)) > 5
        assert np.array_equal(got, wanted), work


def depthwise_case(work: HvxWindow, rows: int) -> tuple[KernelCall, Array]:
    rng, channels = np.random.default_rng(3), work.blocks * 32
    x = rng.integers(0, 256, (channels, *work.size)).astype(np.uint8)
    weight = rng.integers(-127, 128, (channels, *work.kernel))
    bias, multiplier = rng.integers(-500, 500, channels), rng.uniform(0.001, 0.004, channels)
    windows = sliding_window_view(x.astype(np.int64) - SOURCE_ZERO, work.kernel, axis=(1, 2))
    strided = windows[:, :: work.stride, :: work.stride][:, : work.out[0], : work.out[1]]
    total = np.einsum("chwij,cij->chw", strided, weight) + bias.reshape(-1, 1, 1)
    expected = blocked(finished(total, multiplier).astype(np.uint8))
    source = np.zeros(work.source_bytes, np.uint8)
    source[: x.size] = blocked(x).reshape(-1)
    start = (bias - SOURCE_ZERO * weight.sum((1, 2))).astype(np.int32)
    arrays = [source, pack_depthwise(weight), start, pack_scale(multiplier)[0], numbers(), np.zeros_like(expected)]
    return KernelCall(HvxWindowSource(work, HvxRows(rows)), arrays, work.blocks), expected


def test_simple_kernels_are_exact(hexagon: Target, tmp_path: Path) -> None:
    cases = [table_case(), add_case(), mean_case(), gate_case(), floats_case(), borders_case(), rows_case()]
    cases += [picture_case(4, 40), picture_case(3, 5), wide_borders_case()]
    cases += [pixel_sums_case(3, 70, 6), pixel_sums_case(1, 64, 8), pixel_sums_case(2, 5, 1)]
    cases += [window_sums_case(40, 38), window_sums_case(9, 7), picture_sums_case(40), picture_sums_case(6)]
    results = run_calls(tmp_path, hexagon, [call for call, _ in cases])
    for (call, expected), got in zip(cases, results, strict=True):
        seen = got[..., :3] if got.shape != expected.shape else got
        assert np.array_equal(seen, expected), call.source


def random_bytes(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)


def simple(template: str, arguments: tuple[object, ...], arrays: list[Array], end: int = 1) -> KernelCall:
    return KernelCall(HvxSimpleSource(template, arguments), arrays, end)


def table_case() -> tuple[KernelCall, Array]:
    x, entries = random_bytes(300), np.random.default_rng(1).permutation(256).astype(np.uint8)
    return simple("table", (300,), [x, table_order(entries), np.zeros_like(x)]), entries[x]


def add_case() -> tuple[KernelCall, Array]:
    left, right, add = random_bytes(301), random_bytes(301)[::-1].copy(), Sum(own_is_half=True, other_is_half=False)
    parts = left.astype(np.int64) - ZERO, right.astype(np.int64) - 77
    expected = np.clip(rescale_sum(*parts, SCALES, RULE) + 130, 5, 240)
    return simple("add", (301, add), [left, right, numbers(add), np.zeros_like(left)]), expected


def mean_case() -> tuple[KernelCall, Array]:
    x, real = random_bytes(2, 7, 32), 0.9 / 7
    values = numbers()
    values[3] = SOURCE_ZERO
    total = (x.astype(np.int64) - SOURCE_ZERO).sum(axis=1)
    expected = np.clip(rescale(total, real, RULE) + ZERO, LOW, HIGH)
    return simple("mean", (2, 7), [x, factor_parts(real), values, np.zeros((2, 32), np.uint8)], 2), expected


def gate_case() -> tuple[KernelCall, Array]:
    x, gate, real = random_bytes(2, 6, 32), random_bytes(2, 1, 32), 0.008
    values = numbers()
    values[3:5] = SOURCE_ZERO, 77
    product = (x.astype(np.int64) - SOURCE_ZERO) * (gate.astype(np.int64) - 77)
    expected = np.clip(rescale(product, real, RULE) + ZERO, LOW, HIGH)
    return simple("gate", (2, 6), [x, gate, factor_parts(real), values, np.zeros_like(x)], 2), expected


def floats_case() -> tuple[KernelCall, Array]:
    x, floats = random_bytes(300), ((np.arange(256) - 7).astype(np.float32) * np.float32(0.0371))
    return simple("floats", (300,), [x, float_planes(floats), np.zeros(300, np.float32)]), floats[x]


def borders_case() -> tuple[KernelCall, Array]:
    x = random_bytes(2, 5, 6, 32)
    expected = np.full((2, 8, 9, 32), 9, np.uint8)
    expected[:, 1:6, 2:8] = x
    arrays = [x, np.full(128, 9, np.uint8), np.zeros_like(expected)]
    return simple("borders", (2, (5, 6), (1, 2), (8, 9), 0), arrays, 16), expected


def wide_borders_case() -> tuple[KernelCall, Array]:
    """More vectors in a row than are copied without a loop, and no border on the left."""
    x = random_bytes(1, 2, 41, 32)
    expected = np.full((1, 3, 42, 32), 9, np.uint8)
    expected[:, 0:2, 0:41] = x
    arrays = [x, np.full(128, 9, np.uint8), np.zeros_like(expected)]
    return simple("borders", (1, (2, 41), (0, 0), (3, 42), 0), arrays, 3), expected


def pixel_sums_case(blocks: int, pixels: int, last_quads: int) -> tuple[KernelCall, Array]:
    x = random_bytes(blocks, pixels, 32)
    used = x.astype(np.int64)
    used[-1, :, 4 * last_quads :] = 0
    arrays = [x, sum_offsets(last_quads), np.zeros(pixels, np.int32)]
    call = simple("pixel_sums", (blocks, pixels, last_quads), arrays, sum_tasks(pixels))
    return call, used.sum(axis=(0, 2)) * 128


def window_sums_case(width: int, span: int) -> tuple[KernelCall, Array]:
    """3 x 3 taps at every second row; what lies between the rows is nobody's."""
    rows = Rows(2, 2 * width, span)
    x = np.random.default_rng(width).integers(-(2**20), 2**20, 5 * width).astype(np.int32)
    offsets = tuple(kh * width + kw for kh in range(3) for kw in range(3))
    return window_sums("window_sums", (5 * width, offsets, rows), x, lambda first: sum(x[first + i] for i in offsets))


def picture_sums_case(width: int) -> tuple[KernelCall, Array]:
    rows = Rows(2, 2 * width, width - 2)
    x = random_bytes(5 * width, 4)
    offsets = tuple(kh * width + kw for kh in range(3) for kw in range(3))
    totals = x.astype(np.int64).sum(axis=1) * 128
    return window_sums("picture_sums", (5 * width, offsets, rows), x, lambda at: sum(totals[at + i] for i in offsets))


def window_sums(
    template: str, arguments: tuple[int, tuple[int, ...], Rows], x: Array, sum_at: Callable[[int], int]
) -> tuple[KernelCall, Array]:
    rows = arguments[2]
    expected = np.zeros(rows.end, np.int32)
    for first in (row * rows.step + column for row in range(rows.count) for column in range(rows.span)):
        expected[first] = sum_at(first)
    return simple(template, arguments, [x, np.zeros(rows.end, np.int32)], rows.count), expected


def picture_case(height: int, width: int) -> tuple[KernelCall, Array]:
    x = random_bytes(height, width, 3)
    expected = np.full((height + 2, width + 3, 3), 9, np.uint8)
    expected[1 : height + 1, 1 : width + 1] = x
    target = np.zeros((height + 2, width + 3, 4), np.uint8)
    arguments = ((height, width), (1, 1), (height + 2, width + 3))
    return simple("picture", arguments, [x, np.full(128, 9, np.uint8), picture_spread(), target], height + 2), expected


def rows_case() -> tuple[KernelCall, Array]:
    x = random_bytes(2, 11, 32)
    expected = x.transpose(1, 0, 2).reshape(11, 64)[:, :50]
    return simple("rows", (2, 11, 50), [x, np.zeros((11, 50), np.uint8)]), expected
