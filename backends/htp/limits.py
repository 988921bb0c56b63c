"""Which kernels the tensor unit takes, and why not the others."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel
from mdcompiler.module import consumers
from mdcompiler.quantization.steps import is_integer, read_steps

_TAKEN = frozenset(
    (
        *(
            "Add",
            "Clip",
            "Concat",
            "Conv",
            "GlobalAveragePool",
            "HardSigmoid",
            "HardSwish",
            "Max",
            "Min",
            "Mul",
            "Relu",
        ),
        *("Sigmoid", "DequantizeLinear", "QuantizeLinear", "Cast"),
        *("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    )
)
"""Operators in the integer forms that `insert-qdq` writes; Cast is part of the preprocessing that it takes away."""


def why_not(kernel: Kernel) -> str | None:
    """None when the tensor unit computes `kernel`, or will once it is quantized; else the reason as a sentence."""
    if kernel.kind == "postprocess":
        return (
            f"{kernel.name} decodes boxes in float, which the phone's processor does behind the tensor unit; `--raw` "
            "leaves that out."
        )
    return _swish(kernel) or _unknown(kernel) or _wide(kernel)


def check_kernels(kernels: tuple[Kernel, ...]) -> None:
    """Raise UnsupportedError naming the first kernel that the unit does not take."""
    for kernel in kernels:
        reason = why_not(kernel)
        if reason is not None:
            raise UnsupportedError(f"compiling for HTP: {kernel.name}: {reason} Or compile for another target.")


def _swish(kernel: Kernel) -> str | None:
    found = next((node for node in kernel.nodes if node.op == "Sigmoid" and _gates_itself(node)), None)
    if found is None:
        return None
    return (
        f"{found.name} is a swish, two operators of which QNN quantizes neither alone; write hard-swish in the spec, "
        "which is one."
    )


def _gates_itself(sigmoid: gs.Node) -> bool:
    """Whether a product takes what `sigmoid` reads and what it makes; a squeeze-excite's gate has another operand."""
    both = {sigmoid.inputs[0].name, sigmoid.outputs[0].name}
    return any(
        node.op == "Mul" and {tensor.name for tensor in node.inputs} == both for node in consumers(sigmoid.outputs[0])
    )


def _unknown(kernel: Kernel) -> str | None:
    unknown = next((node for node in kernel.nodes if node.op not in _TAKEN or node.domain), None)
    if unknown is None:
        return None
    return (
        f"{unknown.name} ({unknown.op}) has no integer form in this toolkit; build the block from convolutions, sums "
        "of tensors, relu6 and hard-swish."
    )


def _wide(kernel: Kernel) -> str | None:
    if not is_integer(kernel):
        return None
    wide = next((step for step in read_steps(kernel) if step.wide or step.output.wide), None)
    if wide is None:
        return None
    return (
        f"{wide.name} has 16-bit activations, and QNN takes no convolution from one width to another; choose int8 for "
        "the block."
    )
