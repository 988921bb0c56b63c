"""The convolution templates against a direct sum over all taps, for geometries of every kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.convolution import Convolution, Tile, tasks
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.depthwise import tasks as window_tasks
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.pack_weights import blocked_channels, pack_bias
from mdcompiler.backends.kernels.sources import ConvolutionSource, WindowSource
from mdcompiler.target import find_target
from mdcompiler.tolerance import within_float_tolerance
from mdcompiler.tuning.records import Records
from tests.backends.convolution_problem import RELU6, activated, convolution, direct, problem, same
from tests.backends.kernel_runner import Kernels, aligned, block, unblock

Array = NDArray[Any]


def check(folder: Path, work: Convolution, tile: Tile | None = None) -> None:
    """Run the kernel in two uneven shares of its tasks and compare every output."""
    target = find_target("cpu")
    tile = tile or Chooser(target, Records()).schedule("convolution", work)
    case = problem(work)
    got = case.output()
    arrays = [case.input(), *case.constants(tile.groups), got]
    kernel, total = ConvolutionSource(work, tile), tasks(work, tile)
    kernels = Kernels(folder, target, [kernel])
    kernels.run(kernel, arrays, total // 3, total)
    kernels.run(kernel, arrays, 0, total // 3)
    case.assert_solved(got)


CASES = {
    "regular 3x3": convolution(20, 24, same((9, 11), 3, 1), activation=RELU6),
    "stride 2, even size": convolution(16, 32, same((10, 12), 3, 2)),
    "5x5 stride 2, odd size": convolution(8, 16, same((9, 7), 5, 2), activation=Curve("hard_swish")),
    "picture smaller than the kernel": convolution(16, 16, same((2, 1), 5, 1)),
    "pointwise, rest of pixels and channels": convolution(40, 72, same((5, 7), 1, 1), activation=Curve("swish")),
    "pointwise stride 2": convolution(16, 16, same((7, 7), 1, 2)),
    "single pixel": convolution(48, 96, same((1, 1), 1, 1), activation=Curve("sigmoid")),
    "residual then relu": convolution(16, 16, same((6, 5), 3, 1), residual="before", activation=RELU6),
    "relu then residual": convolution(16, 40, same((6, 5), 1, 1), residual="after", activation=RELU6),
    "picture in, bytes already floats": convolution(3, 16, same((15, 17), 3, 2), source="interleaved"),
    "head, channels that fill no vector": convolution(24, 21, same((3, 3), 1, 1), target="interleaved"),
    "head of a few channels": convolution(24, 6, same((2, 5), 1, 1), target="interleaved", activation=Curve("sigmoid")),
    "dilated": convolution(16, 16, same((9, 9), 3, 1, dilation=(2, 2), pad=(2, 2))),
    "hard sigmoid": convolution(16, 16, same((4, 4), 1, 1), activation=Curve("hard_sigmoid", slope=0.2, offset=0.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_convolution_equals_the_sum_over_taps(name: str, tmp_path: Path) -> None:
    check(tmp_path, CASES[name])


@pytest.mark.parametrize("rows_outer", [False, True])
def test_every_order_of_tasks_gives_the_same(rows_outer: bool, tmp_path: Path) -> None:
    check(tmp_path, convolution(20, 64, same((6, 13), 3, 1)), Tile(5, 2, rows_outer))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.sampled_from([1, 2, 3, 5, 7]),
    stride=st.integers(1, 3),
)
def test_any_geometry(
    tmp_path_factory: pytest.TempPathFactory,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: int,
    stride: int,
) -> None:
    check(tmp_path_factory.mktemp("any"), convolution(*channels, same(size, kernel, stride)))


def window(channels: int, size: tuple[int, int], kernel: int, stride: int, **more: Any) -> Window:
    return Window(same(size, kernel, stride), channels, find_target("cpu").lanes, **more)


WINDOWS = {
    "3x3": window(20, (9, 23), 3, 1, activation=RELU6),
    "5x5 stride 2": window(16, (8, 10), 5, 2, activation=Curve("hard_swish")),
    "5x5 on one pixel": window(16, (1, 1), 5, 1),
    "3x3 on two pixels, stride 2": window(16, (2, 2), 3, 2),
    "max pooling": window(20, (9, 7), 3, 2, operation="max"),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_depthwise_and_pooling(name: str, tmp_path: Path) -> None:
    work, target = WINDOWS[name], find_target("cpu")
    random = np.random.default_rng(1)
    source = random.uniform(-2, -1, (work.channels, *work.geometry.size)).astype(np.float32)
    weight = random.normal(0, 0.5, (work.channels, 1, *work.geometry.kernel)).astype(np.float32)
    bias = random.normal(0, 1, work.channels).astype(np.float32)
    got = block(np.full((work.channels, *work.geometry.out), np.nan, np.float32), work.lanes)
    constants = [aligned(blocked_channels(weight[:, 0], work.lanes)), aligned(pack_bias(bias, work.lanes))]
    if work.operation == "max":
        constants = []
    kernel = WindowSource(work, Chooser(target, Records()).schedule("window", work).pixels)
    Kernels(tmp_path, target, [kernel]).run(kernel, [block(source, work.lanes), *constants, got], 0, window_tasks(work))
    expected = (
        largest(work.geometry, source) if work.operation == "max" else direct(work.geometry, source, weight, bias)
    )
    result = unblock(got, work.channels)
    assert within_float_tolerance(result, activated(work.activation, expected).astype(np.float32))


def largest(geometry: Geometry, source: Array) -> Array:
    """Max pooling by definition."""
    out = np.full((len(source), *geometry.out), -np.inf)
    for y, x in np.ndindex(*geometry.out):
        top, left = geometry.source(0, y, 0), geometry.source(1, x, 0)
        rows = slice(max(top, 0), top + geometry.kernel[0])
        out[:, y, x] = source[:, rows, max(left, 0) : left + geometry.kernel[1]].max((1, 2))
    return out


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_the_chosen_tile_fits_the_registers(target: str) -> None:
    machine = find_target(target)
    for inputs, outputs, size, kernel in [(64, 256, 40, 3), (576, 72, 20, 1), (832, 144, 10, 1), (8, 8, 1, 3)]:
        work = replace(convolution(inputs, outputs, same((size, size), kernel, 1)), lanes=machine.lanes)
        tile = Chooser(machine, Records()).schedule("convolution", work)
        assert tile.pixels * tile.groups + tile.groups + 1 <= machine.vector_registers
        assert work.out_blocks % tile.groups == 0
        assert tile.pixels <= size * size


def test_a_tile_that_does_not_divide_the_channels_is_a_fault() -> None:
    with pytest.raises(ValueError, match="3 groups do not divide"):
        ConvolutionSource(convolution(16, 64, same((4, 4), 1, 1)), Tile(4, 3)).write()
