"""Fitting positive factors: what points say, what the prior says, and how many of the factors the points decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.latency.fit import Prior, fit

WIDE = Prior(np.array([1.0, 1.0]), np.array([5.0, 5.0]))


@given(st.floats(0.05, 20), st.floats(0.05, 20))
def test_exact_points_give_their_factors(first: float, second: float) -> None:
    features = np.array([[1.0, 9.0], [5.0, 5.0], [9.0, 1.0], [20.0, 1.0]])
    made = fit(features, features @ np.array([first, second]), Prior(np.ones(2), np.full(2, 1e4)))
    np.testing.assert_allclose(made.factors, [first, second], rtol=1e-3)
    assert 1 < made.parameters < 2.001


def test_without_points_the_prior_stays() -> None:
    made = fit(np.zeros((0, 2)), np.zeros(0), WIDE)
    np.testing.assert_allclose(made.factors, WIDE.factors)
    assert made.parameters == 0


def test_one_point_moves_the_factor_that_is_known_least() -> None:
    made = fit(np.array([[1.0, 1.0]]), np.array([20.0]), Prior(np.ones(2), np.array([2.0, 0.1])))
    assert made.factors[0] > 15
    assert made.factors[1] < 1.2
    assert made.parameters <= 1


def test_factors_stay_positive_where_least_squares_would_not() -> None:
    features = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    assert np.all(fit(features, np.array([3.0, 2.0, 1.0]), WIDE).factors > 0)


def test_spread_shrinks_with_points() -> None:
    features = np.array([[1.0, 2.0], [2.0, 1.0]])
    before = fit(features[:0], np.zeros(0), WIDE).spread(features)
    after = fit(features, np.array([3.0, 3.0]), WIDE).spread(features)
    assert np.all(after < before)
    assert after == pytest.approx([0.2, 0.2], abs=0.1)
