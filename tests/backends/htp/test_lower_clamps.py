"""Clamps as HTP's compiler keeps them: the spelling, the integers, a second run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.backends.htp.lower_clamps import LowerClamps, needed, spelling
from mdcompiler.module import Module
from mdcompiler.quantization.affine import bounds, clamp_integers
from mdcompiler.quantization.integer_reference import run_integer
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.verify import check_structure
from mdcompiler.weights.quantization import Quantization
from tests.backends.htp.clamped import Clamped, image

UPPER_KEPT, LOWER_KEPT, INSIDE, EXACT = (0.06, 156), (8 / 255, 0), (27 / 255, 156), (6 / 255, 0)


def ops(module: Module) -> list[str]:
    return [node.op for node in module.graph.nodes if node.op != "DequantizeLinear"]


def integers(module: Module) -> np.ndarray:
    return run_integer(module, find_scheme("hexagon-htp"), image())["y"]


SPLIT = ["Conv", "QuantizeLinear"]
CASES = [
    (Clamped("Clip", (0, 6), EXACT), SPLIT),
    (Clamped("Clip", (0, 6), UPPER_KEPT), [*SPLIT, "Relu", "QuantizeLinear"]),
    (Clamped("Clip", (-1, 6), UPPER_KEPT), [*SPLIT, "Max", "QuantizeLinear"]),
    (Clamped("Clip", (0, 6), LOWER_KEPT), [*SPLIT, "Min", "QuantizeLinear"]),
    (Clamped("Clip", (0, 6), INSIDE), [*SPLIT, "Clip", "QuantizeLinear"]),
    (Clamped("Relu", (), INSIDE), [*SPLIT, "Relu", "QuantizeLinear"]),
    (Clamped("Min", (6,), LOWER_KEPT), [*SPLIT, "Min", "QuantizeLinear"]),
    (Clamped("Max", (-1,), UPPER_KEPT), [*SPLIT, "Max", "QuantizeLinear"]),
    (Clamped("Relu", (), UPPER_KEPT, leader="Add"), ["Add", "QuantizeLinear", "Relu", "QuantizeLinear"]),
]


@pytest.mark.parametrize(("clamped", "want"), CASES)
def test_after_a_convolution_or_sum(clamped: Clamped, want: list[str]) -> None:
    module = clamped.module()
    before = integers(module)
    assert LowerClamps().run(module) == 1
    assert ops(module) == want
    assert LowerClamps().run(module) == 0
    check_structure(module)
    np.testing.assert_array_equal(integers(module), before)


BETWEEN = [
    (Clamped("Clip", (0, 6), UPPER_KEPT, UPPER_KEPT, between=True), "Relu"),
    (Clamped("Clip", (0, 6), LOWER_KEPT, INSIDE, between=True), "Min"),
    (Clamped("Clip", (0, 6), EXACT, INSIDE, between=True), "Max"),
    (Clamped("", (), EXACT, INSIDE, between=True), "Max"),
]


@pytest.mark.parametrize(("clamped", "want"), BETWEEN)
def test_between_two_scales(clamped: Clamped, want: str) -> None:
    module = clamped.module()
    before = integers(module)
    assert LowerClamps().run(module) == 1
    assert ops(module) == [*SPLIT, want, "QuantizeLinear"]
    assert LowerClamps().run(module) == 0
    # a requantization is rounded in float32, a clamp in float64
    assert np.abs(integers(module).astype(int) - before).max() <= (0 if clamped.op else 1)


@pytest.mark.parametrize("clamped", [Clamped("", (), INSIDE), Clamped("Clip", (0, 6), INSIDE, INSIDE, between=True)])
def test_what_is_right_is_left_alone(clamped: Clamped) -> None:
    assert LowerClamps().run(clamped.module()) == 0


AFFINE = st.tuples(st.floats(1e-3, 1.0), st.integers(0, 255))
ENDS = st.tuples(st.floats(-20, 20), st.floats(-20, 20)).map(lambda pair: (min(pair), max(pair)))


@given(AFFINE, AFFINE, ENDS)
def test_no_bound_is_written_that_saturation_keeps(
    first: tuple[float, int], second: tuple[float, int], ends: tuple[float, float]
) -> None:
    both = [Quantization((scale,), (zero_point,), "uint8") for scale, zero_point in (first, second)]
    low, high = needed(ends, *both)
    for quantization in both:
        bottom, top = clamp_integers(quantization, *ends)
        least, most = bounds("uint8")
        assert np.isinf(low) or bottom > least
        assert np.isinf(high) or top < most
    op, constants = spelling((low, high))
    assert len(constants) == {"": 0, "Relu": 0, "Max": 1, "Min": 1, "Clip": 2}[op]
