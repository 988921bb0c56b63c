"""NEON kernels in QEMU: on bytes equal to integer arithmetic written out, bit for bit; on floats within tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.kernels.choose_element_tile import element_tiles
from mdcompiler.backends.kernels.choose_integer_tile import integer_tiles, integer_window_tiles
from mdcompiler.backends.kernels.convolution import Convolution, Tile
from mdcompiler.backends.kernels.depthwise import tasks as window_tasks
from mdcompiler.backends.kernels.dot_product import DotName, choose_product, dot_of
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution
from mdcompiler.backends.kernels.integer_window import IntegerWindow, fits_quads
from mdcompiler.backends.kernels.pack_weights import (
    pack_bias,
    pack_convolution,
    pack_integer_convolution,
    pack_integer_window,
    start_table,
    weight_parts,
)
from mdcompiler.backends.kernels.requantize import Ending, Rounding
from mdcompiler.backends.kernels.sources import (
    ChannelwiseSource,
    ConvolutionSource,
    IntegerConvolutionSource,
    IntegerWindowSource,
)
from mdcompiler.quantization.rounding import rescale
from mdcompiler.target import Target, find_target
from mdcompiler.tolerance import within_float_tolerance
from tests.backends import test_integer_kernels as integers
from tests.backends.arm.emulated import needs_emulator
from tests.backends.arm.emulated_kernels import Case, run_cases
from tests.backends.convolution_problem import direct, same
from tests.backends.kernel_runner import block, unblock

pytestmark = needs_emulator
LANES = 4
PLAIN = Ending(processor="neon")
ENDINGS = [PLAIN, Ending(processor="neon", table=True), Ending(processor="neon", table=True, residual=True)]
Array = NDArray[Any]


class Problem(integers.Problem):
    lanes = LANES


def target_of(dot: DotName) -> Target:
    """The oldest of the shipped targets that has it."""
    return find_target("neoverse-v1" if dot == "usmmla" else "cortex-a76")


def convolution(problem: Problem, dot: DotName, tile: Tile | None, interleaved: bool = False) -> Case:
    """A regular convolution. tile: None takes what would be chosen. interleaved: from a picture into a head's rows."""
    weight, geometry = problem.weight, problem.geometry
    layout: Any = {"source": "interleaved", "target": "interleaved"} if interleaved else {}
    work = IntegerConvolution(
        geometry, weight.shape[1], len(weight), LANES, ending=problem.ending, dot=dot,
        parts=weight_parts(weight, dot), **layout,
    )  # fmt: skip
    source, got = block(problem.source, LANES), block(np.zeros((len(weight), *geometry.out), np.uint8), LANES)
    if interleaved:
        slack = np.full(work.slack, 0x5A, np.uint8)
        source = np.concatenate([problem.source.transpose(1, 2, 0).reshape(-1), slack])
        got = np.zeros((*geometry.out, len(weight)), np.uint8)
    chosen = tile or integer_tiles(work, target_of(dot))[0]
    zero_point = problem.zero_point - dot_of(dot).taken
    constants = [
        pack_integer_convolution(weight, work, chosen.groups),
        start_table(weight, problem.bias, zero_point, geometry, LANES),
    ]
    arrays = [source, *constants, *problem.parameters(), got]
    return Case(IntegerConvolutionSource(work, chosen), arrays, chosen.tasks(geometry, work.out_blocks))


def window(problem: Problem, pixels: int, by_quads: bool) -> Case:
    """A depthwise convolution. pixels: 0 takes the width that would be chosen."""
    weight, geometry = problem.weight, problem.geometry
    work = IntegerWindow(geometry, len(weight), LANES, problem.ending, by_quads, not by_quads)
    taken = dot_of("sdot").taken if by_quads else 0
    arrays = [
        block(problem.source, LANES),
        pack_integer_window(weight[:, 0], work),
        start_table(weight, problem.bias, problem.zero_point - taken, geometry, LANES),
        *problem.parameters(),
        block(np.zeros((len(weight), *geometry.out), np.uint8), LANES),
    ]
    width = pixels or integer_window_tiles(work, find_target("cortex-a76"))[0].pixels
    return Case(IntegerWindowSource(work, width), arrays, window_tasks(work))


