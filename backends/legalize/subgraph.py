"""One kernel as an ONNX model of its own, its constants as initializers.

kernel `C4/b2.ibn/expand` of nodes Conv, Clip  ->  model with one input, nodes Conv, Clip, one output
"""

from __future__ import annotations

import onnx
import onnx_graphsurgeon as gs

from mdcompiler.backends.legalize.guard_division import guard_divisions
from mdcompiler.backends.legalize.guard_indices import guard_indices
from mdcompiler.backends.legalize.stable_curves import spell_curves
from mdcompiler.backends.legalize.widen_sums import widen_sums
from mdcompiler.kernel import Kernel
from mdcompiler.module import export
from mdcompiler.operators import IR_VERSION


def subgraph(kernel: Kernel, opset: int) -> onnx.ModelProto:
    """A model that computes `kernel`: inputs and outputs in the kernel's order, under the kernel's names."""
    tensors: dict[str, gs.Tensor] = {}
    nodes = [
        node.copy(
            inputs=[_copy(tensor, tensors) for tensor in node.inputs],
            outputs=[_copy(tensor, tensors) for tensor in node.outputs],
        )
        for node in kernel.nodes
    ]
    graph = gs.Graph(
        nodes=nodes,
        inputs=[tensors[tensor.name] for tensor in kernel.inputs],
        outputs=[tensors[tensor.name] for tensor in kernel.outputs],
        name=kernel.name,
        opset=opset,
    )
    model = export(graph)
    model.ir_version = IR_VERSION
    guard_divisions(model)
    guard_indices(model)
    spell_curves(model)
    widen_sums(model)
    return model


def _copy(tensor: gs.Tensor, copies: dict[str, gs.Tensor]) -> gs.Tensor:
    """A tensor like `tensor` that belongs to the new graph; the same one for the same name."""
    if tensor.is_empty():
        return gs.Variable.empty()
    if tensor.name not in copies:
        copies[tensor.name] = tensor.copy()
    return copies[tensor.name]
