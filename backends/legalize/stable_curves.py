"""Curves that TVM spells so that digits are lost, spelled so that none are.

TVM takes logarithms of sums near 1, where small addends vanish, and of exp(x), which may be infinite. Here
e = exp(-|x|) <= 1, a = |x|, and log1p is Kahan's (Goldberg, What every computer scientist should know about
floating-point arithmetic, theorem 4):

    log1p(e)     ->  e * log(1 + e) / ((1 + e) - 1), e where 1 + e is 1
    Softplus(x)  ->  max(x, 0) + log1p(e)
    Mish(x)      ->  x * t / (t + 2), t = e (e + 2)             x < 0:  tanh(log(1 + exp(x))) without a logarithm
                     x * (1 + 2 e) / (1 + 2 e + 2 e e)          else
    Atanh(x)     ->  sign(x) / 2 * log1p(2 a / (1 - a))
    Asinh(x)     ->  sign(x) * log1p(a + a / (1 / a + sqrt(1 + 1 / a^2)))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mdcompiler.names import unique


def spell_curves(model: onnx.ModelProto) -> None:
    """Write these curves in `model` as other operators, in place."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    elements = {value.name: value.type.tensor_type.elem_type for value in values}
    elements |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    taken = set(elements) | {name for node in graph.node for name in (*node.input, *node.output)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        write = _CURVES.get(node.op_type) if not node.domain else None
        if write is None:
            nodes.append(node)
            continue
        writer = _Writer(node, helper.tensor_dtype_to_np_dtype(elements[node.input[0]]), taken)
        nodes.extend(write(writer))
    del graph.node[:]
    graph.node.extend(nodes)


class _Writer:
    """The nodes in place of one."""

    def __init__(self, node: onnx.NodeProto, dtype: np.dtype[Any], taken: set[str]) -> None:
        self.x, self.result = node.input[0], node.output[0]
        self.dtype, self.taken = dtype, taken
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, value: float) -> str:
        name = self._fresh("constant")
        array = numpy_helper.from_array(np.array(value, self.dtype))
        self.nodes.append(helper.make_node("Constant", [], [name], value=array))
        return name

    def __call__(self, operator: str, *inputs: str) -> str:
        name = self._fresh(operator.lower())
        self.nodes.append(helper.make_node(operator, list(inputs), [name]))
        return name

    def finish(self, operator: str, inputs: Sequence[str]) -> Iterator[onnx.NodeProto]:
        yield from self.nodes
        yield helper.make_node(operator, list(inputs), [self.result])

    def decay(self) -> str:
        """exp(-|x|)."""
        return self("Exp", self("Neg", self("Abs", self.x)))

    def log1p(self, small: str) -> str:
        """log(1 + small) of numbers that are not negative; of infinity as well."""
        one = self.constant(1)
        total = self("Add", small, one)
        lost = self("Equal", total, one)
        plain = self("Log", total)
        rest = self("Where", lost, one, self("Sub", total, one))
        exact = self("Div", small, rest)
        scaled = self("Mul", plain, self("Where", self("IsNaN", exact), one, exact))
        return self("Where", lost, small, scaled)

    def _fresh(self, role: str) -> str:
        name = unique(f"{self.result}/{role}", self.taken)
        self.taken.add(name)
        return name


def _softplus(write: _Writer) -> Iterator[onnx.NodeProto]:
    above = write("Max", write.x, write.constant(0))
    return write.finish("Add", [above, write.log1p(write.decay())])


def _mish(write: _Writer) -> Iterator[onnx.NodeProto]:
    zero, one, two, decay = write.constant(0), write.constant(1), write.constant(2), write.decay()
    twice = write("Mul", decay, two)
    product = write("Mul", decay, write("Add", decay, two))
    below = write("Div", product, write("Add", product, two))
    top = write("Add", twice, one)
    above = write("Div", top, write("Add", top, write("Mul", decay, twice)))
    return write.finish("Mul", [write.x, write("Where", write("Less", write.x, zero), below, above)])


def _atanh(write: _Writer) -> Iterator[onnx.NodeProto]:
    one, two, size = write.constant(1), write.constant(2), write("Abs", write.x)
    ratio = write("Div", write("Mul", size, two), write("Sub", one, size))
    return write.finish("Mul", [write.log1p(ratio), write("Div", write("Sign", write.x), two)])


def _asinh(write: _Writer) -> Iterator[onnx.NodeProto]:
    one, size = write.constant(1), write("Abs", write.x)
    inverse = write("Div", one, size)
    root = write("Sqrt", write("Add", write("Mul", inverse, inverse), one))
    more = write("Add", size, write("Div", size, write("Add", inverse, root)))
    return write.finish("Mul", [write.log1p(more), write("Sign", write.x)])


_CURVES: dict[str, Callable[[_Writer], Iterator[onnx.NodeProto]]] = {
    "Asinh": _asinh,
    "Atanh": _atanh,
    "Mish": _mish,
    "Softplus": _softplus,
}
