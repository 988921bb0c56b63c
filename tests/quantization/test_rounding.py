"""Requantization against exact arithmetic in Python's integers and fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.errors import UnsupportedError
from mdcompiler.quantization.fixed_point import FixedPoint, fixed_point, multiply_double, multiply_single
from mdcompiler.quantization.rounding import conv_multiplier, rescale, rescale_sum
from mdcompiler.quantization.scheme import Rounding

REAL = st.floats(1e-8, 0.999)
VALUE = st.integers(-(2**30), 2**30)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


def array(value: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array([value], np.int64)


def exact(factor: FixedPoint) -> Fraction:
    return Fraction(int(factor.multiplier)) * Fraction(2) ** (int(factor.shift) - 31)


@given(st.floats(2.0**-31, 2.0**20))
def test_fixed_point_is_the_nearest(real: float) -> None:
    factor = fixed_point(real)
    assert 2**30 <= int(factor.multiplier) < 2**31
    assert abs(exact(factor) / Fraction(real) - 1) <= Fraction(1, 2**31)


def test_tiny_factors_vanish() -> None:
    assert int(fixed_point(2.0**-34).multiplier) == 0
    assert int(fixed_point(0.0).multiplier) == 0


def test_a_factor_that_rounds_up_to_one() -> None:
    assert exact(fixed_point(math.nextafter(1.0, 0.0))) == 1


@given(VALUE, REAL)
def test_single_rounding_is_half_up(value: int, real: float) -> None:
    factor = fixed_point(real)
    assert int(multiply_single(array(value), factor)[0]) == half_up(value * exact(factor))


@given(VALUE, REAL)
def test_double_rounding_rounds_after_product_and_shift(value: int, real: float) -> None:
    factor = fixed_point(real)
    high = half_up(Fraction(value * int(factor.multiplier), 2**31))
    assert int(multiply_double(array(value), factor)[0]) == half_away(Fraction(high, 2 ** -int(factor.shift)))


def test_the_rules_differ_where_they_should() -> None:
    rules: tuple[Rounding, ...] = ("float-half-even", "fixed-point-double", "fixed-point-single", "power-of-two")
    found = {rule: rescale(np.array([-6, -2, 2, 6, 10]), 0.25, rule).tolist() for rule in rules}
    assert found == {
        "float-half-even": [-2, 0, 0, 2, 2],
        "fixed-point-double": [-2, -1, 1, 2, 3],
        "fixed-point-single": [-1, 0, 1, 2, 3],
        "power-of-two": [-1, 0, 1, 2, 3],
    }


@given(VALUE, REAL)
def test_float_rule_is_float32(value: int, real: float) -> None:
    want = round(float(np.float32(value) * np.float32(real)))
    assert int(rescale(array(value), real, "float-half-even")[0]) == want


@given(VALUE, st.integers(-20, 3))
def test_powers_of_two_are_exact(value: int, exponent: int) -> None:
    want = half_up(value * Fraction(2) ** exponent)
    assert int(rescale(array(value), 2.0**exponent, "power-of-two")[0]) == want


def test_powers_of_two_take_no_other_scale() -> None:
    with pytest.raises(UnsupportedError, match=r"powers of two: 0\.3 is none"):
        rescale(array(1), 0.3, "power-of-two")


@given(st.integers(-255, 255), st.integers(-255, 255), st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.02, 1))
def test_sums_are_within_half_a_step(a: int, b: int, left: float, right: float, result: float) -> None:
    want = Fraction(a) * Fraction(left) / Fraction(result) + Fraction(b) * Fraction(right) / Fraction(result)
    rules: tuple[Rounding, ...] = ("float-half-even", "fixed-point-double", "fixed-point-single")
    for rule in rules:
        got = int(rescale_sum(array(a), array(b), (left, right, result), rule)[0])
        assert abs(got - want) <= Fraction(1, 2) + Fraction(1, 500), rule


def test_sum_in_powers_of_two() -> None:
    assert rescale_sum(array(3), array(5), (0.25, 1.0, 0.5), "power-of-two").tolist() == [12]


@given(st.integers(-(2**44), 2**44), st.floats(1e-8, 1e-4))
def test_wide_accumulators_keep_fifteen_bits(value: int, real: float) -> None:
    got = int(rescale(array(value), real, "fixed-point-double", wide=True)[0])
    assert abs(got - value * real) <= 0.5 + abs(value * real) * 2.0**-14


def test_product_of_scales_is_float32_per_tensor() -> None:
    single, several = np.array([0.1]), np.array([0.1, 0.1])
    legacy = conv_multiplier(0.3, single, 0.7, "fixed-point-double")[0]
    assert legacy == float(np.float32(0.3) * np.float32(0.1)) / 0.7
    assert conv_multiplier(0.3, several, 0.7, "fixed-point-double")[0] == 0.3 * 0.1 / 0.7
