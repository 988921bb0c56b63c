"""Write the mean over the picture as GlobalAveragePool.

1. ReduceMean(axes=[2, 3], keepdims=1)    becomes    GlobalAveragePool
2. ReduceMean(axes=[2, 3], keepdims=0)    becomes    GlobalAveragePool -> Squeeze(axes=[2, 3])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.constants import integers, new_constant, optional_input
from mdcompiler.module import Module, insert_before
from mdcompiler.names import fresh_node, fresh_tensor


@dataclass(frozen=True)
class LowerMean:
    """Replace means over height and width."""

    name: ClassVar[str] = "lower-mean"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module) -> int:
        found = [node for node in _means(module.graph) if why_not(node) is None]
        for node in found:
            _lower(module.graph, node)
        return len(found)

    def refusals(self, module: Module) -> list[Refusal]:
        return [Refusal(node.name, reason) for node in _means(module.graph) if (reason := why_not(node))]


def _means(graph: gs.Graph) -> list[gs.Node]:
    return [node for node in graph.nodes if node.op == "ReduceMean" and not node.domain]


def why_not(node: gs.Node) -> str | None:
    """Why `node` is no mean over height and width, or None."""
    rank = len(node.inputs[0].shape)
    if not np.issubdtype(node.inputs[0].dtype, np.floating):
        return f"it averages {node.inputs[0].dtype}; global pooling averages floats"
    axes = node.attrs.get("axes") or integers(optional_input(node, 1))
    if axes is None:
        return "its axes are not constant"
    if rank != 4 or sorted(axis % rank for axis in axes) != [2, 3]:
        return f"it averages axes {list(axes)} of {rank}; global pooling averages 2 and 3 of 4"
    return None


def _lower(graph: gs.Graph, node: gs.Node) -> None:
    source, result = node.inputs[0], node.outputs[0]
    keep = node.attrs.get("keepdims", 1) == 1
    node.attrs = {key: value for key, value in node.attrs.items() if key.startswith("mdc.")}
    if keep:
        node.op, node.inputs = "GlobalAveragePool", [source]
        return
    shape = [*source.shape[:2], 1, 1]
    pooled = gs.Variable(fresh_tensor(graph, f"{node.name}/pooled"), dtype=result.dtype, shape=shape)
    pool = gs.Node("GlobalAveragePool", fresh_node(graph, f"{node.name}/pool"), inputs=[source], outputs=[pooled])
    insert_before(graph, node, [pool])
    axes = new_constant(graph, f"{node.name}/axes", np.array([2, 3], np.int64))
    node.op, node.inputs = "Squeeze", [pooled, axes]
