"""Kernels whose activations and weights are float16 and whose sums are float32, against float64 on the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mdcompiler.backends.gpu.convolution import GpuConvolution, GpuTile, pack_bias, pack_convolution
from mdcompiler.backends.gpu.sources import GpuConvolutionSource, GpuSimpleSource, GpuWindowSource
from mdcompiler.backends.gpu.window import WindowTile
from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.pack_weights import blocked_channels
from mdcompiler.backends.webgpu.device import why_not_run
from tests.backends.convolution_problem import RELU6, Problem, activated, direct, problem, same
from tests.backends.gpu.shaders import Array, run
from tests.backends.kernel_runner import block, unblock

pytestmark = pytest.mark.skipif(bool(why_not_run(half=True)), reason=why_not_run(half=True))
LANES = 4
ULP = 2.0**-10
"""Of float16: a result may be one step from the exact one, rounded, and a sum of float32 adds next to nothing."""


def rounded(values: Array) -> Array:
    """`values` as float16 numbers, in float32."""
    return values.astype(np.float16).astype(np.float32)


def half_problem(work: Convolution) -> Problem:
    made = problem(work)
    return Problem(work, rounded(made.source), rounded(made.weight), made.bias, rounded(made.extra))


def close(got: Array, want: Array) -> bool:
    """Whether every value is within one step of float16."""
    return got.dtype == np.float16 and bool((np.abs(got - want) <= ULP * np.maximum(np.abs(want), 2.0**-10)).all())


@pytest.mark.parametrize(
    ("geometry", "inputs", "outputs", "tile"),
    [
        (same((11, 13), 3, 2), 16, 20, GpuTile(64, 32, 4, 8, 4)),
        (same((9, 9), 1, 1), 12, 24, GpuTile(32, 16, 4, 4, 3)),
        (same((7, 7), 5, 1), 4, 8, GpuTile(16, 8, 1, 4, 5)),
    ],
)
@pytest.mark.parametrize("residual", ["none", "before"])
def test_convolutions(geometry: Geometry, inputs: int, outputs: int, tile: GpuTile, residual: Any) -> None:
    work = Convolution(geometry, inputs, outputs, LANES, activation=RELU6, residual=residual)
    made, case = half_problem(work), GpuConvolution(work, "float16")
    weight = pack_convolution(made.weight, case, tile).astype(np.float16)
    arrays = [block(made.source, LANES).astype(np.float16), weight, pack_bias(made.bias, case, tile)]
    if residual != "none":
        arrays.append(block(made.extra, LANES).astype(np.float16))
    got = run(GpuConvolutionSource(case, tile), arrays, block(made.extra, LANES).astype(np.float16))
    assert close(unblock(got, outputs), made.expected())


def test_a_head_writes_float32() -> None:
    work = Convolution(same((5, 5), 1, 1), 8, 21, LANES, target="interleaved")
    made, size = half_problem(work), 25 * 21
    case, tile = GpuConvolution(work, "float16", size=size), GpuTile(16, 8, 2, 4, 2)
    weight = pack_convolution(made.weight, case, tile).astype(np.float16)
    arrays = [block(made.source, LANES).astype(np.float16), weight, pack_bias(made.bias, case, tile)]
    got = run(GpuConvolutionSource(case, tile), arrays, np.zeros(size, np.float32))
    assert np.allclose(got.reshape(5, 5, 21).transpose(2, 0, 1), made.expected(), atol=1e-5)


def test_a_picture_becomes_float16() -> None:
    work = Convolution(same((9, 13), 3, 2), 3, 16, LANES, activation=RELU6, source="interleaved")
    made, scale, offset = half_problem(work), 2 / 255, -1.0
    case, tile = GpuConvolution(work, "float16", scale, offset), GpuTile(32, 16, 4, 4, 3)
    picture = np.random.default_rng(1).integers(0, 256, (9, 13, 3), np.uint8)
    words = np.frombuffer(picture.tobytes() + bytes(-picture.size % 4), np.uint32)
    weight = pack_convolution(made.weight, case, tile).astype(np.float16)
    got = run(
        GpuConvolutionSource(case, tile),
        [words, weight, pack_bias(made.bias, case, tile)],
        block(made.extra, LANES).astype(np.float16),
    )
    entering = rounded((picture.transpose(2, 0, 1) * np.float32(scale) + np.float32(offset)).astype(np.float32))
    want = activated(RELU6, direct(work.geometry, entering, made.weight, made.bias))
    # preprocessing may round a few bytes the other way: one step of inputs of at most 1 under 27 weights of about 0.2
    assert np.abs(unblock(got, 16).astype(np.float32) - want).max() < 0.01


@pytest.mark.parametrize("operation", ["convolution", "max"])
def test_windows(operation: Any) -> None:
    geometry = same((9, 11), 3, 2)
    random = np.random.default_rng(0)
    source = rounded(random.uniform(-2, -1, (9, 9, 11)).astype(np.float32))
    weight = rounded(random.normal(0, 1, (9, 1, 3, 3)).astype(np.float32))
    bias = random.normal(0, 1, 9).astype(np.float32)
    arrays = [block(source, LANES).astype(np.float16)]
    if operation == "convolution":
        arrays += [blocked_channels(weight[:, 0], LANES).astype(np.float16), blocked_channels(bias, LANES)]
        want = direct(geometry, source, weight, bias)
    else:
        padded = np.pad(source, [(0, 0), (1, 2), (1, 2)], constant_values=-np.inf)
        top, left = (1 - pad for pad in geometry.pad)
        want = np.array([[[p[top + 2 * y :, left + 2 * x :][:3, :3].max() for x in range(geometry.out[1])]
                          for y in range(geometry.out[0])] for p in padded])  # fmt: skip
    work = Window(geometry, 9, LANES, operation=operation)
    empty = block(np.zeros((9, *geometry.out), np.float32), LANES).astype(np.float16)
    got = run(GpuWindowSource(work, "float16", WindowTile(4, 4, 2, 2)), arrays, empty)
    assert close(unblock(got, 9), want)


def half_array(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).uniform(-3, 3, shape).astype(np.float16)


def test_a_gate_and_its_mean() -> None:
    source = half_array(3, 50, LANES)
    mean = run(GpuSimpleSource("mean", (3, 50, "float16", "float32")), [source], np.zeros((3, 4), np.float32))
    assert np.allclose(mean, source.astype(np.float64).mean(1), atol=1e-6)
    gated = run(GpuSimpleSource("gate", (3, 50, "float16")), [source, mean], source)
    assert close(gated, source.astype(np.float64) * mean[:, None])


@pytest.mark.parametrize("size", [7, 600])
def test_elementwise(size: int) -> None:
    left, right = half_array(size), half_array(size, 1)[:, 0]
    added = run(GpuSimpleSource("add", (size, RELU6, "float16")), [left, right], left)
    assert close(added, np.clip(left.astype(np.float64) + right, 0, 6))
    bent = run(GpuSimpleSource("activation", (size, Curve("hard_swish"), "float16")), [left], left)
    assert close(bent, activated(Curve("hard_swish"), left.astype(np.float64)))


def test_layout_changes_convert() -> None:
    plain = np.random.default_rng(0).uniform(-3, 3, (5, 6, 5)).astype(np.float32)
    blocked = block(plain, LANES).astype(np.float16)
    assert np.array_equal(run(GpuSimpleSource("pack", (5, 30, "float16")), [plain], blocked), blocked)
    assert np.array_equal(run(GpuSimpleSource("unpack", (5, 30, "float16")), [blocked], plain), rounded(plain))
