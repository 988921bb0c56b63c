"""What is remembered of a tensor while samples go by, and the range that comes of it.

An observer takes the values of one tensor, sample by sample, and keeps a bounded amount of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mdcompiler.calibration.choose_range import (
    Range,
    least_divergence,
    least_square_error,
    percentile,
    with_zero,
)
from mdcompiler.calibration.histogram import Histogram
from mdcompiler.errors import UnsupportedError

_MOMENTUM = 0.9
_LEVELS = 256
Values = NDArray[np.floating[Any]]


class Observer(Protocol):
    """Watches one tensor."""

    def update(self, values: Values) -> None:
        """Take the values of one more sample, all finite."""
        ...

    def range(self) -> Range:
        """The interval to cover, zero included; after at least one sample."""
        ...


class MinMax:
    """The smallest and the largest value of all samples."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def update(self, values: Values) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def range(self) -> Range:
        return with_zero(self.low, self.high)


class MovingAverage:
    """The extremes of the samples, averaged with exponentially fading weight as in quantization-aware training."""

    def __init__(self) -> None:
        self.ends: NDArray[np.float64] | None = None

    def update(self, values: Values) -> None:
        ends = np.array([values.min(), values.max()], np.float64)
        self.ends = ends if self.ends is None else _MOMENTUM * self.ends + (1 - _MOMENTUM) * ends

    def range(self) -> Range:
        assert self.ends is not None
        return with_zero(float(self.ends[0]), float(self.ends[1]))


class Counted:
    """A histogram, and a rule that reads the range off it."""

    def __init__(self, rule: Callable[[Histogram], Range]) -> None:
        self.histogram = Histogram()
        self.rule = rule

    def update(self, values: Values) -> None:
        self.histogram.update(values)

    def range(self) -> Range:
        return self.rule(self.histogram)


METHODS: dict[str, Callable[[], Observer]] = {
    "min-max": MinMax,
    "moving-average": MovingAverage,
    "percentile": lambda: Counted(percentile),
    "entropy": lambda: Counted(lambda histogram: least_divergence(histogram, _LEVELS)),
    "mse": lambda: Counted(lambda histogram: least_square_error(histogram, _LEVELS)),
}
"""Calibration method -> what makes an observer."""


def observer_factory(method: str) -> Callable[[], Observer]:
    """What makes observers of `method`. Raises UnsupportedError naming those there are."""
    if method not in METHODS:
        raise UnsupportedError(f"calibrating by {method!r}: there is {', '.join(METHODS)}. Choose one of these.")
    return METHODS[method]
