"""From a histogram to the interval that integers should cover: four rules.

* min-max: everything that was seen.
* percentile: the same share of values is cut at both ends.
* mse: the interval with the least expected square error of rounding and clipping (cf. Choukroun et al.,
  "Low-bit Quantization of Neural Networks for Efficient Inference", 2019).
* entropy: the interval whose quantized distribution has the least Kullback-Leibler divergence (Migacz,
  "8-bit Inference with TensorRT", 2017), with both ends moving for tensors with negative values.

Every interval holds zero: padding and the rectifiers' zero must be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mdcompiler.calibration.histogram import Histogram
from mdcompiler.same_everywhere import log

PERCENTILE = 99.99
_STEPS = 64
_SMALLEST_SHARE = 0.2
Range = tuple[float, float]
Floats = NDArray[np.float64]


def whole(histogram: Histogram) -> Range:
    """Smallest and largest value seen, and zero."""
    return with_zero(histogram.low, histogram.high)


def with_zero(low: float, high: float) -> Range:
    """The smallest interval around [low, high] that holds zero."""
    return min(low, 0.0), max(high, 0.0)


def percentile(histogram: Histogram, share: float = PERCENTILE) -> Range:
    """The interval that holds `share` percent of the values, as much cut below as above."""
    below = np.cumsum(histogram.counts)
    cut = below[-1] * (1 - share / 100) / 2
    first = int(np.searchsorted(below, cut, side="right"))
    last = int(np.searchsorted(below, below[-1] - cut, side="left"))
    low = histogram.edge + first * histogram.width
    high = histogram.edge + (last + 1) * histogram.width
    return with_zero(max(low, histogram.low), min(high, histogram.high))


def least_square_error(histogram: Histogram, levels: int) -> Range:
    """The interval with the least mean square error when it is divided into `levels` integers."""
    values, weights = _occupied(histogram)
    return _search(whole(histogram), lambda low, high: _square_error(values, weights, low, high, levels))


def least_divergence(histogram: Histogram, levels: int) -> Range:
    """The interval with the least divergence between the values and their quantization to `levels` integers."""
    counts, centers = histogram.counts.astype(np.float64), histogram.centers
    return _search(whole(histogram), lambda low, high: _divergence(counts, centers, low, high, levels))


def _search(outer: Range, cost: Callable[[float, float], float]) -> Range:
    """The cheapest interval inside `outer`: the upper end is moved, then the lower, then the upper again."""
    low, high = outer
    if not high > low:
        return outer
    for _ in range(2):
        high = min(_ends(outer[1]), key=lambda end: cost(low, end))
        low = min(_ends(outer[0]), key=lambda end: cost(end, high))
    return low, high


def _ends(outer: float) -> Iterator[float]:
    """Candidates for one end, the widest first so that it wins when nothing is gained."""
    if outer == 0.0:
        return iter((0.0,))
    return (float(outer * share) for share in np.linspace(1.0, _SMALLEST_SHARE, _STEPS))


def _occupied(histogram: Histogram) -> tuple[Floats, Floats]:
    filled = histogram.counts > 0
    return histogram.centers[filled], histogram.counts[filled].astype(np.float64)


def _square_error(values: Floats, weights: Floats, low: float, high: float, levels: int) -> float:
    step = (high - low) / (levels - 1)
    if step <= 0:
        return np.inf
    clipped = np.clip(values, low, high) - values
    inside = clipped == 0
    # Rounding errors are spread evenly over a step: their variance is a twelfth of its square.
    return float((weights * np.where(inside, step * step / 12, clipped * clipped)).sum())


def _divergence(counts: Floats, centers: Floats, low: float, high: float, levels: int) -> float:
    inside = (centers >= low) & (centers <= high)
    kept = counts[inside]
    if kept.size < 2 or not kept.any():
        return np.inf
    target = kept.copy()
    target[0] += counts[centers < low].sum()
    target[-1] += counts[centers > high].sum()
    model = _requantized(kept, levels)
    target, model = target / target.sum(), model / model.sum()
    seen = target > 0
    return float((target[seen] * log(target[seen] / np.maximum(model[seen], 1e-12))).sum())


def _requantized(counts: Floats, levels: int) -> Floats:
    """`counts` after the bins of each of `levels` groups share their sum; empty bins stay empty."""
    group = np.arange(counts.size) * levels // counts.size
    filled = (counts > 0).astype(np.float64)
    total, share = np.bincount(group, counts, levels), np.bincount(group, filled, levels)
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    return np.asarray(mean[group] * filled)
