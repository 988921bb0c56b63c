"""Elementary functions against 60 digits; and the same bits while NumPy and the C library are told to use less."""

from __future__ import annotations

from decimal import Context, Decimal

import numpy as np
import pytest

from mdcompiler.same_everywhere import dot, exp, exp_float32, log, power_quarters, sigmoid, tanh

DIGITS = Context(prec=60)


def relative_error(got: np.float64, exact: Decimal) -> float:
    return float(abs(Decimal(float(got)) / exact - 1))


def test_exp_is_right_to_two_units() -> None:
    values = np.concatenate([np.random.default_rng(0).uniform(-700, 700, 500), np.linspace(-1, 1, 101)])
    worst = max(relative_error(got, Decimal(float(x)).exp(DIGITS)) for x, got in zip(values, exp(values), strict=True))
    assert worst < 2.0**-51


def test_exp_at_its_ends() -> None:
    made = exp([0.0, 710.0, -746.0, np.inf, -np.inf, -745.1])
    assert made.tolist() == [1.0, np.inf, 0.0, np.inf, 0.0, 5e-324]
    assert np.isnan(exp(np.nan))


def test_log_is_right_to_two_units() -> None:
    values = np.concatenate([2.0 ** np.random.default_rng(0).uniform(-1000, 1000, 500), 1 + np.linspace(1e-9, 1, 101)])
    worst = max(relative_error(got, Decimal(float(x)).ln(DIGITS)) for x, got in zip(values, log(values), strict=True))
    assert worst < 2.0**-51
    assert log(1.0) == 0.0


def test_exp_float32_is_rounded_correctly() -> None:
    values = np.random.default_rng(0).uniform(-20, 20, 3000).astype(np.float32)
    for x, got in zip(values, exp_float32(values), strict=True):
        exact = Decimal(float(x)).exp(DIGITS)
        sides = (np.nextafter(got, np.float32(side)) for side in (0, np.inf))
        gap = abs(Decimal(float(got)) - exact)
        assert all(gap < abs(Decimal(float(side)) - exact) for side in sides)


@pytest.mark.parametrize("value", [0.0, 1e-8, 1e-3, 0.5, -2.0, 30.0, -800.0, 800.0])
def test_sigmoid_and_tanh(value: float) -> None:
    assert sigmoid(value) == pytest.approx(1 / (1 + np.exp(np.longdouble(-value))), rel=1e-15)
    assert tanh(value) == pytest.approx(np.tanh(np.longdouble(value)), rel=1e-12)


def test_quarter_powers() -> None:
    base = np.array([0.0, 1.0, 16.0, 81.0])
    assert [power_quarters(base, quarters)[3] for quarters in range(5)] == pytest.approx([1, 3, 9, 27, 81], rel=1e-15)
    assert power_quarters(base, 1).tolist() == pytest.approx([0, 1, 2, 3], rel=1e-15)


def test_dot_adds_in_float64() -> None:
    values = np.full((3, 1001), 0.1, np.float32)
    assert dot(values, values) == pytest.approx(3003 * float(np.float32(0.1)) ** 2, rel=1e-14)
