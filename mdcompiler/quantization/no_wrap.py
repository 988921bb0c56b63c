"""Proof that an accumulator cannot wrap.

For every output channel the largest magnitude of any partial sum, in any order, is at most
`sum |weight - zero| * max |input - zero| + |bias|`. It is computed exactly, in Python's integers.
"""

from __future__ import annotations

from typing import get_args

from mdcompiler.errors import UnsupportedError
from mdcompiler.known import unknown
from mdcompiler.names import block_of
from mdcompiler.quantization.affine import bounds
from mdcompiler.quantization.split import Operation
from mdcompiler.quantization.steps import Port, Step

INT32_LIMIT = 2**31
WIDE_LIMIT = 2**47
"""What 16-bit activations may add up to: int64 accumulators whose rescaling (TFLite's) takes 48 bits."""


def reach(port: Port) -> int:
    """The largest |integer - zero point| that `port` can hold."""
    least, most = bounds(port.dtype)
    return max(port.zero_point - least, most - port.zero_point)


def accumulator_bound(step: Step) -> int:
    """The largest magnitude that any partial sum of `step` can have; 0 for operations without an accumulator."""
    if step.operation == "conv":
        assert step.weights is not None, "read_steps gives every conv its weights"
        rows = abs(step.weights.centred).reshape(len(step.weights.bias), -1).sum(axis=1)
        most = reach(step.inputs[0])
        return max(int(row) * most + abs(int(bias)) for row, bias in zip(rows, step.weights.bias, strict=True))
    if step.operation == "pool":
        _, _, height, width = step.inputs[0].shape
        return height * width * reach(step.inputs[0])
    if step.operation == "product":
        return reach(step.inputs[0]) * reach(step.inputs[1])
    if step.operation in ("add", "table", "concat", "move", "requantize"):
        return 0
    raise unknown(step.operation, f"the operation of {step.name}", get_args(Operation))


def check_no_wrap(step: Step) -> int:
    """The bound of `step`. Raises UnsupportedError naming its block when the accumulator may not hold it."""
    bound = accumulator_bound(step)
    limit = WIDE_LIMIT if step.wide else INT32_LIMIT
    if bound >= limit:
        raise UnsupportedError(
            f"integer arithmetic in {block_of(step.name)}: {step.name} may add up to {bound}; its accumulator holds "
            f"less than {limit}. Choose precision float for this block."
        )
    return bound
