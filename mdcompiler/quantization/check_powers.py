"""What a scheme whose scales are powers of two can compute: every factor between scales is a shift."""

from __future__ import annotations

import math

from mdcompiler.errors import UnsupportedError
from mdcompiler.names import block_of
from mdcompiler.quantization.rounding import is_power_of_two
from mdcompiler.quantization.steps import Step


def check_powers(step: Step) -> None:
    """Raise UnsupportedError naming the block when a scale of `step`, or what a pool divides by, is no power of two."""
    if step.operation in ("table", "move"):
        return  # neither rescales
    weights = step.weights.quantization.scale if step.weights is not None else ()
    scales = [port.scale for port in (*step.inputs, step.output)] + list(weights)
    odd = next((scale for scale in scales if not is_power_of_two(scale)), None)
    if odd is not None:
        raise _refusal(step, f"{step.name} has a scale of {odd:g}")
    count = math.prod(step.inputs[0].shape[2:])
    if step.operation == "pool" and not is_power_of_two(count):
        raise _refusal(step, f"{step.name} averages {count} numbers")


def _refusal(step: Step, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"integer arithmetic in {block_of(step.name)}: {what}, and a scheme that rounds by powers of two only shifts. "
        "Choose precision float for this block, or another scheme."
    )
