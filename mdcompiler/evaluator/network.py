"""A float network, node after node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.constants import constant, optional_input
from mdcompiler.evaluator.nodes import MOVING, NODES, Compute, average_pool_node, convolution_node
from mdcompiler.evaluator.onnxruntime_node import OnnxRuntimeNode

Array = NDArray[Any]
Arrays = dict[str, Array]
Change = Callable[[Array], Array]


class Evaluator:
    """Gives the tensors `names` of `graph`, which is not changed.

    others: the operators whose last bits ONNX Runtime and this host decide.
    """

    def __init__(self, graph: gs.Graph, names: Sequence[str]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._nodes = _needed(graph, self.names)
        self._opset = int(graph.opset)
        self._constants = {t.name: t.values for n in self._nodes for t in n.inputs if isinstance(t, gs.Constant)}
        self._computes: list[Compute | None] = [_compute(node, self._opset) for node in self._nodes]
        self._last_read = {t.name: index for index, node in enumerate(self._nodes) for t in node.inputs}
        self._sessions: dict[int, OnnxRuntimeNode] = {}
        self.others: set[str] = set()

    def run(
        self, inputs: Mapping[str, Array], changes: Mapping[str, Change] | None = None, keep: bool = False
    ) -> Arrays:
        """The tensors by name for one sample; `inputs` may hold more. changes: what readers of a tensor get instead.

        keep: every tensor that any node makes, for `rerun`.
        """
        values = {**self._constants, **{name: np.asarray(array) for name, array in inputs.items()}}
        changed: Arrays = {}
        for index, node in enumerate(self._nodes):
            self._step(index, node, values, changed, changes or {})
            if not keep:
                self._forget(index, node, values)
        return values if keep else {name: values[name] for name in self.names}

    def rerun(self, kept: Mapping[str, Array], changes: Mapping[str, Change]) -> Arrays:
        """The same after `run(..., keep=True)`: only what depends on the changed tensors is computed again."""
        fresh: Arrays = {}
        values, changed = _Over(fresh, kept), {name: change(kept[name]) for name, change in changes.items()}
        moved = set(changed)
        for index, node in enumerate(self._nodes):
            if any(tensor.name in moved for tensor in node.inputs):
                self._step(index, node, values, changed, {})
                for tensor in node.outputs:
                    if tensor.name in changes:
                        changed[tensor.name] = changes[tensor.name](fresh[tensor.name])
                moved.update(tensor.name for tensor in node.outputs)
        return {name: values[name] for name in self.names}

    def _step(self, index: int, node: gs.Node, values: Any, changed: Arrays, changes: Mapping[str, Change]) -> None:
        reads = [
            None if t.is_empty() else changed[t.name] if t.name in changed else values[t.name] for t in node.inputs
        ]
        with np.errstate(all="ignore"):
            results = self._results(index, node, reads)
        for tensor, array in zip(node.outputs, results, strict=False):
            values[tensor.name] = array
            if tensor.name in changes:
                changed[tensor.name] = changes[tensor.name](array)

    def _results(self, index: int, node: gs.Node, reads: list[Any]) -> list[Array]:
        compute = self._computes[index]
        floats = all(item is None or item.dtype in (np.float32, np.uint8, np.int8, np.int32) for item in reads)
        if compute is not None and floats:
            try:
                return [np.asarray(compute(reads))]
            except NotImplementedError:
                self._computes[index] = None
        if node.op not in MOVING:
            self.others.add(str(node.op))
        if index not in self._sessions:
            self._sessions[index] = OnnxRuntimeNode(node, self._opset, reads)
        return self._sessions[index].run(reads)

    def _forget(self, index: int, node: gs.Node, values: Arrays) -> None:
        for tensor in node.inputs:
            if self._last_read[tensor.name] == index and tensor.name not in self.names:
                values.pop(tensor.name, None)


class _Over(dict[str, Array]):
    """Arrays by name, those of a first dictionary before those of a second."""

    def __init__(self, first: Arrays, second: Mapping[str, Array]) -> None:
        self.first, self.second = first, second

    def __getitem__(self, name: str) -> Array:
        return self.first[name] if name in self.first else self.second[name]

    def __setitem__(self, name: str, array: Array) -> None:
        self.first[name] = array


def _needed(graph: gs.Graph, names: Sequence[str]) -> list[gs.Node]:
    """The nodes that make the tensors `names`, in order."""
    wanted, found = set(names), []
    for node in reversed(list(graph.nodes)):
        if any(tensor.name in wanted for tensor in node.outputs):
            found.append(node)
            wanted.update(tensor.name for tensor in node.inputs)
    return found[::-1]


def _compute(node: gs.Node, opset: int) -> Compute | None:
    """`node` in NumPy, None where ONNX Runtime runs it."""
    if node.domain:
        return None
    if node.op == "Conv":
        weight, added = constant(node.inputs[1]), optional_input(node, 2)
        bias = None if added is None else constant(added)
        if weight is None or (added is not None and bias is None):
            return None
        return convolution_node(node.attrs, weight, bias)
    if node.op == "AveragePool":
        return average_pool_node(node.attrs)
    if node.op == "Softmax" and opset < 13:
        return None
    return NODES[node.op](node.attrs) if node.op in NODES else None
