"""What a convolution kernel does after the convolution: activations and a residual, in order.

    conv -> relu6                     [Activation(clip 0..6)]
    conv -> add(x) -> relu            [Residual(x), Activation(relu)]

Backends read a kernel's epilogue here instead of matching nodes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from mdcompiler.activation import Activation, activation_after
from mdcompiler.kernel import Kernel, kernel_name
from mdcompiler.kernel_kinds import CONVOLUTIONS
from mdcompiler.module import consumers


@dataclass(frozen=True)
class Residual:
    """The element-wise sum with a tensor from outside the kernel, of the same shape.

    node: the Add; operand: the tensor from outside.
    """

    node: gs.Node
    operand: gs.Tensor


Step = Activation | Residual


def epilogue(kernel: Kernel) -> list[Step]:
    """The steps after the convolution of `kernel`, in order; empty when it has none or is no convolution.

    Views and transposes at the end of a head kernel are no steps.
    """
    anchor = kernel.find("Conv") if kernel.kind in CONVOLUTIONS else None
    steps: list[Step] = []
    tensor = anchor.outputs[0] if anchor is not None else None
    while tensor is not None:
        step = _step(kernel.name, tensor)
        if step is None:
            break
        steps.append(step)
        tensor = step.output if isinstance(step, Activation) else step.node.outputs[0]
    return steps


def _step(name: str, tensor: gs.Tensor) -> Step | None:
    activation = activation_after(tensor)
    if activation is not None:
        return activation if all(kernel_name(node) == name for node in activation.nodes) else None
    readers = consumers(tensor)
    if len(readers) == 1 and readers[0].op == "Add" and kernel_name(readers[0]) == name:
        return Residual(readers[0], other_operand(readers[0], tensor))
    return None


def other_operand(node: gs.Node, tensor: gs.Tensor) -> gs.Tensor:
    """The input of the two-operand `node` that is not `tensor`."""
    left, right = node.inputs
    return right if left is tensor else left
