"""Why a kernel does not run on an Ethos-U."""

from __future__ import annotations

from mdcompiler.backends.tflite.describe_kernel import describe_kernel, is_written
from mdcompiler.kernel import Kernel
from mdcompiler.weights.tflite_head import POSTPROCESS


def why_not(kernel: Kernel) -> str | None:
    """None when all of `kernel` runs there, else the first reason, as a sentence."""
    for operator in describe_kernel(kernel):
        if operator.kind == POSTPROCESS:
            return f"{operator.where} decodes boxes in float, which the host does; `--raw` leaves that out of the file."
        if not is_written(operator):
            return (
                f"{operator.where}: this {operator.kind} has no exact integer form in a .tflite file; build the block "
                "from convolutions, sums of tensors and relu6."
            )
    return None
