"""Indices that are known only at run time cannot leave their tensor: no input makes a kernel read or write elsewhere.

    y = Gather(x, i)    ->    y = Gather(x, wrapped(clamped(i)))

An index is clamped to [-n, n - 1], n being the extent that it selects from; a negative one then counts from the end, as
ONNX says. Beyond these bounds ONNX leaves the result open. Constant indices within bounds stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from mdcompiler.names import unique

Shape = Sequence[int]
_INDEX = 1
"""Which input of all these operators holds the indices."""


def guard_indices(model: onnx.ModelProto) -> None:
    """Guard the indices of every node of `model` that selects by number, in place."""
    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    types = {
        value.name: value.type.tensor_type
        for value in (*graph.input, *graph.output, *graph.value_info)
        if value.name not in values
    }
    shapes: dict[str, Shape] = {name: [item.dim_value for item in kind.shape.dim] for name, kind in types.items()}
    shapes |= {name: array.shape for name, array in values.items()}
    taken = set(shapes) | {name for node in graph.node for name in (*node.input, *node.output)}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        extents = _EXTENTS[node.op_type](node, shapes) if node.op_type in _EXTENTS and not node.domain else None
        if extents is None or _is_harmless(values.get(node.input[_INDEX]), extents):
            nodes.append(node)
            continue
        name = node.input[_INDEX]
        dtype = values[name].dtype if name in values else helper.tensor_dtype_to_np_dtype(types[name].elem_type)
        nodes.extend(_guarded(node, extents.astype(dtype), taken))
    del graph.node[:]
    graph.node.extend(nodes)


def _is_harmless(indices: NDArray[Any] | None, extents: NDArray[np.int64]) -> bool:
    return indices is not None and bool(((indices >= -extents) & (indices < extents)).all())


def _guarded(node: onnx.NodeProto, extents: NDArray[Any], taken: set[str]) -> Iterator[onnx.NodeProto]:
    """The nodes in place of `node`. extents: a scalar, or one number for each of the last axis of the indices."""
    made: dict[str, str] = {}
    for role in ("lowest", "highest", "extent", "zero", "high", "clamped", "is_negative", "from_end", "index"):
        made[role] = unique(f"{node.output[0]}/{role}", taken)
        taken.add(made[role])
    zero = np.zeros((), extents.dtype)
    for role, array in (("lowest", -extents), ("highest", extents - 1), ("extent", extents), ("zero", zero)):
        yield helper.make_node(
            "Constant", [], [made[role]], value=numpy_helper.from_array(np.asarray(array, extents.dtype))
        )
    yield helper.make_node("Max", [node.input[_INDEX], made["lowest"]], [made["high"]])
    yield helper.make_node("Min", [made["high"], made["highest"]], [made["clamped"]])
    yield helper.make_node("Less", [made["clamped"], made["zero"]], [made["is_negative"]])
    yield helper.make_node("Add", [made["clamped"], made["extent"]], [made["from_end"]])
    yield helper.make_node("Where", [made["is_negative"], made["from_end"], made["clamped"]], [made["index"]])
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[_INDEX] = made["index"]
    yield copy


def _along_axis(node: onnx.NodeProto, shapes: dict[str, Shape]) -> NDArray[np.int64]:
    shape = shapes[node.input[0]]
    return np.array(shape[_attribute(node, "axis") % len(shape)], np.int64)


def _leading_axes(node: onnx.NodeProto, shapes: dict[str, Shape]) -> NDArray[np.int64]:
    """One extent for each number of an index that is a list."""
    skipped, count = _attribute(node, "batch_dims"), shapes[node.input[_INDEX]][-1]
    return np.array(shapes[node.input[0]][skipped : skipped + count], np.int64)


def _whole_output(node: onnx.NodeProto, shapes: dict[str, Shape]) -> NDArray[np.int64]:
    return np.array(math.prod(shapes[node.output[0]]), np.int64)


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), 0)


_EXTENTS: dict[str, Callable[[onnx.NodeProto, dict[str, Shape]], NDArray[np.int64]]] = {
    "Gather": _along_axis,
    "GatherElements": _along_axis,
    "GatherND": _leading_axes,
    "MaxUnpool": _whole_output,
    "Scatter": _along_axis,
    "ScatterElements": _along_axis,
    "ScatterND": _leading_axes,
}
"""What the indices of an operator select from."""
