"""Requantization in 32-bit integers on a Vulkan device against the reference's in 64 bits, for any numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mdcompiler.backends.gpu import integer_ending as end
from mdcompiler.backends.gpu.build import Shader
from mdcompiler.backends.gpu.compile import shader_text
from mdcompiler.backends.gpu.function import GpuFunction
from mdcompiler.backends.gpu.integer_instructions import high_product
from mdcompiler.backends.gpu.integer_pack import factor_parts
from mdcompiler.backends.gpu.launch import launch_of
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.webgpu.device import Dispatch, Session, Span, Storage
from mdcompiler.quantization.rounding import rescale
from tests.backends.gpu.integer_runner import FIELDS, Array, needs_device

pytestmark = needs_device
COUNT = 64
LEAST, MOST = -(2**31), 2**31 - 1
INT32 = st.one_of(st.integers(LEAST, MOST), st.sampled_from([LEAST, MOST, -1, 0, 1, 0xFFFF, 0x10000, -0x10000]))
MULTIPLIER = st.one_of(st.integers(2**30, MOST), st.sampled_from([2**30, MOST, 0x7FFF0000, 0x4000FFFF, 0]))
REAL = st.one_of(st.floats(2.0**-32, 4.0), st.sampled_from([0.25, 0.5, 1.0, 0.2499999999, 2.0**-31, 0.0]))
Operands = Iterator["Kernel"]


class Kernel:
    """One elementwise kernel of int32 words, kept open for many runs."""

    def __init__(self, function: Any, operands: int) -> None:
        launch, self.symbol = launch_of(function), str(function.attrs["global_symbol"])
        shader = Shader(self.symbol, shader_text(function, FIELDS, launch), launch)
        names = [str(number) for number in range(operands + 1)]
        self.spans = [Span(name, 0, 4 * COUNT) for name in names]
        storages = {name: Storage(4 * COUNT) for name in names}
        self.session = Session(storages, [Dispatch(shader.code, self.symbol, launch.grid, tuple(self.spans))])

    def __call__(self, *operands: Array) -> Array:
        uploads = [(span, item.astype(np.int32).tobytes()) for span, item in zip(self.spans, operands, strict=False)]
        return np.frombuffer(self.session.run(uploads, self.spans[-1:])[0], np.int32).astype(np.int64)


@pytest.fixture(scope="module")
def product() -> Operands:
    """`high_product` of two words."""
    f = GpuFunction("product", (1, 1), COUNT)
    left, right, target = (f.buffer(name, COUNT, "int32") for name in ("left", "right", "target"))
    target[f.thread] = high_product(f, "packed", left[f.thread], right[f.thread])
    kernel = Kernel(f.finish(), 2)
    yield kernel
    kernel.session.close()


@pytest.fixture(scope="module")
def rescaled() -> Operands:
    """`rescale` of sums by multipliers, right and left shifts, with the zero point 100, within a byte."""
    f = GpuFunction("rescaled", (1, 1), COUNT)
    total, multiplier, right, left, target = (f.buffer(name, COUNT, "int32") for name in ("t", "m", "r", "l", "target"))
    at = f.thread
    raised = end.raise_sum(f, total[at], left[at])
    value = end.rescale(f, "packed", raised, multiplier[at], right[at], 2 * 100 + 1)
    target[at] = tirx.min(tirx.max(value, 0), 255)
    kernel = Kernel(f.finish(), 4)
    yield kernel
    kernel.session.close()


def filled(values: list[Any], dtype: Any) -> Array:
    """`values` over and over, COUNT of them."""
    return np.resize(np.array(values, dtype), COUNT)


@settings(max_examples=60)
@given(st.lists(st.tuples(INT32, MULTIPLIER), min_size=1, max_size=COUNT))
@example([(LEAST, MOST), (MOST, MOST), (-1, MOST), (-1, 2**30), (0xFFFF, 0x7FFFFFFF), (-0x8000, 0x4000FFFF)])
def test_high_product(product: Kernel, pairs: list[tuple[int, int]]) -> None:
    left, right = (filled([pair[place] for pair in pairs], np.int64) for place in (0, 1))
    assert np.array_equal(product(left, right), left * right >> 32)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(-(2**30), 2**30), REAL), min_size=1, max_size=COUNT))
@example([(3, 0.5), (-3, 0.5), (1, 0.25), (-1, 0.25), (2**30, 1.0), (-(2**30), 3.9), (2, 0.25), (-2, 0.25)])
def test_rescale(rescaled: Kernel, pairs: list[tuple[int, float]]) -> None:
    total, real = filled([pair[0] for pair in pairs], np.int64), filled([pair[1] for pair in pairs], np.float64)
    expected = np.clip(rescale(total, real, "fixed-point-single") + 100, 0, 255)
    assert np.array_equal(rescaled(total, *factor_parts(real)), expected)
    near = total % 1024 - 512  # sums that do not saturate
    expected = np.clip(rescale(near, real, "fixed-point-single") + 100, 0, 255)
    assert np.array_equal(rescaled(near, *factor_parts(real)), expected)
