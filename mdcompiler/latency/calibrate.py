"""A machine's calibration: four factors between its roofline and the latencies that were published.

    latency = slowdown * roofline + launch_us * operations + fixed_us + link * streaming

slowdown: how far kernels stay below the peaks; starts from chips of the same family, else from 2.
launch_us: starts from the chip's file. fixed_us: starts from the column. link: how far the link stays below
its peak; starts from 1.3.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mdcompiler.latency.fit import Fit, Prior, Vector, fit
from mdcompiler.latency.published import Column, network_steps, published_columns
from mdcompiler.latency.roofline import Cost, Machine

_SLOWDOWN, _LINK = 2.0, 1.3
_SPREADS = np.array([np.log(4.0), np.log(2.0), np.log(2.0), np.log(1.3)])


@dataclass(frozen=True)
class Calibration:
    """slowdown, launch_us, fixed_us, link: the factors. column: what it was fitted to, "" when to nothing."""

    machine: Machine
    column: str
    fit: Fit
    points: int

    @property
    def slowdown(self) -> float:
        return float(self.fit.factors[0])

    @property
    def launch_us(self) -> float:
        return float(self.fit.factors[1])

    @property
    def fixed_us(self) -> float:
        return float(self.fit.factors[2])

    @property
    def link(self) -> float:
        return float(self.fit.factors[3])

    def block_us(self, cost: Cost) -> float:
        """Microseconds of a block; those of a network's blocks add up."""
        return self.slowdown * cost.roof_us + self.launch_us * cost.launches

    def stream_us(self, weight_bytes: int) -> float:
        """Microseconds of fetching weights: of a whole network, for what fits on the chip depends on all of it."""
        return self.link * self.machine.stream_us(weight_bytes)

    def total_us(self, cost: Cost) -> float:
        """Microseconds of a whole network."""
        return self.block_us(cost) + self.fixed_us + self.stream_us(cost.weight_bytes)

    def spread(self, cost: Cost) -> float:
        """Standard deviation of the logarithm of `total_us`, as far as the model itself can tell."""
        return float(self.fit.spread(_features(self.machine, [cost]))[0])


def calibrate(column: Column, without: Collection[str] = ()) -> Calibration:
    """The calibration by a column's points, some of them left out."""
    kept = tuple(name for name in column.points if name not in without)
    return _calibrate(column, kept, _family_slowdown(column.machine.chip.family, column.chip))


def uncalibrated(machine: Machine, fixed_ms: float = 1.0) -> Calibration:
    """What is expected of a machine without published latencies, from its file and its family."""
    prior = _prior(machine, fixed_ms, _family_slowdown(machine.chip.family, machine.chip.name))
    return Calibration(machine, "", fit(np.zeros((0, 4)), np.zeros(0), prior), 0)


@lru_cache(maxsize=16)
def _family_slowdown(family: str, but: str) -> float:
    """Geometric mean over the columns of other chips of the family, each fitted on its own."""
    own = [
        _calibrate(column, tuple(column.points), _SLOWDOWN).slowdown
        for column in published_columns().values()
        if column.chip != but and column.machine.chip.family == family
    ]
    return float(np.exp(np.mean(np.log(own)))) if own else _SLOWDOWN


@lru_cache(maxsize=512)
def column_costs(column: str) -> dict[str, Cost]:
    known = published_columns()[column]
    return {name: known.machine.cost(network_steps(name)) for name in known.points}


def _calibrate(column: Column, names: Sequence[str], slowdown: float) -> Calibration:
    machine = column.machine
    features = _features(machine, [column_costs(column.name)[name] for name in names])
    latencies = np.array([column.points[name] * 1e3 for name in names])
    made = fit(features, latencies, _prior(machine, column.fixed_ms, slowdown))
    return Calibration(machine, column.name, made, len(names))


def _prior(machine: Machine, fixed_ms: float, slowdown: float) -> Prior:
    factors = np.array([slowdown, machine.chip.launch_us.value, fixed_ms * 1e3, _LINK])
    return Prior(factors, _SPREADS)


def _features(machine: Machine, costs: Sequence[Cost]) -> Vector:
    rows = [[cost.roof_us, cost.launches, 1.0, machine.stream_us(cost.weight_bytes)] for cost in costs]
    return np.array(rows, float).reshape(len(rows), 4)
