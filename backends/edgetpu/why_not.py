"""Why the Edge TPU does not take a kernel, and the change of the spec after which it would."""

from __future__ import annotations

from mdcompiler.backends.edgetpu.rules import broken_rule
from mdcompiler.backends.tflite.describe_kernel import describe_kernel, is_written
from mdcompiler.backends.tflite.described import Described
from mdcompiler.kernel import Kernel


def why_not(kernel: Kernel) -> str | None:
    """None when all of `kernel` is mapped, else the first reason, as a sentence."""
    for operator in describe_kernel(kernel):
        reason = _reason(operator)
        if reason is not None:
            return f"the Edge TPU does not take {operator.where}: {reason}."
    return None


def _reason(operator: Described) -> str | None:
    broken = broken_rule(operator)
    if broken is not None:
        return broken[1]
    if is_written(operator):
        return None
    return (
        f"this {operator.kind} has no integer form in this toolkit; build the block from convolutions, sums of tensors "
        "and relu6"
    )
