"""Constants of a graph: reading their values and making new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.module import is_output
from mdcompiler.names import fresh_tensor

Array = NDArray[Any]


def constant(tensor: gs.Tensor | None) -> Array | None:
    """The values of `tensor`, or None when they are known only at run time."""
    return tensor.values if isinstance(tensor, gs.Constant) else None


def scalar(tensor: gs.Tensor | None) -> float | None:
    """The value of a constant with a single element, else None."""
    values = constant(tensor)
    return float(values.reshape(())) if values is not None and values.size == 1 else None


def optional_input(node: gs.Node, index: int) -> gs.Tensor | None:
    """Input `index` of `node`, or None when the model leaves it out."""
    if index >= len(node.inputs) or node.inputs[index].is_empty():
        return None
    return node.inputs[index]


def integers(tensor: gs.Tensor | None) -> list[int] | None:
    """The values of an integer constant as a flat list, else None."""
    values = constant(tensor)
    return None if values is None else [int(value) for value in values.reshape(-1)]


def new_constant(graph: gs.Graph, wanted: str, values: Array) -> gs.Constant:
    """A constant with `values` under a name that `graph` does not use yet, `wanted` if it is free."""
    return gs.Constant(fresh_tensor(graph, wanted), np.asarray(values, order="C"))


def assign(graph: gs.Graph, node: gs.Node, index: int, values: Array, wanted: str) -> None:
    """Let input `index` of `node` be a constant with `values`.

    A constant that only this node reads is overwritten and keeps its name; a shared one stays as it is
    and the node gets a constant of its own, called `wanted` if that is free.
    """
    old = optional_input(node, index)
    if isinstance(old, gs.Constant) and len(old.outputs) == 1 and not is_output(graph, old):
        old.values = np.asarray(values, order="C")
        return
    fresh = new_constant(graph, wanted, values)
    if index < len(node.inputs):
        node.inputs[index] = fresh
    else:
        node.inputs.append(fresh)
