"""What each block keeps in memory, in the network's own types: layouts and scratch of a target are not in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import Module


@dataclass
class Memory:
    """weight_bytes: of all constants. working_bytes: the most that one kernel reads and writes."""

    weight_bytes: int = 0
    working_bytes: int = 0


def block_memory(module: Module) -> dict[str, Memory]:
    """Block -> its memory. module: simplified, fused and quantized, not yet placed."""
    found: dict[str, Memory] = {}
    for kernel in kernels(module.graph):
        memory = found.setdefault(kernel.block, Memory())
        memory.weight_bytes += _constants(kernel)
        memory.working_bytes = max(memory.working_bytes, sum(map(_bytes, (*kernel.inputs, *kernel.outputs))))
    return found


def _constants(kernel: Kernel) -> int:
    held: dict[str, int] = {
        t.name: int(t.values.nbytes) for node in kernel.nodes for t in node.inputs if isinstance(t, gs.Constant)
    }
    return sum(held.values())


def _bytes(tensor: gs.Variable) -> int:
    elements = prod(int(extent) for extent in tensor.shape)
    return elements * int(np.dtype(tensor.dtype).itemsize)
