"""Rank correlation of two lists of numbers, ties included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rho: Pearson's of the ranks, equal numbers sharing the mean of theirs; None where undefined."""
    ranks = np.array([_ranks(first), _ranks(second)])
    if len(first) < 2 or np.any(ranks.std(axis=1) == 0):
        return None
    return float(np.corrcoef(ranks)[0, 1])


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b; None where undefined."""
    pairs = combinations(zip(first, second, strict=True), 2)
    signs = np.array([(np.sign(a - c), np.sign(b - d)) for (a, b), (c, d) in pairs])
    if not len(signs) or not np.all(np.any(signs, axis=0)):
        return None
    concordant = float(np.sum(signs[:, 0] * signs[:, 1]))
    return concordant / float(np.sqrt(np.prod(np.sum(signs**2, axis=0))))


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]
