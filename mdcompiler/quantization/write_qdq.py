"""Carry out a plan: put QuantizeLinear and DequantizeLinear into a graph.

Names: node and tensor `<tensor>/q`, `<tensor>/dq` (numbered from the second reader on), parameters
`<tensor>/scale` and `<tensor>/zero_point`, integers `<weight>_q`, `<bias>_q`. `<tensor>` is the name the float
tensor had, even when the node that made it, a clamp, is gone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.kernel import KERNEL, KIND, Kernel
from mdcompiler.module import is_output
from mdcompiler.names import unique
from mdcompiler.quantization.affine import bounds, clamp_integers
from mdcompiler.quantization.plan import Plan, PlannedStep
from mdcompiler.quantization.write_conv import conv_integers
from mdcompiler.weights.quantization import Quantization

WIDE_OPSET = 21
"""The first opset whose QuantizeLinear makes 16-bit integers."""


def write_qdq(graph: gs.Graph, plan: Plan, parameters: Any = None) -> None:
    """Rewrite `graph` by `plan`, in place."""
    _Writer(graph, plan).write()


class _Writer:
    def __init__(self, graph: gs.Graph, plan: Plan) -> None:
        self.graph = graph
        self.plan = plan
        self.nodes: list[gs.Node] = []
        self.tensor_names = set(graph.tensors())
        self.node_names = {node.name for node in graph.nodes}