def check(folder: Path, dot: DotName, problems: list[Problem], cases: list[Case]) -> None:
    for number, (problem, got) in enumerate(zip(problems, run_cases(folder, target_of(dot), cases), strict=True)):
        channels = len(problem.weight)
        result = unblock(got, channels) if got.ndim == 4 else got.transpose(2, 0, 1)
        where = f"case {number}: {problem.geometry}, weights {problem.weight.shape}, {problem.ending}"
        assert np.array_equal(result, problem.expected()), where


def geometries() -> Iterator[tuple[Geometry, int, int]]:
    """Odd and even rows, borders wider than the picture, strides and dilation; input and output channels."""
    for kernel, stride, size in ((1, 1, (5, 7)), (3, 1, (5, 9)), (3, 2, (8, 11)), (5, 1, (2, 3)), (5, 2, (7, 8))):
        for inputs, outputs in ((4, 8), (12, 12), (21, 7)):
            yield same(size, kernel, stride), inputs, outputs
    yield Geometry((9, 11), (3, 3), (1, 1), (2, 2), (9, 11), dilation=(2, 2)), 8, 8
    yield same((1, 1), 1, 1), 16, 8
    yield same((1, 2), 3, 1), 9, 4


@pytest.mark.parametrize("dot", ["sdot", "usmmla"])
def test_convolutions_of_any_geometry_are_exact(dot: DotName, tmp_path: Path) -> None:
    problems = [
        Problem(geometry, integers.weights(outputs, inputs, geometry.kernel[0]), 77, ENDINGS[number % 3], number)
        for number, (geometry, inputs, outputs) in enumerate(geometries())
    ]
    check(tmp_path, dot, problems, [convolution(problem, dot, None) for problem in problems])


@pytest.mark.parametrize("dot", ["sdot", "usmmla"])
def test_every_width_of_a_tile_is_exact(dot: DotName, tmp_path: Path) -> None:
    tiles = [Tile(pixels, groups) for pixels in (1, 2, 3, 4, 5, 7) for groups in (1, 2)]
    problem = Problem(same((3, 7), 3, 1), integers.weights(8, 13, 3), 12, ENDINGS[2])
    check(tmp_path, dot, [problem] * len(tiles), [convolution(problem, dot, tile) for tile in tiles])


@pytest.mark.parametrize("dot", ["sdot", "usmmla"])
def test_weights_beyond_a_byte_and_extreme_bytes_are_exact(dot: DotName, tmp_path: Path) -> None:
    wide = Problem(same((4, 6), 3, 1), integers.weights(8, 12, 3, -255, 255), 131, PLAIN)
    extreme = Problem(same((4, 6), 1, 1), np.full((8, 16, 1, 1), -128, np.int16), 0, PLAIN)
    extreme.source[...] = 255
    problems = [wide, extreme]
    check(tmp_path, dot, problems, [convolution(problem, dot, None) for problem in problems])


def test_rows_of_a_picture_are_exact(tmp_path: Path) -> None:
    problems = [
        Problem(geometry, integers.weights(outputs, channels, geometry.kernel[0], -255), 128, PLAIN)
        for geometry, channels, outputs in (
            (same((9, 9), 3, 2), 3, 21),
            (same((8, 10), 3, 2), 3, 8),
            (same((6, 7), 3, 1), 3, 16),
            (same((7, 8), 5, 2), 3, 4),
            (same((5, 6), 3, 1), 2, 4),
            (same((9, 9), 7, 2), 3, 4),  # 21 bytes are more than a vector: another kernel
        )
    ]
    check(tmp_path, "sdot", problems, [convolution(problem, "sdot", None, interleaved=True) for problem in problems])


WINDOWS = [*integers.WINDOWS, ((3, 20), 3, 1), ((5, 16), 9, 3), ((4, 12), 3, 3)]


@pytest.mark.parametrize("by_quads", [True, False])
def test_depthwise_kernels_are_exact(by_quads: bool, tmp_path: Path) -> None:
    found = [same(*arguments) for arguments in WINDOWS]
    kept = [geometry for geometry in found if fits_quads(geometry) or not by_quads]
    assert kept
    least = -127 if by_quads else -255
    problems = [
        Problem(geometry, integers.weights(10, 1, geometry.kernel[0], least, -least), 77, ENDINGS[number % 2], number)
        for number, geometry in enumerate(kept)
    ]
    cases = [window(problem, 0, by_quads) for problem in problems]
    check(tmp_path, "sdot", problems, cases)


