"""What a convolution's filters see: patches of its input, and their moments over samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.calibration.probe import Probe
from mdcompiler.calibration.samples import Samples
from mdcompiler.constants import constant
from mdcompiler.evaluator.products import integers_of
from mdcompiler.progress import Progress, silent

_POSITIONS = 512
"""Patches taken of one sample, evenly spread: neighbours are alike, and second moments cost their square."""

Floats = NDArray[np.floating[Any]]


@dataclass
class Moments:
    """Means over patches. count: patches seen; first: sum [G,K]; second: sum of outer products [G,K,K].

    G: groups of the convolution, K: weights of one filter.
    """

    count: int = 0
    first: Floats = field(default_factory=lambda: np.zeros(0))
    second: Floats = field(default_factory=lambda: np.zeros(0))

    def update(self, patches: Floats, squares: bool) -> None:
        """Add patches [G,P,K]; the outer products only where they are wanted."""
        self.first = patches.sum(axis=1, dtype=np.float64) + (self.first if self.count else 0)
        if squares:
            self.second = _squares(patches) + (self.second if self.count else 0)
        self.count += patches.shape[1]

    @property
    def mean(self) -> Floats:
        """The mean patch [G,K]."""
        return np.asarray(self.first / max(self.count, 1))


def _squares(patches: Floats) -> Floats:
    """Outer products [G,K,K] of patches [G,P,K], summed over P: exact sums of integers of 22 bits at _POSITIONS."""
    bits = (53 - int(patches.shape[1]).bit_length()) // 2
    integers, power = integers_of(patches, bits)
    return np.asarray((integers.transpose(0, 2, 1) @ integers) * np.ldexp(1.0, 2 * power))


def convolutions(graph: gs.Graph) -> list[gs.Node]:
    """The two-dimensional convolutions with constant weights, in graph order."""
    found = (node for node in graph.nodes if node.op == "Conv" and not node.domain)
    return [node for node in found if (weight := constant(node.inputs[1])) is not None and weight.ndim == 4]


def moments(
    graph: gs.Graph, samples: Samples, squares: bool = False, progress: Progress = silent
) -> dict[str, Moments]:
    """Name of a convolution -> moments of what its filters see in the float network."""
    nodes = convolutions(graph)
    probe = Probe(graph, [node.inputs[0].name for node in nodes])
    found = {node.name: Moments() for node in nodes}
    for index, sample in enumerate(samples):
        progress("patches", index, len(samples))
        arrays = probe.run(sample)
        for node in nodes:
            limit = _POSITIONS if squares else None
            found[node.name].update(patches(node, arrays[node.inputs[0].name], limit), squares)
    return found


def patches(node: gs.Node, values: Floats, limit: int | None = None) -> Floats:
    """Patches [G,P,K] of `values` [1,C,H,W] as the filters of the Conv `node` meet them, at most `limit` of them."""
    height, width = node.inputs[1].values.shape[2:]
    groups = int(node.attrs.get("group", 1))
    top, left, bottom, right = node.attrs.get("pads", [0, 0, 0, 0])
    (step_y, step_x), (gap_y, gap_x) = node.attrs.get("strides", [1, 1]), node.attrs.get("dilations", [1, 1])
    padded = np.pad(values[0], ((0, 0), (top, bottom), (left, right)))
    window = ((height - 1) * gap_y + 1, (width - 1) * gap_x + 1)
    seen = np.lib.stride_tricks.sliding_window_view(padded, window, axis=(1, 2))
    seen = seen[:, ::step_y, ::step_x, ::gap_y, ::gap_x]
    channels, rows, columns = seen.shape[:3]
    places = np.arange(rows * columns)
    if limit is not None and places.size > limit:
        places = places[np.arange(limit) * places.size // limit]
    picked = seen[:, places // columns, places % columns]
    size = channels // groups
    grouped = picked.reshape(groups, size, places.size, height, width).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grouped.reshape(groups, places.size, size * height * width))
