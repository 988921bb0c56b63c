"""Move a sigmoid in front of the concatenation it follows.

    Concat(a, b) -> Sigmoid    becomes    Concat(Sigmoid(a), Sigmoid(b))

The logits of every level of a head then keep a scale of their own: one scale for all of them is what kills a
quantized detector. After the sigmoid all parts have the scale 1/256 by nature and are joined as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Stage
from mdcompiler.kernel import KERNEL, KIND
from mdcompiler.module import Module, insert_before, only_consumer
from mdcompiler.names import fresh_node, fresh_tensor, kernel_path


@dataclass(frozen=True)
class MoveSigmoid:
    """Let every part of a concatenation have its own sigmoid."""

    name: ClassVar[str] = "move-sigmoid"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        found = [(node, sigmoid) for node in module.graph.nodes if (sigmoid := _sigmoid(module.graph, node))]
        for concat, sigmoid in found:
            _move(module.graph, concat, sigmoid)
        return len(found)


def _sigmoid(graph: gs.Graph, concat: gs.Node) -> gs.Node | None:
    """The sigmoid that alone reads `concat`, when every part is computed for it alone."""
    if concat.op != "Concat" or any(only_consumer(graph, part) is not concat for part in concat.inputs):
        return None
    reader = only_consumer(graph, concat.outputs[0])
    return reader if reader is not None and reader.op == "Sigmoid" and not reader.domain else None


def _move(graph: gs.Graph, concat: gs.Node, sigmoid: gs.Node) -> None:
    parts = list(concat.inputs)
    moved = [_copy(graph, sigmoid, concat, part) for part in parts]
    concat.inputs = [node.outputs[0] for node in moved]
    insert_before(graph, concat, moved)
    result = sigmoid.outputs[0]
    sigmoid.inputs, sigmoid.outputs = [], []
    concat.outputs = [result]
    graph.nodes.remove(sigmoid)


def _copy(graph: gs.Graph, sigmoid: gs.Node, concat: gs.Node, part: gs.Variable) -> gs.Node:
    """A sigmoid of `part`, a kernel of its own beside the one that makes `part`."""
    name = fresh_node(graph, f"{kernel_path(part.name)}/sigmoid")
    result = gs.Variable(fresh_tensor(graph, name), dtype=part.dtype, shape=list(part.shape))
    marks = {KERNEL: name, KIND: "elementwise"} if KERNEL in concat.attrs else {}
    return gs.Node("Sigmoid", name, marks, [part], [result])
