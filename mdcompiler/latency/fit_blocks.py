"""Latency of blocks that were not measured on a machine, from those that were.

    latency = sum over kinds of convolution of seconds_k * multiply-adds_k + traffic * bytes + launch * operations

A positive factor each, fitted to measured blocks of the very machine, so its file is not needed: where they start from
is what a core of the target's vector width can do. A search space has thousands of blocks and a measurement takes
seconds, so this is what fills a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mdcompiler.latency.chip import element_bytes
from mdcompiler.latency.fit import Fit, Prior, Vector, fit
from mdcompiler.latency.work import Work, works_of
from mdcompiler.spec.network import PlacedBlock
from mdcompiler.spec.steps import Conv, Step
from mdcompiler.target import Target

FEWEST = 6
"""Measured blocks below which nothing is predicted: one a factor."""
_FAST = "3x3 of stride 1"
_KINDS = ("regular", _FAST, "pointwise", "depthwise")
"""Regular convolutions that Winograd's filtering applies to are a kind of their own."""
_GHZ = 3.0
_BYTES_PER_US, _LAUNCH_US = 10_000.0, 1.0
_SPREADS = np.full(len(_KINDS) + 2, np.log(8.0))
Blocks = Mapping[str, PlacedBlock]


@dataclass(frozen=True)
class BlockModel:
    """precision: of the measurements. error: mean of |predicted / measured - 1|, each block held out once."""

    precision: str
    fitted: Fit
    error: float

    def latency_us(self, block: PlacedBlock) -> float:
        """Microseconds of `block`."""
        return float(self.fitted.predict(_features([block], self.precision))[0])


def fit_blocks(blocks: Blocks, measured_us: Mapping[str, float], target: Target, precision: str) -> BlockModel | None:
    """The model of the machine on which `measured_us` (key of `blocks` -> microseconds) were measured.

    None with fewer than FEWEST measurements.
    """
    known = [key for key in measured_us if key in blocks and measured_us[key] > 0]
    if len(known) < FEWEST:
        return None
    features = _features([blocks[key] for key in known], precision)
    latencies, prior = np.array([measured_us[key] for key in known]), _prior(target, precision)
    errors = [_held_out(features, latencies, prior, place) for place in range(len(known))]
    return BlockModel(precision, fit(features, latencies, prior), float(np.mean(errors)))


def _held_out(features: Vector, latencies: Vector, prior: Prior, place: int) -> float:
    others = np.arange(len(latencies)) != place
    made = fit(features[others], latencies[others], prior).predict(features[place : place + 1])
    return float(abs(made[0] / latencies[place] - 1))


def _features(blocks: list[PlacedBlock], precision: str) -> Vector:
    """A row a block: multiply-adds of each kind, bytes, operations."""
    return np.array([_row(block, precision) for block in blocks], float)


def _row(block: PlacedBlock, precision: str) -> list[float]:
    works = [(_kind(step, work), work) for step in block.steps for work in works_of(step)]
    macs = [float(sum(work.macs for kind, work in works if kind == wanted)) for wanted in _KINDS]
    moved = sum(work.elements + work.weights for _, work in works) * element_bytes(precision)
    return [*macs, float(moved), float(len(works))]


def _kind(step: Step, work: Work) -> str:
    fast = isinstance(step, Conv) and work.kind == "regular" and (step.kernel, step.stride) == (3, 1)
    return _FAST if fast else work.kind


def _prior(target: Target, precision: str) -> Prior:
    """Two vector operations a cycle; four products an int8 lane; depthwise convolutions at a quarter."""
    speed = target.lanes * 2 * _GHZ * 1e3 * (4 if precision == "int8" else 1)
    return Prior(np.array([1 / speed, 1 / speed, 1 / speed, 4 / speed, 1 / _BYTES_PER_US, _LAUNCH_US]), _SPREADS)
