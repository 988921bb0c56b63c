"""Float kernels as WGSL on a device, each against its definition in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdcompiler.backends.gpu.convolution import GpuConvolution, GpuTile, pack_bias, pack_convolution
from mdcompiler.backends.gpu.sources import GpuConvolutionSource, GpuSimpleSource, GpuWindowSource
from mdcompiler.backends.gpu.window import WindowTile
from mdcompiler.backends.kernels.activation import NO_ACTIVATION, Curve
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.pack_weights import blocked_channels
from mdcompiler.tolerance import within_float_tolerance
from tests.backends.convolution_problem import RELU6, activated, direct, problem, same
from tests.backends.gpu.shaders import Array, needs_device, run
from tests.backends.kernel_runner import block, unblock

pytestmark = needs_device
LANES = 4
CURVES = [
    NO_ACTIVATION,
    RELU6,
    Curve("clip", low=0.0),
    Curve("hard_sigmoid", slope=0.2, offset=0.5),
    Curve("hard_swish"),
    Curve("sigmoid"),
    Curve("swish"),
]


def convolved(work: Convolution, tile: GpuTile) -> None:
    """Run one convolution and compare."""
    made = problem(work)
    case = GpuConvolution(work)
    arrays = [block(made.source, LANES), pack_convolution(made.weight, case, tile), pack_bias(made.bias, case, tile)]
    if work.residual != "none":
        arrays.append(block(made.extra, LANES))
    got = run(GpuConvolutionSource(case, tile), arrays, block(made.extra, LANES))
    assert within_float_tolerance(unblock(got, work.out_channels), made.expected().astype(np.float32))


@pytest.mark.parametrize(
    ("geometry", "inputs", "outputs", "tile"),
    [
        (same((11, 13), 3, 1), 8, 20, GpuTile(32, 16, 4, 4, 2)),
        (same((11, 13), 3, 2), 16, 20, GpuTile(64, 32, 4, 8, 4)),
        (same((9, 9), 5, 2), 12, 24, GpuTile(16, 16, 2, 4, 3)),
        (same((7, 9), 3, 1, dilation=(2, 2), pad=(2, 2)), 5, 7, GpuTile(16, 8, 1, 4, 2)),
        (same((9, 9), 1, 1), 12, 24, GpuTile(64, 16, 4, 4, 3)),
        (same((9, 9), 1, 2), 10, 24, GpuTile(32, 32, 8, 8, 1)),
        (same((5, 5), 3, 1), 4, 8, GpuTile(128, 8, 2, 4, 3)),
        (same((7, 7), 3, 2), 16, 20, GpuTile(16, 16, 2, 4, 4, slices=2)),
        (same((5, 5), 1, 1), 64, 24, GpuTile(16, 16, 4, 4, 8, slices=8)),
        (same((9, 9), 3, 1), 4, 8, GpuTile(16, 8, 1, 4, 3, slices=3)),
        (Geometry((6, 7), (2, 3), (1, 2), (0, 0), (5, 3)), 8, 4, GpuTile(16, 4, 1, 4, 2)),
    ],
)
def test_convolutions(geometry: Geometry, inputs: int, outputs: int, tile: GpuTile) -> None:
    convolved(Convolution(geometry, inputs, outputs, LANES, activation=RELU6), tile)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: f"{curve.kind}{curve.high}")
def test_activations_of_a_convolution(curve: Curve) -> None:
    convolved(Convolution(same((5, 5), 1, 1), 8, 8, LANES, activation=curve), GpuTile(16, 8, 2, 4, 2))


@pytest.mark.parametrize("place", ["before", "after"])
def test_residuals(place: Any) -> None:
    work = Convolution(same((5, 6), 3, 1), 8, 12, LANES, activation=RELU6, residual=place)
    convolved(work, GpuTile(16, 8, 2, 4, 2))


TILES = st.builds(
    GpuTile,
    pixels=st.sampled_from([16, 32, 64]),
    channels=st.sampled_from([8, 16, 32]),
    thread_pixels=st.sampled_from([1, 2, 4]),
    thread_channels=st.sampled_from([4, 8]),
    depth=st.sampled_from([1, 2]),
).filter(lambda tile: tile.threads <= 256)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    size=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    inputs=st.sampled_from([7, 8, 16]),
    outputs=st.integers(1, 40),
    tile=TILES,
)
def test_any_shape_under_any_tile(
    size: tuple[int, int], kernel: int, stride: int, inputs: int, outputs: int, tile: GpuTile
) -> None:
    convolved(Convolution(same(size, kernel, stride), inputs, outputs, LANES), tile)


@pytest.mark.parametrize(("outputs", "start"), [(12, 8), (21, 3)])
def test_a_head_writes_rows_into_their_place(outputs: int, start: int) -> None:
    work = Convolution(same((5, 5), 1, 1), 8, outputs, LANES, target="interleaved")
    made, size = problem(work), start + 25 * outputs + 4
    case, tile = GpuConvolution(work, start=start, size=size), GpuTile(16, 8, 2, 4, 2)
    arrays = [block(made.source, LANES), pack_convolution(made.weight, case, tile), pack_bias(made.bias, case, tile)]
    got = run(GpuConvolutionSource(case, tile), arrays, np.zeros(size, np.float32))
    rows = got[start : start + 25 * outputs].reshape(5, 5, outputs).transpose(2, 0, 1)
    assert within_float_tolerance(rows, made.expected().astype(np.float32))
    assert np.isnan(got[:start]).all()
    assert np.isnan(got[start + 25 * outputs :]).all()


@pytest.mark.parametrize("size", [(9, 13), (16, 16)])
def test_a_picture_is_preprocessed_before_its_border_is_filled(size: tuple[int, int]) -> None:
    work = Convolution(same(size, 3, 2), 3, 16, LANES, activation=RELU6, source="interleaved")
    made, scale, offset = problem(work), 2 / 255, -1.0
    case, tile = GpuConvolution(work, scale=scale, offset=offset), GpuTile(32, 16, 4, 4, 3)
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    words = np.frombuffer(picture.tobytes() + bytes(-picture.size % 4), np.uint32)
    arrays = [words, pack_convolution(made.weight, case, tile), pack_bias(made.bias, case, tile)]
    got = run(GpuConvolutionSource(case, tile), arrays, block(made.extra, LANES))
    want = activated(RELU6, direct(work.geometry, picture.transpose(2, 0, 1) * scale + offset, made.weight, made.bias))
    assert within_float_tolerance(unblock(got, 16), want.astype(np.float32))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "channels", "tile"),
    [
        ((11, 13), 3, 1, 20, WindowTile(8, 4, 2, 1)),
        ((11, 13), 3, 2, 9, WindowTile(4, 2, 4, 2)),
        ((9, 9), 5, 1, 12, WindowTile(16, 2, 1, 2)),
        ((9, 7), 5, 2, 12, WindowTile(4, 4, 2, 3)),
        ((3, 3), 3, 1, 40, WindowTile(4, 1, 4, 8)),
    ],
)
def test_depthwise(size: tuple[int, int], kernel: int, stride: int, channels: int, tile: WindowTile) -> None:
    geometry = same(size, kernel, stride)
    random = np.random.default_rng(0)
    source = random.uniform(-1, 1, (channels, *size)).astype(np.float32)
    weight = random.normal(0, 1, (channels, 1, kernel, kernel)).astype(np.float32)
    bias = random.normal(0, 1, channels).astype(np.float32)
    arrays = [block(source, LANES), blocked_channels(weight[:, 0], LANES), blocked_channels(bias, LANES)]
    work = Window(geometry, channels, LANES, RELU6)
    empty = block(np.zeros((channels, *geometry.out), np.float32), LANES)
    got = run(GpuWindowSource(work, "float32", tile), arrays, empty)
    want = activated(RELU6, direct(geometry, source, weight, bias))
    assert within_float_tolerance(unblock(got, channels), want.astype(np.float32))


@pytest.mark.parametrize("pad", [0, 1])
def test_max_pool(pad: int) -> None:
    size, channels = (8, 9), 6
    out = ((8 + pad - 3) // 2 + 1, (9 + pad - 3) // 2 + 1)
    geometry = Geometry(size, (3, 3), (2, 2), (pad, pad), out)
    source = np.random.default_rng(0).normal(-5, 1, (channels, *size)).astype(np.float32)
    padded = np.pad(source, [(0, 0), (pad, 3), (pad, 3)], constant_values=-np.inf)
    want = np.array([[plane[2 * y : 2 * y + 3, 2 * x : 2 * x + 3].max() for y, x in np.ndindex(*out)]
                     for plane in padded]).reshape(channels, *out)  # fmt: skip
    work = Window(geometry, channels, LANES, operation="max")
    got = run(GpuWindowSource(work, "float32", WindowTile(4, 4, 2, 2)), [block(source, LANES)], block(want, LANES))
    assert np.array_equal(unblock(got, channels), want)


def simple(template: str, arguments: tuple[Any, ...], arrays: list[Array], want: Array) -> None:
    """Run a kernel of `channelwise` and compare."""
    got = run(GpuSimpleSource(template, arguments), arrays, want)
    assert within_float_tolerance(got, want.astype(np.float32))


def random_array(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).uniform(-3, 3, shape).astype(np.float32)


@pytest.mark.parametrize("pixels", [1, 25, 400])
def test_mean(pixels: int) -> None:
    source = random_array(3, pixels, LANES)
    simple("mean", (3, pixels, "float32", "float32"), [source], source.mean(1, dtype=np.float64).astype(np.float32))


@pytest.mark.parametrize(("inputs", "outputs"), [(2, 3), (70, 5)])
def test_dense(inputs: int, outputs: int) -> None:
    source, weight, bias = random_array(inputs * 4), random_array(outputs, inputs * 4, 4), random_array(outputs, 4)
    total = np.einsum("i,oil->ol", source.astype(np.float64), weight) + bias
    curve = Curve("hard_swish")
    simple("dense", (inputs, outputs, curve, "float32"), [source, weight, bias],
           activated(curve, total).astype(np.float32))  # fmt: skip


def test_gate() -> None:
    source, gate = random_array(3, 50, LANES), random_array(3, LANES)
    simple("gate", (3, 50, "float32"), [source, gate], source * gate[:, None])


@pytest.mark.parametrize("size", [7, 600])
def test_elementwise(size: int) -> None:
    left, right = random_array(size), random_array(size, 1)[:, 0]
    simple("add", (size, RELU6, "float32"), [left, right], np.clip(left + right, 0, 6))
    simple("activation", (size, Curve("sigmoid"), "float32"), [left], 1 / (1 + np.exp(-left)))


def test_sigmoid_at_the_ends() -> None:
    values = np.array([-200.0, -90, 0, 90, 200], np.float32)
    want = np.array([0, 0, 0.5, 1, 1], np.float32)
    simple("activation", (5, Curve("sigmoid"), "float32"), [values], want)


@pytest.mark.parametrize("channels", [5, 8])
def test_layout_changes(channels: int) -> None:
    plain = random_array(channels, 6, 5)
    blocked = block(plain, LANES)
    simple("pack", (channels, 30, "float32"), [plain], blocked)
    simple("unpack", (channels, 30, "float32"), [blocked], plain)


def test_copy() -> None:
    source = random_array(300)
    got = run(GpuSimpleSource("copy", (300, 5, 310, "float32")), [source], np.zeros(310, np.float32))
    assert np.array_equal(got[5:305], source)
    assert np.isnan(got[:5]).all()
    assert np.isnan(got[305:]).all()
