"""Expanding histograms and the rules that read ranges off them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.calibration.choose_range import least_divergence, least_square_error, percentile, whole
from mdcompiler.calibration.histogram import BINS, Histogram
from mdcompiler.calibration.observers import METHODS, observer_factory
from mdcompiler.errors import UnsupportedError


def histogram_of(*batches: np.ndarray) -> Histogram:
    found = Histogram()
    for batch in batches:
        found.update(batch.astype(np.float32))
    return found


def test_bins_narrower_than_float32_can_divide_by() -> None:
    found = histogram_of(np.array([0.0, 2e-38, 4e-38, 4e-38]))
    assert (found.low, found.high) == (0.0, float(np.float32(4e-38)))
    assert (found.counts[0], found.counts[-1], found.counts.sum()) == (1, 2, 4)


@given(st.lists(st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20), min_size=1, max_size=6))
def test_every_value_is_counted_once_and_the_ends_are_exact(batches: list[list[float]]) -> None:
    found = histogram_of(*map(np.array, batches))
    everything = np.concatenate([np.array(batch, np.float32) for batch in batches])
    assert found.counts.sum() == everything.size
    assert (found.low, found.high) == (everything.min(), everything.max())


def test_growth_keeps_values_in_their_places() -> None:
    first, second = np.linspace(0, 1, 4096), np.linspace(-7, 9, 4096)
    found = histogram_of(first, second)
    mean = (found.centers * found.counts).sum() / found.counts.sum()
    assert abs(mean - np.concatenate([first, second]).mean()) < found.width
    assert 16 / BINS <= found.width <= 64 / BINS


def test_rules_cut_an_outlier_and_min_max_does_not() -> None:
    generator = np.random.default_rng(0)
    found = histogram_of(np.append(generator.normal(0, 1, 200_000), 80.0))
    assert whole(found)[1] == 80.0
    for low, high in (percentile(found), least_square_error(found, 256), least_divergence(found, 256)):
        assert 2.0 < high < 70.0
        assert -6.0 < low < -2.0


def test_square_error_rule_beats_the_whole_range() -> None:
    values = np.append(np.random.default_rng(1).laplace(0, 1, 100_000), 60.0)
    low, high = least_square_error(histogram_of(values), 256)

    def error(least: float, most: float) -> float:
        step = (most - least) / 255
        return float(np.square(np.clip(np.rint((values - least) / step), 0, 255) * step + least - values).mean())

    assert error(low, high) < 0.9 * error(values.min(), values.max())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_holds_zero_and_stays_within_the_data(method: str) -> None:
    observer = observer_factory(method)()
    for start in (2.0, 3.0):
        observer.update(np.linspace(start, start + 4, 1000, dtype=np.float32))
    low, high = observer.range()
    assert low == 0.0
    assert 0.0 < high <= 7.0


def test_an_unknown_method_names_those_there_are() -> None:
    with pytest.raises(UnsupportedError, match="min-max, moving-average, percentile, entropy, mse"):
        observer_factory("magic")
