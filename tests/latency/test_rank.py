"""Rank correlation, against values worked out by hand."""

from __future__ import annotations

import pytest

from mdcompiler.latency.rank import kendall, spearman


def test_order_and_reverse() -> None:
    assert spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert kendall([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert kendall([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)


def test_one_swap() -> None:
    # d = 0, 1, -1, 0: 1 - 6 * 2 / (4 * 15); five pairs of six agree
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(4 / 6)


def test_ties() -> None:
    # ranks 1.5, 1.5, 3 against 1, 2, 3; tau-b = 2 / sqrt(2 * 3)
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(0.75**0.5)
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / 6**0.5)


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0]])
def test_undefined(values: list[float]) -> None:
    assert spearman(values, values) is None
    assert kendall(values, values) is None