def test_matrix_products_are_taken_where_there_are_pixels_to_pair() -> None:
    new, old = find_target("neoverse-v1"), find_target("cortex-a76")
    assert choose_product(new, by_blocks=True) == "usmmla"
    assert choose_product(new, by_blocks=False) == "sdot"
    assert choose_product(old, by_blocks=True) == "sdot"
    assert choose_product(find_target("arm64"), by_blocks=True) == "plain"


@pytest.mark.parametrize("rounding", integers.ROUNDINGS)
def test_means_are_exact_and_their_16_bits_never_overflow(rounding: Rounding, tmp_path: Path) -> None:
    chance, cases, expected = np.random.default_rng(3), [], []
    for pixels, least in ((1, 0), (6, 0), (35, 0), (1024, 255), (2100, 250)):
        values = chance.integers(least, 256, (2 * LANES, 1, pixels)).astype(np.uint8)
        real, got = 0.7 / pixels, np.zeros((2, LANES), np.uint8)
        source = ChannelwiseSource("mean_int8", (2, pixels, LANES, rounding, False, "neon"))
        arrays = [block(values, LANES), *integers.factors(real, rounding), integers.numbers(100, 120, 0), got]
        cases.append(Case(source, arrays, 2))
        total = (values.astype(np.int64) - 120).sum((1, 2))
        expected.append(np.clip(rescale(total, real, rounding) + 100, 2, 251))
    for got, want in zip(run_cases(tmp_path, target_of("sdot"), cases), expected, strict=True):
        assert np.array_equal(got.reshape(-1), want)


@pytest.mark.parametrize("rounding", integers.ROUNDINGS)
def test_gates_are_exact(rounding: Rounding, tmp_path: Path) -> None:
    chance, cases, expected = np.random.default_rng(4), [], []
    for pixels in (1, 4, 7):
        values = chance.integers(0, 256, (2 * LANES, 1, pixels)).astype(np.uint8)
        gate = chance.integers(0, 256, 2 * LANES).astype(np.uint8)
        source = ChannelwiseSource("gate_int8", (2, pixels, LANES, rounding, "neon"))
        numbers, got = integers.numbers(90, 130, 7), block(np.zeros_like(values), LANES)
        arrays = [block(values, LANES), gate, *integers.factors(0.004, rounding), numbers, got]
        cases.append(Case(source, arrays, 2))
        product = (values.astype(np.int64) - 130) * (gate.astype(np.int64) - 7)[:, None, None]
        expected.append(np.clip(rescale(product, 0.004, rounding) + 90, 2, 251))
    for got, want in zip(run_cases(tmp_path, target_of("sdot"), cases), expected, strict=True):
        assert np.array_equal(unblock(got, 2 * LANES), want)


def test_float_kernels_of_a_picture_are_within_tolerance(tmp_path: Path) -> None:
    chance, cases, expected = np.random.default_rng(5), [], []
    for size, kernel, stride, channels, outputs in (((9, 9), 3, 2, 3, 6), ((6, 7), 3, 1, 3, 8), ((7, 8), 5, 2, 4, 12)):
        geometry = same(size, kernel, stride)
        work = Convolution(geometry, channels, outputs, LANES, source="interleaved", by_element=True)
        tile = element_tiles(work, find_target("arm64"))[0]
        source = chance.normal(size=(channels, *size)).astype(np.float32)
        weight = chance.normal(size=(outputs, channels, kernel, kernel)).astype(np.float32)
        bias = chance.normal(size=outputs).astype(np.float32)
        arrays = [
            np.ascontiguousarray(source.transpose(1, 2, 0)),
            pack_convolution(weight, LANES, tile.groups, channels),
            pack_bias(bias, LANES),
            block(np.zeros((outputs, *geometry.out), np.float32), LANES),
        ]
        cases.append(Case(ConvolutionSource(work, tile), arrays, tile.tasks(geometry, work.out_blocks)))
        expected.append(direct(geometry, source, weight, bias))
    for got, want in zip(run_cases(tmp_path, find_target("arm64"), cases), expected, strict=True):
        assert within_float_tolerance(unblock(got, len(want)), want.astype(np.float32))
