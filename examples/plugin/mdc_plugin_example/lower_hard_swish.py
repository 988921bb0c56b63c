"""lower-hard-swish: HardSwish becomes a multiplication by HardSigmoid, for machines that lack it.

Before: `y = HardSwish(x)`. After: `g = HardSigmoid(x; alpha=1/6, beta=1/2)`, `y = Mul(x, g)`: ONNX
defines HardSwish by exactly these two, so the outputs stay what they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Stage
from mdcompiler.module import Module
from mdcompiler.names import fresh_node, fresh_tensor


@dataclass(frozen=True)
class LowerHardSwish:
    """Split every HardSwish in a module for the `numpy` backend."""

    name: ClassVar[str] = "lower-hard-swish"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module) -> int:
        """The number of HardSwish nodes that were split."""
        if module.target.backend != "numpy":  # a plug-in's pass meets every compilation, also for other machines
            return 0
        found = [node for node in module.graph.nodes if node.op == "HardSwish"]
        for node in found:
            _split(module.graph, node)
        return len(found)


def _split(graph: gs.Graph, node: gs.Node) -> None:
    (x,) = node.inputs
    wanted = f"{node.name}_gate"
    gate = gs.Variable(fresh_tensor(graph, wanted), dtype=x.dtype, shape=x.shape)
    sigmoid = gs.Node("HardSigmoid", fresh_node(graph, wanted), {"alpha": 1 / 6, "beta": 0.5}, [x], [gate])
    graph.nodes.insert(graph.nodes.index(node), sigmoid)
    node.op = "Mul"
    node.inputs = [x, gate]
