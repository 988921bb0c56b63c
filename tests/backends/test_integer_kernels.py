"""The int8 templates against integer arithmetic written out, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.backends.kernels.channelwise import flat_tasks
from mdcompiler.backends.kernels.convolution import Tile
from mdcompiler.backends.kernels.depthwise import tasks as window_tasks
from mdcompiler.backends.kernels.dot_product import QUAD, DotName, choose_dot
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution
from mdcompiler.backends.kernels.integer_window import IntegerWindow, fits_quads
from mdcompiler.backends.kernels.pack_weights import (
    pack_bias,
    pack_integer_convolution,
    pack_integer_window,
    start_table,
    weight_parts,
)
from mdcompiler.backends.kernels.requantize import (
    FACTORS,
    HIGH,
    LOW,
    NUMBERS,
    OTHER_ZERO,
    OWN_ZERO,
    ZERO,
    Ending,
    Rounding,
)
from mdcompiler.backends.kernels.saturate import Processor, choose_processor
from mdcompiler.backends.kernels.sources import ChannelwiseSource, IntegerConvolutionSource, IntegerWindowSource
from mdcompiler.quantization.fixed_point import fixed_point
from mdcompiler.quantization.rounding import rescale, rescale_sum
from mdcompiler.target import find_target
from tests.backends.convolution_problem import same
from tests.backends.kernel_runner import Kernels, aligned, block, unblock

Array = NDArray[Any]
TARGET = find_target("cpu")
LANES = TARGET.lanes
FIXED: Rounding = "fixed-point-double"
HAS_VBMI = "avx512vbmi" in TARGET.cpu_flags
PROCESSOR = choose_processor(TARGET)
DOTS = sorted({"plain", "pmaddwd" if PROCESSOR == "x86" else "plain", choose_dot(TARGET)})


class Problem:
    """Random integers for one kernel, and what must come out."""

    lanes = LANES

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
            arrays = [pack_bias(self.multiplier.astype(np.float32), self.lanes), self.numbers]
        else:
            factor = fixed_point(self.multiplier)
            twice = 2 * max(own, other)
            reals = (own / twice, other / twice, twice / (2.0**20 * result))
            for place, real in enumerate(reals):
                part = fixed_point(real)
                self.numbers[FACTORS + 2 * place :][:2] = int(part.multiplier), int(part.shift)
            packed = [pack_bias(item.astype(np.int32), self.lanes) for item in (factor.multiplier, factor.shift)]
            arrays = [*packed, self.numbers]
        if self.ending.residual:
            arrays.append(np.array([np.float32(own / result), np.float32(other / result)], np.float32))
        if self.ending.table:
            arrays.append(self.table)
        if self.ending.residual:
            arrays.append(block(self.residual, self.lanes))
        return [aligned(array) for array in arrays]


def weights(outputs: int, inputs: int, kernel: int, low: int = -127, high: int = 127) -> Array:
    return np.random.default_rng(1).integers(low, high + 1, (outputs, inputs, kernel, kernel)).astype(np.int16)


def check_convolution(folder: Path, problem: Problem, tile: Tile, dot: DotName | None = None, **layout: Any) -> None:
    weight, geometry, name = problem.weight, problem.geometry, dot or choose_dot(TARGET)
    work = IntegerConvolution(
        geometry, weight.shape[1], len(weight), LANES, ending=problem.ending, dot=name,
        parts=weight_parts(weight, name), **layout,
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
    "table by shuffles": (same((5, 7), 1, 1), weights(16, 16, 1), 5, Ending(table=True, processor=PROCESSOR)),
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


@pytest.mark.parametrize("dot", DOTS)
@pytest.mark.parametrize("low", [-127, -255])
def test_every_dot_product(dot: DotName, low: int, tmp_path: Path) -> None:
    problem = Problem(same((5, 6), 3, 1), weights(32, 20, 3, low), 12, Ending(processor=PROCESSOR))
    check_convolution(tmp_path, problem, Tile(3, 2), dot=dot)


@pytest.mark.parametrize("pixels", [1, 2, 4, 5, 7])
def test_tiles_that_are_no_fours(pixels: int, tmp_path: Path) -> None:
    ending = Ending(table=True, residual=True, processor=PROCESSOR, permutes_bytes=HAS_VBMI)
    check_convolution(tmp_path, Problem(same((3, 11), 3, 1), weights(16, 9, 3), 12, ending), Tile(pixels, 1))


def test_a_kernel_without_bounds_of_its_own(tmp_path: Path) -> None:
    problem = Problem(same((5, 6), 3, 1), weights(32, 20, 3), 12, Ending(processor=PROCESSOR, clamp=False))
    problem.multiplier = problem.multiplier * 3
    problem.numbers[[LOW, HIGH]] = 0, 255
    assert {0, 255} <= set(problem.expected().reshape(-1).tolist()), "saturates at both ends"
    check_convolution(tmp_path, problem, Tile(4, 2))


def test_sums_far_beyond_a_byte_saturate(tmp_path: Path) -> None:
    problem = Problem(same((4, 6), 1, 1), weights(32, 40, 1), 131, Ending(processor=PROCESSOR))
    problem.multiplier = problem.multiplier * 3000
    expected = problem.expected()
    assert np.isin(expected, problem.numbers[[LOW, HIGH]]).mean() > 0.95, "int16 is left as well"
    check_convolution(tmp_path, problem, Tile(4, 1))


def test_picture_in_and_rows_of_the_head_out(tmp_path: Path) -> None:
    problem = Problem(same((9, 9), 3, 2), weights(21, 3, 3), 128, Ending(processor=PROCESSOR))
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
    problem = Problem(same(size, kernel, stride), weights(*channels, kernel), zero_point, Ending(processor=PROCESSOR))
    check_convolution(tmp_path_factory.mktemp("any"), problem, Tile(4, 1))


WINDOWS = [
    ((9, 13), 3, 1),
    ((8, 7), 5, 2),
    ((1, 2), 5, 1),
    ((6, 21), 5, 1),
    ((7, 4), 3, 1),
    ((4, 4), 3, 2),
    ((5, 9), 7, 2),
]


@pytest.mark.parametrize("by_quads", [False, True] if choose_dot(TARGET) == "vpdpbusd" else [False])
@pytest.mark.parametrize("ending", [Ending(), Ending(table=True, processor=PROCESSOR), Ending(FIXED)])
@pytest.mark.parametrize(("size", "kernel", "stride"), WINDOWS)
def test_depthwise_is_exact(
    ending: Ending, size: tuple[int, int], kernel: int, stride: int, by_quads: bool, tmp_path: Path
) -> None:
    least = -127 if by_quads else -255
    problem = Problem(same(size, kernel, stride), weights(20, 1, kernel, least, -least), 77, ending)
    if by_quads and not fits_quads(problem.geometry):
        pytest.skip("rows of less than four pixels are left to the other kernel")
    for pixels in (1, 4, 6):
        check_window(tmp_path, problem, pixels, by_quads)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 9), st.integers(4, 24)),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 3),
    pixels=st.integers(1, 12),
)
def test_any_window(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], kernel: int, stride: int, pixels: int
) -> None:
    problem = Problem(same(size, kernel, stride), weights(20, 1, kernel), 77, Ending(processor=PROCESSOR))
    by_quads = choose_dot(TARGET) == "vpdpbusd"
    check_window(tmp_path_factory.mktemp("window"), problem, min(pixels, problem.geometry.out[1]), by_quads)


def check_window(folder: Path, problem: Problem, pixels: int, by_quads: bool) -> None:
    weight, geometry = problem.weight, problem.geometry
    work = IntegerWindow(geometry, len(weight), LANES, problem.ending, by_quads)
    got = block(np.zeros((len(weight), *geometry.out), np.uint8), LANES)
    arrays = [
        block(problem.source, LANES),
        aligned(pack_integer_window(weight[:, 0], work)),
        aligned(start_table(weight, problem.bias, problem.zero_point, geometry, LANES)),
        *problem.parameters(),
        got,
    ]
    source = IntegerWindowSource(work, pixels)
    place = folder / str(pixels)
    place.mkdir(exist_ok=True)
    Kernels(place, TARGET, [source]).run(source, arrays, 0, window_tasks(work))
    assert np.array_equal(unblock(got, len(weight)), problem.expected())


ROUNDINGS: list[Rounding] = ["float-half-even", FIXED, "fixed-point-single"]


def factors(real: float, rounding: Rounding) -> list[Array]:
    """Multiplier and shift of one factor for all channels."""
    if rounding == "float-half-even":
        return [aligned(np.array([real], np.float32)), aligned(np.zeros(1, np.int32))]
    fixed = fixed_point(np.array([real]))
    return [aligned(fixed.multiplier.astype(np.int32)), aligned(fixed.shift.astype(np.int32))]


def numbers(zero: int, own: int, other: int) -> Array:
    values = np.zeros(NUMBERS, np.int32)
    values[[ZERO, LOW, HIGH, OWN_ZERO, OTHER_ZERO]] = zero, 2, 251, own, other
    return aligned(values)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("pixels", [1, 6, 16, 35])
def test_mean_is_exact(rounding: Rounding, pixels: int, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 256, (2 * LANES, 1, pixels)).astype(np.uint8)
    real, got = 0.7 / pixels, aligned(np.zeros((2, LANES), np.uint8))
    by_quads = choose_dot(TARGET) == "vpdpbusd"
    source = ChannelwiseSource("mean_int8", (2, pixels, LANES, rounding, by_quads))
    arrays = [block(values, LANES), *factors(real, rounding), numbers(100, 120, 0), got]
    Kernels(tmp_path, TARGET, [source]).run(source, arrays, 0, 2)
    total = (values.astype(np.int64) - 120).sum((1, 2))
    assert np.array_equal(got.reshape(-1), np.clip(rescale(total, real, rounding) + 100, 2, 251))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("pixels", [1, 4, 7])
def test_gate_is_exact(rounding: Rounding, pixels: int, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    values, gate = (random.integers(0, 256, (2 * LANES, 1, count)).astype(np.uint8) for count in (pixels, 1))
    source = ChannelwiseSource("gate_int8", (2, pixels, LANES, rounding, PROCESSOR))
    got = block(np.zeros_like(values), LANES)
    arrays = [block(values, LANES), block(gate, LANES), *factors(0.004, rounding), numbers(100, 120, 3), got]
    Kernels(tmp_path, TARGET, [source]).run(source, arrays, 0, 2)
    product = (values.astype(np.int64) - 120) * (gate.astype(np.int64) - 3)
    expected = np.clip(rescale(product, 0.004, rounding) + 100, 2, 251)
    assert np.array_equal(unblock(got, 2 * LANES), expected)


@pytest.mark.parametrize("permutes_bytes", sorted({False, HAS_VBMI}))
@pytest.mark.parametrize("processor", sorted({"any", PROCESSOR}))
@pytest.mark.parametrize("size", [64, 100, 1000])
def test_table_is_exact(size: int, processor: Processor, permutes_bytes: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    values, entries = random.integers(0, 256, size).astype(np.uint8), random.permutation(256).astype(np.uint8)
    source, got = ChannelwiseSource("table", (size, permutes_bytes, processor)), aligned(np.zeros(size, np.uint8))
    Kernels(tmp_path, TARGET, [source]).run(source, [aligned(values), aligned(entries), got], 0, flat_tasks(size))
    assert np.array_equal(got, entries[values])
