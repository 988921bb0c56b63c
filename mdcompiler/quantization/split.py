"""Which nodes of a float kernel become one integer operation.

    Conv -> Clip(0,6)                       conv
    Conv -> HardSwish                       conv, table
    Conv -> Add(x) -> Relu                  conv, add
    GlobalAveragePool -> … -> Mul           pool, conv, table, conv, table, product
    Conv -> Transpose -> Reshape            conv, move, move

A clamp (Relu, Clip) right after a convolution or a sum belongs to it: it is the saturation of the result. Any other
function of one number is a table with an entry for every input. A kernel with a node that has no integer form
stays float as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.activation import Activation, activation_after, single_activation
from mdcompiler.kernel import Kernel
from mdcompiler.module import is_output

Operation = Literal["picture", "conv", "table", "add", "pool", "product", "move", "concat", "requantize"]

MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that move numbers without changing them."""
_CLAMPS = ("relu", "clip")
_PICTURE = ("Cast", "Transpose", "Mul", "Add")


@dataclass(frozen=True)
class FloatStep:
    """Nodes of a float kernel that become one integer operation.

    nodes: in order; the first does the work. inputs: the float tensors it reads; output: the one it makes.
    low, high: of the clamp at its end, infinite where there is none.
    """

    operation: Operation
    nodes: tuple[gs.Node, ...]
    inputs: tuple[gs.Variable, ...]
    output: gs.Variable
    low: float = -math.inf
    high: float = math.inf

    @property
    def name(self) -> str:
        return str(self.nodes[0].name)

    @property
    def ends_at_one(self) -> bool:
        """Whether the result lies between 0 and 1 by itself: a sigmoid."""
        found = single_activation(self.nodes[0]) if self.operation == "table" and len(self.nodes) == 1 else None
        return found is not None and found.kind in ("sigmoid", "hard_sigmoid")


def split(graph: gs.Graph, kernel: Kernel) -> tuple[FloatStep, ...] | str:
    """The integer operations of `kernel` in order, or why it must stay float (a sentence without a full stop)."""
    try:
        return tuple(_steps(graph, kernel))
    except _NoIntegerFormError as reason:
        return str(reason)


class _NoIntegerFormError(Exception):
    pass


def _steps(graph: gs.Graph, kernel: Kernel) -> Iterator[FloatStep]:
    members = {id(node) for node in kernel.nodes}
    waiting = list(kernel.nodes)
    while waiting:
        step = _picture(waiting) if kernel.kind == "stem" and waiting[0].op == "Cast" else _step(graph, waiting[0])
        if not {id(node) for node in step.nodes} <= members:
            step = _alone(step)
        taken = {id(node) for node in step.nodes}
        waiting = [node for node in waiting if id(node) not in taken]
        yield step


def _picture(nodes: list[gs.Node]) -> FloatStep:
    chain = tuple(nodes[: len(_PICTURE)])
    if tuple(node.op for node in chain) != _PICTURE:
        raise _NoIntegerFormError(f"the preprocessing is not {', '.join(_PICTURE)}")
    return FloatStep("picture", chain, (chain[0].inputs[0],), chain[-1].outputs[0])


def _step(graph: gs.Graph, node: gs.Node) -> FloatStep:
    operation = _operation(node)
    if operation == "table":
        return _table(node)
    inputs = tuple(tensor for tensor in node.inputs if isinstance(tensor, gs.Variable) and not tensor.is_empty())
    clamp = _clamp(graph, node.outputs[0]) if operation in ("conv", "add") else None
    if clamp is None:
        return FloatStep(operation, (node,), inputs, node.outputs[0])
    return FloatStep(operation, (node, *clamp.nodes), inputs, clamp.output, clamp.low, clamp.high)


def _alone(step: FloatStep) -> FloatStep:
    """`step` without the clamp, which belongs to another kernel."""
    if step.operation == "table":
        raise _NoIntegerFormError(f"{step.name} is part of an activation that two kernels share")
    return FloatStep(step.operation, step.nodes[:1], step.inputs, step.nodes[0].outputs[0])


def _clamp(graph: gs.Graph, tensor: gs.Variable) -> Activation | None:
    found = None if is_output(graph, tensor) else activation_after(tensor)
    return found if found is not None and found.kind in _CLAMPS else None


def _operation(node: gs.Node) -> Operation:
    if node.domain:
        raise _NoIntegerFormError(f"{node.name} is a {node.domain}.{node.op}")
    for tensor in node.inputs:
        if isinstance(tensor, gs.Variable) and not tensor.is_empty() and tensor.dtype != np.float32:
            raise _NoIntegerFormError(f"{node.name} reads {tensor.name} of type {np.dtype(tensor.dtype)}")
    if not any(isinstance(tensor, gs.Variable) and not tensor.is_empty() for tensor in node.inputs):
        raise _NoIntegerFormError(f"{node.name} reads constants alone")
    if node.op == "Conv":
        return _convolution(node)
    if node.op in MOVES:
        return "move"
    if single_activation(node) is not None:
        return "table"
    variables = all(isinstance(tensor, gs.Variable) for tensor in node.inputs)
    return _arithmetic(node) if variables else _refuse(node)


def _convolution(node: gs.Node) -> Operation:
    if not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]) or node.inputs[1].values.ndim != 4:
        raise _NoIntegerFormError(f"{node.name} is no two-dimensional convolution with constant weights")
    return "conv"


def _arithmetic(node: gs.Node) -> Operation:
    equal = len(node.inputs) == 2 and node.inputs[0].shape == node.inputs[1].shape
    if node.op == "Add" and equal:
        return "add"
    if node.op == "Mul":
        return "product"
    if node.op == "GlobalAveragePool":
        return "pool"
    return "concat" if node.op == "Concat" else _refuse(node)


def _refuse(node: gs.Node) -> Operation:
    raise _NoIntegerFormError(f"{node.name} ({node.op}) has no integer form")


def _table(node: gs.Node) -> FloatStep:
    """An activation that starts with `node`; a Sigmoid may be the first half of a swish."""
    source = node.inputs[0]
    found = activation_after(source) or single_activation(node)
    if found is None or found.nodes[0] is not node:
        found = single_activation(node)
    assert found is not None, "the caller saw an activation"
    return FloatStep("table", found.nodes, (source,), found.output)
