"""Integer division that cannot end the process: x / 0 and the smallest number / -1 are traps of the processor.

    y = Div(a, b)    ->    y = b == 0 ? 0 : b == -1 ? -a : a / (b, or 1 where it is 0 or -1)

ONNX leaves x / 0 open; 0 is what its reference evaluator says. A constant divisor without 0 and -1 stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mdcompiler.names import unique

_DIVIDES = ("Div", "Mod")


def guard_divisions(model: onnx.ModelProto) -> None:
    """Guard every Div and Mod of integers in `model`, in place."""
    graph = model.graph
    elements = {tensor.name: tensor.data_type for tensor in graph.initializer}
    elements |= {
        item.name: item.type.tensor_type.elem_type for item in (*graph.input, *graph.output, *graph.value_info)
    }
    harmless = {tensor.name for tensor in graph.initializer if _is_harmless(numpy_helper.to_array(tensor))}
    taken = set(elements)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        dtype = helper.tensor_dtype_to_np_dtype(elements.get(node.output[0], onnx.TensorProto.FLOAT))
        if node.op_type in _DIVIDES and dtype.kind in "iu" and node.input[1] not in harmless:
            nodes.extend(_Guard(node, dtype, taken).nodes())
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _is_harmless(divisor: NDArray[Any]) -> bool:
    return divisor.dtype.kind in "iu" and not np.isin(divisor.astype(object), (0, -1)).any()


class _Guard:
    """One division, written out."""

    def __init__(self, node: onnx.NodeProto, dtype: np.dtype[Any], taken: set[str]) -> None:
        self.node, self.dtype, self.taken = node, dtype, taken

    def nodes(self) -> Iterator[onnx.NodeProto]:
        dividend, divisor, result = self.node.input[0], self.node.input[1], self.node.output[0]
        zero, one = (self._fresh(text) for text in ("zero", "one"))
        yield self._constant(zero, 0)
        yield self._constant(one, 1)
        is_zero, safe, quotient = (self._fresh(text) for text in ("is_zero", "safe", "quotient"))
        yield helper.make_node("Equal", [divisor, zero], [is_zero])
        yield helper.make_node("Where", [is_zero, one, divisor], [safe])
        if self.dtype.kind == "u":
            yield self._division(dividend, safe, quotient)
        else:
            yield from self._signed(dividend, safe, quotient, one)
        yield helper.make_node("Where", [is_zero, zero, quotient], [result])

    def _signed(self, dividend: str, divisor: str, result: str, one: str) -> Iterator[onnx.NodeProto]:
        minus, is_minus, safe, quotient = (
            self._fresh(text) for text in ("minus_one", "is_minus_one", "no_trap", "rounded")
        )
        yield self._constant(minus, -1)
        yield helper.make_node("Equal", [divisor, minus], [is_minus])
        yield helper.make_node("Where", [is_minus, one, divisor], [safe])
        yield self._division(dividend, safe, quotient)
        if self.node.op_type == "Mod":  # the rest of a division by -1 is that by 1
            yield helper.make_node("Identity", [quotient], [result])
            return
        negative = self._fresh("negative")
        yield helper.make_node("Neg", [quotient], [negative])
        yield helper.make_node("Where", [is_minus, negative, quotient], [result])

    def _division(self, dividend: str, divisor: str, result: str) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(self.node)
        copy.input[:] = [dividend, divisor]
        copy.output[:] = [result]
        return copy

    def _constant(self, name: str, value: int) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, self.dtype)))

    def _fresh(self, role: str) -> str:
        name = unique(f"{self.node.output[0]}/{role}", self.taken)
        self.taken.add(name)
        return name
