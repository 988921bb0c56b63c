"""A whole network in float64, node after node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mdcompiler.exact.kernels import KERNELS
from mdcompiler.exact.single_node import (
    Inputs,
    Runner,
    evaluator_runner,
    narrow,
    narrowed,
    node_model,
    onnxruntime_runner,
    widen,
    widened,
)

Array = NDArray[Any]
_MANY_ELEMENTS = 1 << 16
"""Of a node's operands: beyond it the evaluator's loops in Python take seconds."""


_PRODUCTS = ("Conv", "Gemm", "MatMul")
_MOVES = ("Reshape", "Transpose", "Concat", "Identity")


class NoExactFormError(Exception):
    """A node that nothing can compute with wide floats; the message names it."""


class ExactNetwork:
    """`model` in float64. functions of the model and nodes of domain `mdc` included."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._opsets, self._functions = list(model.opset_import), list(model.functions)
        self._constants = {item.name: widen(numpy_helper.to_array(item)) for item in model.graph.initializer}
        self._outputs = [value.name for value in model.graph.output]
        self._reads = Counter(name for node in model.graph.node for name in node.input)
        self._reads.update(self._outputs)
        self._runners: dict[int, Runner] = {}
        self.work = 0
        """Multiply-adds of the convolutions and matrix products of the last run."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, floats as float64. Raises NoExactFormError."""
        values = {**self._constants, **{name: widen(array) for name, array in inputs.items()}}
        left, self.work = Counter(self._reads), 0
        with np.errstate(all="ignore"):
            for index, node in enumerate(self._graph.node):
                results = self._node(index, node, values)
                values.update(zip((name for name in node.output if name), map(widen, results), strict=False))
                left.subtract(node.input)
                for name in node.input:
                    if left[name] <= 0 and name not in self._constants:
                        values.pop(name, None)
        return {name: values[name] for name in self._outputs}

    def _node(self, index: int, node: onnx.NodeProto, values: Mapping[str, Array]) -> Sequence[Array]:
        operands = [values[name] if name else None for name in node.input]
        kernel = KERNELS.get(node.op_type) if not node.domain and len(node.output) == 1 else None
        if kernel is not None and _are_floats(node, operands):
            result = kernel(operands, _attributes(node))
            if node.op_type in _PRODUCTS:
                factors = values[node.input[1]]
                self.work += result.size * (factors.size // max(1, factors.shape[0 if node.op_type == "Conv" else -1]))
            return [result]
        given = {name: values[name] for name in node.input if name}
        runner = self._runners.get(index)
        if runner is not None:
            return runner(given)
        self._runners[index], results = self._first_that_runs(node, given)
        return results

    def _first_that_runs(self, node: onnx.NodeProto, given: Inputs) -> tuple[Runner, Sequence[Array]]:
        reasons = []
        for attempt in self._attempts(node, given):
            found = _tried(attempt, given)
            if not isinstance(found, str):
                return found
            reasons.append(found)
        raise NoExactFormError(f"{node.name or node.output[0]} ({node.op_type}): {'; '.join(reasons)}")

    def _attempts(self, node: onnx.NodeProto, given: Inputs) -> Iterator[Callable[[], Runner]]:
        """Ways to open a runner for `node`, best first."""
        wide = node_model(widened(node), given, self._opsets, self._functions)
        small = node_model(node, {name: narrow(array) for name, array in given.items()}, self._opsets, self._functions)
        yield lambda: onnxruntime_runner(wide)
        evaluator, short = (lambda: evaluator_runner(wide)), (lambda: narrowed(onnxruntime_runner(small)))
        large = sum(array.size for array in given.values()) > _MANY_ELEMENTS
        yield from (short, evaluator) if large else (evaluator, short)


def _tried(attempt: Callable[[], Runner], given: Inputs) -> tuple[Runner, Sequence[Array]] | str:
    """A runner with what it gave, or why there is none."""
    try:
        runner = attempt()
        return runner, runner(given)
    except Exception as error:  # every runtime has its own for what it lacks
        return " ".join(str(error).split())[:100]


def _are_floats(node: onnx.NodeProto, operands: Sequence[Any]) -> bool:
    """Whether numpy computes what `node` means: moves always, arithmetic on floats alone."""
    return node.op_type in _MOVES or all(array.dtype == np.float64 for array in operands if array is not None)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
