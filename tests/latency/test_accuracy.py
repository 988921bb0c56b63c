"""The published latencies against the model: the table that the documentation quotes, worked out again."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.latency.accuracy import ColumnError, accuracy, column_error
from mdcompiler.latency.calibrate import calibrate
from mdcompiler.latency.published import Column, published_columns

# column: points, mean error of held-out points in per cent, Spearman's rho of them
TABLE: dict[str, tuple[int, int, float | None]] = {
    "pixel4-edgetpu": (2, 2, 1.0),
    "pixel4-dsp": (1, 54, None),
    "pixel1-cpu": (3, 9, 1.0),
    "jetson-xavier-fp32": (1, 29, None),
    "jetson-xavier-fp16": (1, 3, None),
    "jetson-xavier-int8": (1, 6, None),
    "coral-usb": (8, 19, 0.93),
    "coral-dev-board": (7, 17, 0.89),
    "coral-test-data": (3, 22, -0.5),
    "fixstars-jetson-nano": (5, 22, 0.8),
    "fixstars-jetson-tx2": (6, 13, 0.89),
    "fixstars-jetson-xavier-nx": (6, 12, 0.89),
    "fixstars-coral-dev-board": (4, 28, 0.6),
    "fixstars-raspberry-pi-4": (4, 21, 0.8),
    "tsukamoto-dev-board": (3, 6, -1.0),
    "tsukamoto-usb": (3, 4, -0.87),
    "tsukamoto-raspberry-pi-4-fp32": (3, 11, 0.5),
    "tsukamoto-raspberry-pi-4-int8": (3, 16, 1.0),
    "fixstars-kv260": (4, 8, 0.8),
    "tsukamoto-raspberry-pi-4-fp32-4": (3, 3, 1.0),
    "tsukamoto-raspberry-pi-4-int8-4": (3, 12, 1.0),
    "tsukamoto-raspberry-pi-3-fp32": (3, 16, -0.5),
    "tsukamoto-raspberry-pi-3-fp32-4": (3, 16, -0.5),
    "tsukamoto-raspberry-pi-3-int8": (3, 18, 1.0),
    "tsukamoto-raspberry-pi-3-int8-4": (3, 16, 1.0),
    "tsukamoto-usb-2": (3, 12, -1.0),
}


@pytest.fixture(scope="module")
def table() -> dict[str, ColumnError]:
    return {column.column: column for column in accuracy()}


def test_the_table_is_what_was_published_about_it(table: dict[str, ColumnError]) -> None:
    assert table.keys() == TABLE.keys()
    for name, (points, error, rho) in TABLE.items():
        column = table[name]
        assert len(column.points) == points
        assert 100 * column.held_out_error == pytest.approx(error, abs=0.6)
        assert column.rank()[0] == (None if rho is None else pytest.approx(rho, abs=0.006))


def test_fewer_parameters_than_points_wherever_there_are_two(table: dict[str, ColumnError]) -> None:
    assert all(column.parameters < max(1, len(column.points) - 0.5) + 0.01 for column in table.values())


def test_better_than_counting_multiply_adds(table: dict[str, ColumnError]) -> None:
    several = [column for column in table.values() if len(column.points) > 1]
    assert all(column.held_out_error < (column.by_macs_error or 0) for column in several)


def test_predicted_ranges_cover_what_they_say(table: dict[str, ColumnError]) -> None:
    deviations = np.abs([point.deviations for column in table.values() for point in column.points])
    assert 0.55 < np.mean(deviations < 1) < 0.8
    assert np.mean(deviations < 2) > 0.9


def test_a_held_out_point_is_not_seen() -> None:
    """Whatever was published for it, the prediction without it is the same, and that with it is not."""
    column = published_columns()["coral-usb"]
    name = "mobiledet-edgetpu"
    other = column.model_copy(update={"points": column.points | {name: 2 * column.points[name]}})
    first, second = (_point(column_error(item), name) for item in (column, other))
    assert first[0] == second[0]
    assert first[1] < second[1]


def test_a_chip_without_points_borrows_from_its_family() -> None:
    column = published_columns()["jetson-xavier-fp16"]
    assert calibrate(column, without=tuple(column.points)).slowdown not in (1.0, 2.0)
    alone = published_columns()["pixel4-dsp"]
    assert calibrate(alone, without=tuple(alone.points)).slowdown == pytest.approx(2.0)


def _point(error: ColumnError, network: str) -> tuple[float, float]:
    return next((point.held_out_ms, point.fitted_ms) for point in error.points if point.network == network)


def test_columns_are_read_only() -> None:
    with pytest.raises(ValueError, match="frozen"):
        published_columns()["coral-usb"].chip = "other"
    assert isinstance(published_columns()["coral-usb"], Column)
