"""Depthwise convolutions of bytes on a Vulkan device: every bit as the integer reference says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mdcompiler.backends.gpu.integer_depthwise import GpuIntegerWindow, IntegerWindowTile, window_weights, write_window
from mdcompiler.backends.gpu.integer_ending import Ending
from mdcompiler.backends.gpu.integer_pack import needs_raise, numbers_of, pack_constants, pack_window, words
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.quantization.rounding import rescale
from tests.backends.convolution_problem import same
from tests.backends.gpu.integer_runner import Array, as_words, bytes_of, from_words, needs_device, port, run, step

pytestmark = needs_device
ZERO = 140


def expected(x: Array, weight: Array, bias: Array, real: Array, geometry: Geometry) -> Array:
    total = np.zeros((len(x), *geometry.out), np.int64)
    image = x.reshape(-1, *geometry.size).astype(np.int64) - ZERO
    for row, column, kh, kw in np.ndindex(*geometry.out, *geometry.kernel):
        y, x_ = geometry.source(0, row, kh), geometry.source(1, column, kw)
        if 0 <= y < geometry.size[0] and 0 <= x_ < geometry.size[1]:
            total[:, row, column] += image[:, y, x_] * weight[:, kh, kw]
    sums = (total + bias.reshape(-1, 1, 1)).reshape(len(x), -1)
    return np.clip(rescale(sums, real.reshape(-1, 1), "fixed-point-single") + 3, 0, 250).astype(np.uint8)


@pytest.mark.parametrize(
    ("channels", "geometry", "tile"),
    [
        (8, same((7, 9), 3, 1), IntegerWindowTile(2, 4, 64)),
        (6, same((8, 8), 3, 2), IntegerWindowTile(1, 2, 32)),
        (12, same((9, 6), 5, 1), IntegerWindowTile(2, 2, 64)),
        (4, same((7, 7), 5, 2), IntegerWindowTile(1, 4, 32)),
        (5, Geometry((6, 9), (3, 3), (1, 1), (0, 0), (4, 7)), IntegerWindowTile(2, 2, 32)),
        (8, same((1, 1), 3, 1), IntegerWindowTile(1, 1, 32)),
    ],
    ids=["3x3", "3x3s2", "5x5", "5x5s2", "valid", "one"],
)
@pytest.mark.parametrize("has_table", [False, True])
@pytest.mark.parametrize("by_quads", [False, True])
def test_is_exact(channels: int, geometry: Geometry, tile: IntegerWindowTile, has_table: bool, by_quads: bool) -> None:
    tile = replace(tile, by_quads=by_quads)
    rng = np.random.default_rng(channels)
    x, weight = bytes_of(rng, channels, geometry.pixels), rng.integers(-127, 128, (channels, *geometry.kernel))
    bias, real = rng.integers(-3000, 3000, channels), rng.uniform(0.001, 0.005, channels)
    constants = pack_constants(weight, bias, ZERO, real)
    table = rng.integers(0, 256, 256).astype(np.uint8)
    work = GpuIntegerWindow(geometry, channels, Ending(needs_raise(real), has_table))
    numbers = numbers_of(step(port(1.0, 3), low=0, high=250), ZERO)
    arrays = [as_words(x), window_weights(weight, geometry, tile), constants, numbers]
    more = [words(table.reshape(-1, 4))] if has_table else []
    got = run(write_window("dw", work, tile), [*arrays, *more], np.zeros((work.words, geometry.out_pixels), np.int32))
    want = expected(x, weight, bias, real, geometry)
    assert len(np.unique(want)) > 4, "the problem must not saturate everywhere"
    assert np.array_equal(from_words(got, channels), table[want] if has_table else want)


def test_dot_products_agree() -> None:
    geometry, rng = same((5, 5), 3, 1), np.random.default_rng(1)
    weight = rng.integers(-127, 128, (4, 3, 3))
    constants = pack_constants(weight, np.zeros(4), ZERO, np.full(4, 0.003))
    arrays = [as_words(bytes_of(rng, 4, 25)), pack_window(weight), constants, numbers_of(step(port(1.0, 128)), ZERO)]
    work, found = GpuIntegerWindow(geometry, 4), []
    for dot in ("packed", "unpack"):
        function = write_window("dw", replace(work, dot=dot), IntegerWindowTile(1, 2, 32))
        found.append(run(function, arrays, np.zeros((1, 25), np.int32)))
    assert np.array_equal(found[0], found[1])
