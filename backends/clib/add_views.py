"""Reshapes and joins of plain tensors: no work, only memory that is seen in another way."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backends.clib.program import Program, View
from mdcompiler.kernel import Kernel


def add_reshape(program: Program, kernel: Kernel) -> None:
    """A kernel whose output is its input in another shape."""
    source, target = kernel.nodes[0].inputs[0], kernel.outputs[0]
    program.steps.append(View(kernel.name, target.name, source.name, 0, plain_bytes(target), part_is_new=True))


def add_join(program: Program, kernel: Kernel) -> None:
    """A kernel whose output is its inputs one behind the other."""
    node, offset = kernel.nodes[0], 0
    for tensor in node.inputs:
        size = plain_bytes(tensor)
        program.steps.append(View(kernel.name, tensor.name, node.outputs[0].name, offset, size, part_is_new=False))
        offset += size


def plain_bytes(tensor: gs.Tensor) -> int:
    """Bytes of a tensor without any padding."""
    return int(np.prod([int(extent) for extent in tensor.shape])) * int(np.dtype(tensor.dtype).itemsize)
