"""The int8 templates against integer arithmetic written out, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.backends.kernels.convolution import Tile
from mdcompiler.backends.kernels.depthwise import tasks as window_tasks
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.integer_convolution import QUAD, IntegerConvolution
from mdcompiler.backends.kernels.integer_depthwise import IntegerWindow
from mdcompiler.backends.kernels.pack_weights import (
    blocked_channels,
    pack_bias,
    pack_integer_convolution,
    start_table,
    weight_parts,
)
from mdcompiler.backends.kernels.requantize import FACTORS, NUMBERS, Ending, Rounding
from mdcompiler.backends.kernels.sources import IntegerConvolutionSource, IntegerWindowSource
from mdcompiler.quantization.fixed_point import fixed_point
from mdcompiler.quantization.rounding import rescale, rescale_sum
from mdcompiler.target import find_target
from tests.backends.kernel_runner import Kernels, aligned, block, unblock
from tests.backends.test_convolution import same

Array = NDArray[Any]
TARGET = find_target("cpu")
LANES = TARGET.lanes
FIXED: Rounding = "fixed-point-double"
HAS_VBMI = "avx512vbmi" in TARGET.cpu_flags
HAS_VNNI = "avx512_vnni" in TARGET.cpu_flags


class Problem:
    """Random integers for one kernel, and what must come out."""

    def __init__(self, geometry: Geometry, weight: Array, zero_point: int, ending: Ending, seed: int = 0) -> None:
        self.geometry, self.weight, self.zero_point, self.ending = geometry, weight, zero_point, ending
        random = np.random.default_rng(seed)
        depthwise = weight.shape[1] == 1
        channels = weight.shape[0] if depthwise else weight.shape[1]
        self.source = random.integers(0, 256, (channels, *geometry.size), dtype=np.uint8)
        self.bias = random.integers(-5000, 5000, len(weight)).astype(np.int32)
        spread = 3.0 * np.sqrt(geometry.taps * (1 if depthwise else channels)) * 60 * 70
        self.multiplier = random.uniform(60, 120, len(weight)) / spread
        self.numbers = np.zeros(NUMBERS, np.int32)
        self.numbers[:8] = (128, 3, 250, 120, 1, 254, 130, 99)
        self.scales = (0.011, 0.023, 0.017)
        self.table = random.permutation(256).astype(np.uint8)
        self.residual = random.integers(0, 256, (len(weight), *geometry.out), dtype=np.uint8)

    def sums(self) -> Array:
        out = np.zeros((len(self.weight), *self.geometry.out), np.int64) + self.bias[:, None, None]
        centred = self.source.astype(np.int64) - self.zero_point
        for y, x, i, j in np.ndindex(*self.geometry.out, *self.geometry.kernel):
            row, column = self.geometry.source(0, y, i), self.geometry.source(1, x, j)
            if 0 <= row < self.geometry.size[0] and 0 <= column < self.geometry.size[1]:
                taps, pixel = self.weight[:, :, i, j].astype(np.int64), centred[:, row, column]
                out[:, y, x] += taps[:, 0] * pixel if taps.shape[1] == 1 != len(pixel) else taps @ pixel
        return out

    def expected(self) -> Array:
        zero, low, high, sum_zero, sum_low, sum_high, own, other = (int(n) for n in self.numbers[:8])
        scaled = rescale(self.sums(), self.multiplier[:, None, None], self.ending.rounding)
        value = np.clip(scaled + zero, low, high)
        if self.ending.table:
            value = self.table[value].astype(np.int64)
        if self.ending.residual:
            parts = value - own, self.residual.astype(np.int64) - other
            value = np.clip(rescale_sum(*parts, self.scales, self.ending.rounding) + sum_zero, sum_low, sum_high)
        return value.astype(np.uint8)

    def parameters(self) -> list[Array]:
        """The requantizer's arrays, in the order of the kernel's parameters."""
        own, other, result = self.scales
        if self.ending.rounding == "float-half-even":
            arrays = [pack_bias(self.multiplier.astype(np.float32), LANES), self.numbers]
        else:
            factor = fixed_point(self.multiplier)
            twice = 2 * max(own, other)
            reals = (own / twice, other / twice, twice / (2.0**20 * result))
            for place, real in enumerate(reals):
                part = fixed_point(real)
                self.numbers[FACTORS + 2 * place :][:2] = int(part.multiplier), int(part.shift)
            packed = [pack_bias(item.astype(np.int32), LANES) for item in (factor.multiplier, factor.shift)]
            arrays = [*packed, self.numbers]
        if self.ending.residual:
            arrays.append(np.array([np.float32(own / result), np.float32(other / result)], np.float32))
        if self.ending.table:
            arrays.append(self.table)
        if self.ending.residual:
            arrays.append(block(self.residual, LANES))
        return [aligned(array) for array in arrays]


def weights(outputs: int, inputs: int, kernel: int, low: int = -127, high: int = 127) -> Array:
    return np.random.default_rng(1).integers(low, high + 1, (outputs, inputs, kernel, kernel)).astype(np.int16)


def check_convolution(folder: Path, problem: Problem, tile: Tile, dot_product: bool = HAS_VNNI, **layout: Any) -> None:
    weight, geometry = problem.weight, problem.geometry
    work = IntegerConvolution(
        geometry, weight.shape[1], len(weight), LANES, ending=problem.ending, dot_product=dot_product,
        parts=weight_parts(weight), **layout,
    )  # fmt: skip
    got = block(np.zeros((len(weight), *geometry.out), np.uint8), LANES)
    if work.target == "interleaved":
        got = aligned(np.zeros((*geometry.out, len(weight)), np.uint8))
    source = block(problem.source, LANES)
    if work.source == "interleaved":
        source = aligned(np.concatenate([problem.source.transpose(1, 2, 0).reshape(-1), np.zeros(QUAD, np.uint8)]))
    constants = [
        pack_integer_convolution(weight, work, tile.groups),
        start_table(weight, problem.bias, problem.zero_point, geometry, LANES),
    ]
    kernel = IntegerConvolutionSource(work, tile)
    arrays = [source, *map(aligned, constants), *problem.parameters(), got]
    Kernels(folder, TARGET, [kernel]).run(kernel, arrays, 0, tile.tasks(geometry, work.out_blocks))
    result = unblock(got, len(weight)) if work.target == "blocked" else got.transpose(2, 0, 1)
    assert np.array_equal(result, problem.expected())


CASES = {
    "3x3, borders with a zero point": (same((7, 11), 3, 1), weights(24, 20, 3), 77, Ending()),
    "5x5 stride 2": (same((9, 8), 5, 2), weights(16, 18, 5), 3, Ending()),
    "5x5 on a picture of 2x3": (same((2, 3), 5, 1), weights(16, 16, 5), 200, Ending()),
    "pointwise": (same((5, 7), 1, 1), weights(40, 72, 1), 128, Ending()),
    "table": (same((5, 7), 1, 1), weights(16, 16, 1), 5, Ending(table=True)),
    "table by permutation": (same((5, 7), 1, 1), weights(16, 16, 1), 5, Ending(table=True, permutes_bytes=HAS_VBMI)),
    "residual": (same((4, 5), 3, 1), weights(16, 16, 3), 9, Ending(residual=True)),
    "table and residual": (same((4, 5), 3, 1), weights(16, 16, 3), 9, Ending(table=True, residual=True)),
    "fixed point, weights beyond int8": (same((6, 6), 3, 1), weights(16, 20, 3, -140, 255), 131, Ending(FIXED)),
    "fixed point, residual": (same((4, 6), 1, 1), weights(24, 16, 1), 131, Ending(FIXED, residual=True)),
    "fixed point, rounded once": (same((4, 6), 1, 1), weights(24, 16, 1), 131, Ending("fixed-point-single")),
}


@pytest.mark.parametrize("name", CASES)
def test_convolution_is_exact(name: str, tmp_path: Path) -> None:
    geometry, weight, zero_point, ending = CASES[name]
    check_convolution(tmp_path, Problem(geometry, weight, zero_point, ending), Tile(4, 1))


def test_without_the_dot_product_instruction(tmp_path: Path) -> None:
    problem = Problem(same((5, 6), 3, 1), weights(32, 20, 3), 12, Ending())
    check_convolution(tmp_path, problem, Tile(3, 2), dot_product=False)


def test_picture_in_and_rows_of_the_head_out(tmp_path: Path) -> None:
    problem = Problem(same((9, 9), 3, 2), weights(21, 3, 3), 128, Ending())
    check_convolution(tmp_path, problem, Tile(3, 1), source="interleaved", target="interleaved")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.tuples(st.integers(1, 40), st.integers(2, 40)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    zero_point=st.integers(0, 255),
)
def test_any_geometry(
    tmp_path_factory: pytest.TempPathFactory,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: int,
    stride: int,
    zero_point: int,
) -> None:
    problem = Problem(same(size, kernel, stride), weights(*channels, kernel), zero_point, Ending())
    check_convolution(tmp_path_factory.mktemp("any"), problem, Tile(4, 1))


@pytest.mark.parametrize("ending", [Ending(), Ending(table=True), Ending(FIXED)])
@pytest.mark.parametrize(("size", "kernel", "stride"), [((9, 13), 3, 1), ((8, 7), 5, 2), ((1, 2), 5, 1)])
def test_depthwise_is_exact(ending: Ending, size: tuple[int, int], kernel: int, stride: int, tmp_path: Path) -> None:
    weight = weights(20, 1, kernel, -255, 255)
    problem = Problem(same(size, kernel, stride), weight, 77, ending)
    work = IntegerWindow(problem.geometry, len(weight), LANES, ending)
    got = block(np.zeros((len(weight), *problem.geometry.out), np.uint8), LANES)
    arrays = [
        block(problem.source, LANES),
        aligned(blocked_channels(weight[:, 0].astype(np.float32), LANES)),
        aligned(start_table(weight, problem.bias, problem.zero_point, problem.geometry, LANES)),
        *problem.parameters(),
        got,
    ]
    source = IntegerWindowSource(work, 4)
    Kernels(tmp_path, TARGET, [source]).run(source, arrays, 0, window_tasks(work))
    assert np.array_equal(unblock(got, len(weight)), problem.expected())
