"""Elementwise integer kernels and those of squeeze-excite on a Vulkan device, against the reference's arithmetic."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest

from mdcompiler.backends.gpu import integer_elementwise as elementwise
from mdcompiler.backends.gpu import integer_gate as gate
from mdcompiler.backends.gpu.integer_ending import Ending
from mdcompiler.backends.gpu.integer_pack import (
    factor_parts,
    fill_factor,
    fill_sum,
    needs_raise,
    numbers_of,
    pack_constants,
    pack_dense,
    words,
)
from mdcompiler.backends.gpu.traits import Element
from mdcompiler.backends.webgpu.device import why_not_run
from mdcompiler.quantization.rounding import rescale, rescale_mean, rescale_sum
from tests.backends.gpu.integer_runner import as_words, bytes_of, from_words, needs_device, port, run, step

pytestmark = needs_device
ROUNDING: Final = "fixed-point-single"


def test_table() -> None:
    rng = np.random.default_rng(0)
    x, table = bytes_of(rng, 6, 77), rng.integers(0, 256, 256).astype(np.uint8)
    got = run(
        elementwise.write_table("table", 154), [as_words(x), words(table.reshape(-1, 4))], np.zeros((2, 77), "i4")
    )
    assert np.array_equal(from_words(got, 6), table[x])


@pytest.mark.parametrize("scales", [(0.02, 0.05, 0.06), (0.05, 0.02, 0.011), (0.03, 0.03, 0.01), (0.1, 1e-5, 1e-7)])
def test_add(scales: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(1)
    left, right = bytes_of(rng, 4, 1000), bytes_of(rng, 4, 1000)
    own, other, result = port(scales[0], 100), port(scales[1], 30), port(scales[2], 77)
    numbers = numbers_of(step(result))
    add = fill_sum(numbers, step(result, low=4), own, other)
    function = elementwise.write_add("add", 1000, 4, add, "unpack")
    got = run(function, [as_words(left), as_words(right), numbers], np.zeros((1, 1000), "i4"))
    value = rescale_sum(left.astype(np.int64) - 100, right.astype(np.int64) - 30, scales, ROUNDING) + 77
    assert np.array_equal(from_words(got, 4), np.clip(value, 4, 255).astype(np.uint8))


@pytest.mark.parametrize("real", [0.004, 0.4])
def test_gate(real: float) -> None:
    rng = np.random.default_rng(2)
    x, gates = bytes_of(rng, 6, 35), bytes_of(rng, 6, 1)
    numbers = numbers_of(step(port(1.0, 9)), 120, 3)
    _, _, left = fill_factor(numbers, 0, real)
    function = elementwise.write_gate("gate", 2, 35, left > 0, "unpack")
    got = run(function, [as_words(x), as_words(gates), numbers], np.zeros((2, 35), "i4"))
    value = rescale((x.astype(np.int64) - 120) * (gates.astype(np.int64) - 3), real, ROUNDING) + 9
    assert np.array_equal(from_words(got, 6), np.clip(value, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("pixels", [1, 63, 64, 150])
def test_mean(pixels: int) -> None:
    x, scales = bytes_of(np.random.default_rng(3), 10, pixels), (0.02, 0.015)
    numbers = numbers_of(step(port(scales[1], 60)), 110)
    _, _, left = fill_factor(numbers, 0, scales[0] / (pixels * scales[1]))
    got = run(gate.write_mean("mean", 3, pixels, left > 0, "unpack"), [as_words(x), numbers], np.zeros((3, 1), "i4"))
    total = (x.astype(np.int64) - 110).sum(1)
    value = rescale_mean(total, pixels, scales, ROUNDING) + 60
    assert np.array_equal(from_words(got, 10)[:, 0], np.clip(value, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(("inputs", "outputs"), [(80, 36), (10, 7)])
def test_dense(inputs: int, outputs: int) -> None:
    rng = np.random.default_rng(4)
    x, weight = bytes_of(rng, inputs, 1), rng.integers(-127, 128, (outputs, inputs))
    bias, real = rng.integers(-999, 999, outputs), rng.uniform(0.0005, 0.002, outputs)
    table = rng.integers(0, 256, 256).astype(np.uint8)
    constants = pack_constants(weight, bias, 99, real)
    numbers, words_ = numbers_of(step(port(1.0, 128)), 99), -(-outputs // 4)
    function = gate.write_dense("dense", -(-inputs // 4), words_, Ending(needs_raise(real), table=True), "packed")
    arrays = [as_words(x), pack_dense(weight), constants, numbers, words(table.reshape(-1, 4))]
    got = run(function, arrays, np.zeros((words_, 1), "i4"))
    total = weight @ (x[:, 0].astype(np.int64) - 99) + bias
    value = np.clip(rescale(total, real, ROUNDING) + 128, 0, 255)
    assert np.array_equal(from_words(got, outputs)[:, 0], table[value])


def test_pack_and_unpack_are_inverse() -> None:
    x = bytes_of(np.random.default_rng(5), 7, 30)
    packed = run(elementwise.write_pack("pack", 7, 30), [x.astype(np.int32)], np.zeros((2, 30), "i4"))
    assert np.array_equal(from_words(packed, 7), x)
    plain = run(elementwise.write_unpack("unpack", 7, 30), [packed], np.zeros((7, 30), "i4"))
    assert np.array_equal(plain, x)


@pytest.mark.parametrize("element", ["float32", "float16"])
def test_quantize_and_back(element: Element) -> None:
    if why_not := why_not_run(element == "float16"):
        pytest.skip(why_not)
    rng = np.random.default_rng(6)
    values = np.concatenate([rng.normal(0, 3, 380), [60000, -60000, 0.125, 0.375]]).astype(element)
    scale, numbers = np.array([0.25], np.float32), numbers_of(step(port(0.25, 20)))
    got = run(elementwise.write_quantize("quantize", 96, element), [values, scale, numbers], np.zeros(96, "i4"))
    want = np.clip(np.rint(values.astype(np.float32) / np.float32(0.25)) + 20, 0, 255).astype(np.uint8)
    assert np.array_equal(got.view(np.uint8), want)
    floats = ((np.arange(256) - 20) * np.float32(0.25)).astype(np.float32)
    back = run(elementwise.write_dequantize("dequantize", 96, element), [got, floats], np.zeros(384, element))
    assert np.array_equal(back, floats[want].astype(element))


def test_numbers_beyond_int32_saturate() -> None:
    values = np.array([1e30, -1e30, np.inf, -np.inf], np.float32)
    arrays = [values, np.array([0.25], np.float32), numbers_of(step(port(0.25, 20)))]
    assert run(elementwise.write_quantize("quantize", 1), arrays, np.zeros(1, "i4")).view(np.uint8).tolist() == [
        255,
        0,
        255,
        0,
    ]


def test_plain_tensors() -> None:
    rng = np.random.default_rng(7)
    x, table = rng.integers(0, 256, 130).astype(np.int32), rng.normal(size=256).astype(np.float32)
    got = run(elementwise.write_plain_table("plain", 130, "float32"), [x, table], np.zeros(130, np.float32))
    assert np.array_equal(got, table[x])
    scale, numbers = np.array([0.5], np.float32), numbers_of(step(port(0.5, 8)))
    quantized = run(elementwise.write_plain_quantize("quantize", 130), [got, scale, numbers], np.zeros(130, "i4"))
    assert np.array_equal(quantized, np.clip(np.rint(got / 0.5) + 8, 0, 255))
    moved = run(elementwise.write_copy("copy", 130, 7, 140), [x], np.full(140, -1, "i4"))
    assert np.array_equal(moved, np.concatenate([np.full(7, -1), x, np.full(3, -1)]))


def test_factors_hold_what_they_stand_for() -> None:
    multiplier, right, left = factor_parts(np.array([0.3, 0.01, 0.9, 1e-12]))
    assert np.allclose(multiplier / 2.0**33 / 2.0**right * 2.0**left, [0.3, 0.01, 0.9, 0.0], atol=1e-9)
    assert (right >= 0).all()
