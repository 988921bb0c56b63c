"""Running a float network and looking at tensors inside it, with the same numbers on every host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.evaluator import Evaluator

Arrays = dict[str, NDArray[Any]]


class Probe:
    """A network that gives the tensors `names` instead of its outputs."""

    def __init__(self, graph: gs.Graph, names: Sequence[str]) -> None:
        """names: variables of `graph`, which is not changed."""
        self._evaluator = Evaluator(graph, names)
        self.names = self._evaluator.names

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The tensors by name for one sample; inputs that they do not depend on may be there."""
        return self._evaluator.run(inputs)
