"""Convolutions of bytes on a Vulkan device: every bit as the integer reference says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from mdcompiler.backends.gpu.integer_convolution import write_convolution
from mdcompiler.backends.gpu.integer_ending import Ending
from mdcompiler.backends.gpu.integer_pack import (
    fill_sum,
    needs_raise,
    numbers_of,
    pack_constants,
    pack_matrix,
    words,
)
from mdcompiler.backends.gpu.integer_workload import GpuIntegerConvolution, IntegerTile
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.quantization.rounding import rescale, rescale_sum
from tests.backends.convolution_problem import same
from tests.backends.gpu.integer_runner import Array, as_words, bytes_of, from_words, needs_device, port, run, step

pytestmark = needs_device
TILE = IntegerTile(across=4, down=2, quads=1, words=1, depth=4)


def sums(x: Array, weight: Array, bias: Array, zero: int, geometry: Geometry) -> Array:
    """bias + sum (x - zero) * weight; x: [C, H, W] -> [O, H W] int64."""
    (height, width), (rows, columns) = geometry.size, geometry.out
    total = np.zeros((len(weight), rows, columns), np.int64)
    for kh, kw in np.ndindex(*geometry.kernel):
        for row, column in np.ndindex(rows, columns):
            y, x_ = geometry.source(0, row, kh), geometry.source(1, column, kw)
            if 0 <= y < height and 0 <= x_ < width:
                total[:, row, column] += weight[:, :, kh, kw] @ (x[:, y, x_].astype(np.int64) - zero)
    return (total + bias.reshape(-1, 1, 1)).reshape(len(weight), -1)


@dataclass
class Problem:
    """A convolution with everything that may end it, and what it must give."""

    work: GpuIntegerConvolution
    tile: IntegerTile
    seed: int = 0
    factor: float = 0.003
    has_table: bool = False
    has_residual: bool = False
    bounds: tuple[int, int] = (0, 255)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        work = self.work
        geometry = work.geometry
        self.x = bytes_of(rng, work.in_channels, geometry.pixels)
        self.weight = rng.integers(-127, 128, (work.out_channels, work.in_channels, *geometry.kernel))
        self.bias = rng.integers(-3000, 3000, work.out_channels)
        reach = np.sqrt(work.in_channels * geometry.taps)
        self.real = rng.uniform(0.3, 1.0, work.out_channels) * self.factor / reach
        self.table = rng.integers(0, 256, 256).astype(np.uint8)
        self.other = bytes_of(rng, work.out_channels, geometry.out_pixels)
        self.source_port, self.conv_port = port(1.0, 119), port(0.02, 131)
        self.other_port, self.sum_port = port(0.031, 7), port(0.044, 90)

    def solve(self) -> tuple[Array, Array]:
        """What the device gives and what it must give, [O, P] uint8."""
        work, pixels = self.work, self.work.geometry.out_pixels
        constants = pack_constants(self.weight, self.bias, self.source_port.zero_point, self.real, self.tile.out_words)
        numbers = numbers_of(step(self.conv_port, low=self.bounds[0], high=self.bounds[1]), 119)
        add = fill_sum(numbers, step(self.sum_port), self.conv_port, self.other_port) if self.has_residual else None
        work = replace(work, ending=Ending(needs_raise(self.real), self.has_table, add, clamp=self.bounds != (0, 255)))
        picture = work.source == "picture"
        memory = words(np.pad(self.x.T.reshape(-1), (0, -self.x.size % 4)).reshape(-1, 4)) if picture else None
        arrays = [
            as_words(self.x) if memory is None else memory,
            pack_matrix(self.weight, self.tile.depth, 4 * self.tile.out_words, picture),
            constants,
            numbers,
            *([words(self.table.reshape(-1, 4))] if self.has_table else []),
            *([as_words(self.other)] if self.has_residual else []),
        ]
        if work.target == "words":
            got = run(write_convolution("conv", work, self.tile), arrays, np.zeros((work.out_words, pixels), np.int32))
            return from_words(got, work.out_channels), self.expected()
        rows = replace(work, elements=work.out_channels * pixels + 5, offset=3)
        got = run(write_convolution("conv", rows, self.tile), arrays, np.full(rows.elements, -1, np.int32))
        assert (got[:3] == -1).all(), "nothing is written before the offset"
        assert (got[-2:] == -1).all(), "nothing is written behind the last element"
        return got[3:-2].reshape(pixels, -1).T.astype(np.uint8), self.expected()

    def expected(self) -> Array:
        total = sums(self.x.reshape(-1, *self.work.geometry.size), self.weight, self.bias, 119, self.work.geometry)
        value = rescale(total, self.real.reshape(-1, 1), "fixed-point-single") + self.conv_port.zero_point
        found = np.clip(value, *self.bounds).astype(np.uint8)
        if self.has_table:
            found = self.table[found]
        if self.has_residual:
            scales = self.conv_port.scale, self.other_port.scale, self.sum_port.scale
            own, other = found.astype(np.int64) - self.conv_port.zero_point, self.other.astype(np.int64) - 7
            found = np.clip(rescale_sum(own, other, scales, "fixed-point-single") + 90, 0, 255).astype(np.uint8)
        return found

    def check(self) -> None:
        got, expected = self.solve()
        assert len(np.unique(expected)) > 8, "the problem must not saturate everywhere"
        assert np.array_equal(got, expected), f"{(got != expected).mean():.1%} differ"


def conv(inputs: int, outputs: int, geometry: Geometry, **more: object) -> GpuIntegerConvolution:
    return replace(GpuIntegerConvolution(geometry, inputs, outputs), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("work", "tile"),
    [
        (conv(16, 24, same((7, 9), 1, 1)), TILE),
        (conv(16, 24, same((4, 6), 1, 1)), TILE),
        (conv(22, 13, same((5, 8), 1, 1)), replace(TILE, quads=2, words=2, depth=3)),
        (conv(16, 8, same((6, 10), 3, 1)), TILE),
        (conv(12, 20, same((9, 7), 3, 2)), replace(TILE, across=2, down=16, depth=3)),
        (conv(3, 5, same((6, 6), 5, 2)), replace(TILE, depth=7)),
        (conv(8, 4, Geometry((8, 8), (3, 3), (1, 1), (0, 0), (4, 4), (2, 2))), TILE),
        (conv(8, 8, Geometry((5, 5), (1, 1), (2, 2), (0, 0), (3, 3))), TILE),
    ],
    ids=["ragged", "vectors", "wide", "3x3", "3x3s2", "5x5", "dilated", "1x1s2"],
)
def test_is_exact(work: GpuIntegerConvolution, tile: IntegerTile) -> None:
    Problem(work, tile).check()


@pytest.mark.parametrize("size", [(6, 9), (5, 11)])
def test_picture(size: tuple[int, int]) -> None:
    work = conv(3, 8, same(size, 3, 2), source="picture")
    Problem(work, replace(TILE, depth=9)).check()


@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
@pytest.mark.parametrize("has_table", [False, True])
@pytest.mark.parametrize("has_residual", [False, True])
def test_endings(size: tuple[int, int], has_table: bool, has_residual: bool) -> None:
    work = conv(8, 12, same(size, 1, 1))
    Problem(work, TILE, has_table=has_table, has_residual=has_residual, bounds=(20, 230)).check()


@pytest.mark.parametrize("factor", [0.7, 3.0])
def test_large_factors(factor: float) -> None:
    problem = Problem(conv(4, 8, same((4, 4), 1, 1)), TILE, factor=factor)
    problem.weight = problem.weight // 64
    problem.bias = problem.bias // 200
    problem.check()


@pytest.mark.parametrize("size", [(3, 5), (4, 4)])
def test_rows_of_a_head(size: tuple[int, int]) -> None:
    Problem(conv(8, 10, same(size, 1, 1), target="rows"), TILE, has_table=True).check()


@pytest.mark.parametrize("dot", ["packed", "unpack"])
def test_dot_products_agree(dot: str) -> None:
    Problem(conv(20, 8, same((5, 5), 3, 1), dot=dot), replace(TILE, depth=5)).check()
