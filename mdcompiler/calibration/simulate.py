"""A float network whose tensors can be rounded to integers one by one, without building a new session each time.

    t   becomes   Mul(1/scale) -> Round -> Clip(low, high) -> Mul(scale)      the four numbers are inputs of the graph

Real numbers pass through where the scale is tiny and the bounds are infinite, so that every tensor is switched
by its own numbers. This is for searching: it leaves out biases and weights, and what shares a scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.calibration.probe import open_session
from mdcompiler.module import consumers, export
from mdcompiler.operators import attach_functions

Arrays = dict[str, NDArray[Any]]
Range = tuple[float, float]
_NUMBERS = ("inverse", "low", "high", "scale")
_REAL = (65536.0, -3e38, 3e38, 1 / 65536.0)
"""Numbers that change a tensor by 2^-17 at most."""


class Simulator:
    """A network that gives the tensors `ends` while chosen tensors are rounded.

    names: the tensors that can be rounded, each read by something inside. levels: how many integers there are.
    """

    def __init__(self, graph: gs.Graph, names: Sequence[str], ends: Sequence[str], levels: int = 256) -> None:
        self.ends, self.levels = tuple(ends), levels
        part = graph.copy()
        tensors = part.tensors()
        part.outputs = [tensors[name] for name in ends]
        part.cleanup(remove_unused_graph_inputs=True)
        self.names = tuple(name for name in names if tensors[name].outputs)
        for name in self.names:
            _insert(part, tensors[name])
        self._session = open_session(attach_functions(export(part)))
        self._inputs = {item.name for item in self._session.get_inputs()}
        self._real = {key: value for name in self.names for key, value in _feeds(name, _REAL).items()}

    def run(self, sample: Mapping[str, NDArray[Any]], ranges: Mapping[str, Range]) -> list[NDArray[Any]]:
        """The ends for one sample while the tensors in `ranges` are rounded to integers that cover these."""
        rounded = {k: v for name, pair in ranges.items() for k, v in _feeds(name, self._numbers(*pair)).items()}
        feeds = {**sample, **self._real, **rounded}
        found = self._session.run(list(self.ends), {name: feeds[name] for name in self._inputs})
        return [np.asarray(item) for item in found]

    def _numbers(self, low: float, high: float) -> tuple[float, float, float, float]:
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / (self.levels - 1), 1e-12)
        zero = round(-low / scale)
        return 1 / scale, -zero, self.levels - 1 - zero, scale


def _feeds(name: str, numbers: Sequence[float]) -> Arrays:
    return {f"{name}/{key}": np.array(value, np.float32) for key, value in zip(_NUMBERS, numbers, strict=True)}


def _insert(graph: gs.Graph, tensor: gs.Variable) -> None:
    """Let the readers of `tensor` read its rounded form."""
    inputs = {key: gs.Variable(f"{tensor.name}/{key}", np.dtype(np.float32), []) for key in _NUMBERS}
    made = [gs.Variable(f"{tensor.name}/rounded{i}", np.dtype(np.float32), tensor.shape) for i in range(4)]
    for reader in consumers(tensor):
        reader.inputs = [made[3] if item is tensor else item for item in reader.inputs]
    chain = (
        ("Mul", [tensor, inputs["inverse"]]),
        ("Round", [made[0]]),
        ("Clip", [made[1], inputs["low"], inputs["high"]]),
        ("Mul", [made[2], inputs["scale"]]),
    )
    nodes = [gs.Node(op, result.name, {}, reads, [result]) for (op, reads), result in zip(chain, made, strict=True)]
    place = next(index for index, node in enumerate(graph.nodes) if node is tensor.inputs[0]) + 1
    graph.nodes[place:place] = nodes
    graph.inputs += list(inputs.values())
