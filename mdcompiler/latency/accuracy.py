"""How far the predictions are from the published latencies, with every point held out once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from mdcompiler.latency.calibrate import Calibration, calibrate, column_costs
from mdcompiler.latency.published import Column, network_steps, published_columns
from mdcompiler.latency.rank import kendall, spearman

Predictor = Literal["held_out", "fitted", "macs"]
PREDICTORS: tuple[Predictor, ...] = get_args(Predictor)


@dataclass(frozen=True)
class PointError:
    """published_ms; fitted_ms: predicted with the point in the calibration; held_out_ms: with it left out.

    deviations: by how many of the predicted standard deviations the published latency is above held_out_ms.
    by_macs_ms: multiply-adds times the mean time of one in the column's other points; by_mean_ms: the mean of
    those points, geometric both: what a model has to beat; None where there are no others.
    """

    network: str
    macs: int
    published_ms: float
    fitted_ms: float
    held_out_ms: float
    deviations: float
    by_macs_ms: float | None
    by_mean_ms: float | None


@dataclass(frozen=True)
class ColumnError:
    """One column: its points, effective parameters of its fit, the factors, mean errors, rank correlations.

    Errors are means of |predicted / published - 1|. Correlations are of held-out predictions; None where
    a column has one point only, or all predictions are alike.
    """

    column: str
    chip: str
    precision: str
    source: str
    parameters: float
    slowdown: float
    launch_us: float
    fixed_ms: float
    points: tuple[PointError, ...]

    @property
    def fitted_error(self) -> float:
        return _mean_error((point.fitted_ms, point.published_ms) for point in self.points)

    @property
    def held_out_error(self) -> float:
        return _mean_error((point.held_out_ms, point.published_ms) for point in self.points)

    @property
    def by_macs_error(self) -> float | None:
        return self._error_by("by_macs_ms")

    @property
    def by_mean_error(self) -> float | None:
        return self._error_by("by_mean_ms")

    def _error_by(self, field: str) -> float | None:
        made = [(getattr(point, field), point.published_ms) for point in self.points]
        return _mean_error(made) if len(made) > 1 else None

    def rank(self, predictor: Predictor = "held_out") -> tuple[float | None, float | None]:
        """(Spearman, Kendall) of the published column with predictions of held-out points, of fitted ones, or MACs."""
        published = [point.published_ms for point in self.points]
        made = [getattr(point, "macs" if predictor == "macs" else f"{predictor}_ms") for point in self.points]
        return spearman(published, made), kendall(published, made)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        ranks = {
            f"{name}_{predictor}": value
            for predictor in PREDICTORS
            for name, value in zip(("spearman", "kendall"), self.rank(predictor), strict=True)
        }
        errors = ("fitted_error", "held_out_error", "by_macs_error", "by_mean_error")
        return {**asdict(self), **{name: getattr(self, name) for name in errors}, **ranks}


def accuracy() -> list[ColumnError]:
    """Every published column."""
    return [column_error(column) for column in published_columns().values()]


def column_error(column: Column) -> ColumnError:
    """One column, calibrated with all of its points and once without each."""
    whole = calibrate(column)
    points = tuple(_point(column, whole, name) for name in column.points)
    fixed_ms = whole.fixed_us / 1e3
    return ColumnError(
        column=column.name,
        chip=column.chip,
        precision=column.precision,
        source=column.source,
        parameters=whole.fit.parameters,
        slowdown=whole.slowdown,
        launch_us=whole.launch_us,
        fixed_ms=fixed_ms,
        points=points,
    )


def _point(column: Column, whole: Calibration, name: str) -> PointError:
    cost = column_costs(column.name)[name]
    held_out = calibrate(column, without=(name,))
    return PointError(
        network=name,
        macs=_macs(name),
        published_ms=column.points[name],
        fitted_ms=whole.total_us(cost) / 1e3,
        held_out_ms=held_out.total_us(cost) / 1e3,
        deviations=float(np.log(column.points[name] * 1e3 / held_out.total_us(cost)) / held_out.spread(cost)),
        by_macs_ms=_mean_of_others(column, name, _macs),
        by_mean_ms=_mean_of_others(column, name, lambda _: 1),
    )


def _mean_of_others(column: Column, name: str, size: Callable[[str], int]) -> float | None:
    """The column's other latencies by their networks' size, averaged, times the size of `name`."""
    others = [np.log(latency / size(other)) for other, latency in column.points.items() if other != name]
    return float(size(name) * np.exp(np.mean(others))) if others else None


def _macs(network: str) -> int:
    return sum(step.macs for step in network_steps(network))


def _mean_error(pairs: Iterable[tuple[float, float]]) -> float:
    return float(np.mean([abs(made / published - 1) for made, published in pairs]))
