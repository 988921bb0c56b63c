"""A float network whose tensors can be rounded to integers one by one, without running all of it each time.

Readers of a rounded tensor get `clip(round(t / scale), low, high) * scale`, in float32. What a sample makes of the real
network is kept, so that only what depends on a rounded tensor is computed again. This is for searching: it leaves out
biases and weights, and what shares a scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.evaluator import Evaluator

Arrays = dict[str, NDArray[Any]]
Range = tuple[float, float]
_MOST_KEPT_BYTES = 1 << 29
"""Of all samples together; later ones are run anew each time."""


class Simulator:
    """A network that gives the tensors `ends` while chosen tensors are rounded.

    names: the tensors that can be rounded, each read by something inside. levels: how many integers there are.
    """

    def __init__(self, graph: gs.Graph, names: Sequence[str], ends: Sequence[str], levels: int = 256) -> None:
        self.ends, self.levels = tuple(ends), levels
        tensors = graph.tensors()
        self.names = tuple(name for name in names if tensors[name].outputs)
        self._evaluator = Evaluator(graph, ends)
        self._kept: list[tuple[Mapping[str, NDArray[Any]], Arrays]] = []
        self._kept_bytes = 0

    def run(self, sample: Mapping[str, NDArray[Any]], ranges: Mapping[str, Range]) -> list[NDArray[Any]]:
        """The ends for one sample while the tensors in `ranges` are rounded to integers that cover these."""
        changes = {name: partial(_rounded, numbers=self._numbers(*pair)) for name, pair in ranges.items()}
        kept = next((values for known, values in self._kept if known is sample), None) or self._keep(sample)
        found = self._evaluator.run(sample, changes) if kept is None else self._evaluator.rerun(kept, changes)
        return [np.asarray(found[name]) for name in self.ends]

    def _keep(self, sample: Mapping[str, NDArray[Any]]) -> Arrays | None:
        if self._kept_bytes > _MOST_KEPT_BYTES:
            return None
        values = self._evaluator.run(sample, keep=True)
        self._kept.append((sample, values))
        self._kept_bytes += sum(array.nbytes for array in values.values())
        return values

    def _numbers(self, low: float, high: float) -> tuple[np.float32, ...]:
        """The inverse of the scale, the smallest and the largest integer, the scale."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / (self.levels - 1), 1e-12)
        zero = round(-low / scale)
        return tuple(map(np.float32, (1 / scale, -zero, self.levels - 1 - zero, scale)))


def _rounded(values: NDArray[Any], numbers: tuple[np.float32, ...]) -> NDArray[Any]:
    inverse, low, high, scale = numbers
    return np.asarray(np.clip(np.rint(values * inverse), low, high) * scale)
