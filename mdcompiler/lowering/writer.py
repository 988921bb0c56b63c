"""Collects the parts of an ONNX graph.

A node with one output gives it its own name, so every name in a file is that of a place in the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mdcompiler.spec.steps import Shape

_FLOAT = int(TensorProto.FLOAT)


class GraphWriter:
    """Nodes, constants and the type of every tensor, in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.types: dict[str, onnx.ValueInfoProto] = {}

    def node(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        shape: Shape,
        *,
        output: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node with one float32 output of `shape`, called `output` or like the node; that name."""
        made = output or name
        self.nodes.append(helper.make_node(op, list(inputs), [made], name=name, **attributes))
        self.declare(made, shape)
        return made

    def declare(self, name: str, shape: Shape) -> None:
        """Say that the tensor `name` is float32 of `shape`."""
        self.types[name] = helper.make_tensor_value_info(name, _FLOAT, shape)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, or find it when it is there already; its name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def scalar(self, name: str, value: float) -> str:
        """A float32 constant of shape []."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(value, np.float32), name)
        return name

    def graph(self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[str]) -> onnx.GraphProto:
        """The whole graph; all tensors that are not its outputs get a value_info."""
        inner = [info for tensor, info in self.types.items() if tensor not in outputs]
        return helper.make_graph(
            self.nodes,
            name,
            list(inputs),
            [self.types[tensor] for tensor in outputs],
            list(self.constants.values()),
            value_info=inner,
        )
