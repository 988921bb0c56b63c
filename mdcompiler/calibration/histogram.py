"""A histogram that grows with its data, so that one pass over the samples is enough.

The number of bins is fixed. When a value falls outside, bins are joined by two and two until all fit: counts
stay exact, the resolution is at worst half of what a histogram made in a second pass would have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 2048
_SMALLEST_WIDTH = 1e-30
"""Of a bin whose inverse float32 can hold."""

Floats = NDArray[np.floating[Any]]


class Histogram:
    """Counts of values in BINS bins of equal width.

    edge: left end of the first bin; width: of one bin, 0 while all values are equal; low, high: smallest and
    largest value seen, exactly.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.edge = self.width = 0.0
        self.low, self.high = np.inf, -np.inf

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of every bin."""
        return np.asarray(self.edge + (np.arange(BINS) + 0.5) * self.width, np.float64)

    def update(self, values: Floats) -> None:
        """Count `values`, all finite."""
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._make_room()
        if self.width == 0.0:
            self.counts[0] += values.size
            return
        kind: Any = np.float32 if self.width > _SMALLEST_WIDTH else np.float64
        index = (values.reshape(-1).astype(kind) - kind(self.edge)) * kind(1.0 / self.width)
        places = np.clip(index.astype(np.int32), 0, BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    def _make_room(self) -> None:
        if self.width == 0.0:
            self._open()
            return
        while self.high > self.edge + self.width * BINS:
            self._join()
        while self.low < self.edge:
            self.edge -= self.width * BINS
            self._join(upper=True)

    def _open(self) -> None:
        """Set the first edges; values counted before were all equal to `low` or to `high`."""
        before = int(self.counts[0])
        first = self.edge
        if not self.high > self.low:
            self.edge = self.low
            return
        self.edge, self.width = self.low, (self.high - self.low) / BINS
        self.counts[:] = 0
        if before:
            self.counts[min(int((first - self.edge) / self.width), BINS - 1)] = before

    def _join(self, upper: bool = False) -> None:
        """Halve the bins into one half of the array; `upper`: the edge has moved, the old bins go up."""
        halves = self.counts.reshape(-1, 2).sum(axis=1)
        empty = np.zeros_like(halves)
        self.counts = np.concatenate([empty, halves] if upper else [halves, empty])
        self.width *= 2
