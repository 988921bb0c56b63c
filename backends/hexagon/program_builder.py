"""What all lowerings to HVX share: buffers, constants and calls of one program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backends.clib.integer_chain import node_of
from mdcompiler.backends.clib.program import FunctionSource, Program
from mdcompiler.backends.hexagon import ending as end
from mdcompiler.backends.hexagon.ending import Sum
from mdcompiler.backends.hexagon.instructions import LANES
from mdcompiler.backends.hexagon.pack import Array, factor_parts, table_order
from mdcompiler.kernel import LAYOUT, Kernel
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.steps import Port, Step

ROUNDING: Final = "fixed-point-single"
"""What `ending` computes: networks quantized for any other rounding are refused."""


@dataclass(frozen=True)
class Builder:
    """Adds to `program`."""

    program: Program

    def buffer(self, name: str, size_bytes: int) -> str:
        """Memory for a result; what a kernel of the graph makes has its own already."""
        if name not in self.program.sizes and name not in self.program.outputs:
            self.program.buffer(name, size_bytes)
        return name

    def constant(self, kernel: Kernel, role: str, values: Array) -> str:
        """A constant of one kernel."""
        return self.program.constant(f"{kernel.name}:{role}", values)

    def table(self, kernel: Kernel, step: Step) -> str:
        """The table of an activation, as `vlut32` wants it."""
        values = table(step, ROUNDING)
        return self.constant(kernel, f"{step.name}/table", table_order(values))

    def call(
        self,
        kernel: Kernel,
        function: FunctionSource,
        reads: tuple[str, ...],
        target: str,
        tasks: int = 1,
        in_place: bool = False,
    ) -> None:
        """One call over all its tasks."""
        self.program.call(kernel.name, function, reads, (target,), tasks, in_place)


def blocks_of(channels: int) -> int:
    """Blocks of 32 channels."""
    return -(-int(channels) // LANES)


def bytes_of(tensor: gs.Tensor, blocked: bool) -> int:
    """Bytes of a tensor, plain or with its channels in blocks."""
    shape = [int(extent) for extent in tensor.shape]
    if blocked:
        shape[1] = blocks_of(shape[1]) * LANES
    return int(np.prod(shape)) * int(np.dtype(tensor.dtype).itemsize)


def result_bytes(kernel: Kernel, step: Step) -> int:
    """Bytes of a step's result, of one byte an element, in the kernel's layout."""
    shape = [int(extent) for extent in node_of(step).outputs[0].shape]
    if kernel.nodes[0].attrs.get(LAYOUT):
        shape[1] = blocks_of(shape[1]) * LANES
    return int(np.prod(shape))


def numbers_of(step: Step) -> Array:
    """The buffer of numbers (`ending`) with the zero point and bounds of the result."""
    numbers = np.zeros(end.NUMBERS, np.int32)
    numbers[[end.TWICE_ZERO, end.LOW, end.HIGH]] = 2 * step.output.zero_point, step.low, step.high
    return numbers


def fill_sum(numbers: Array, step: Step, own: Port, other: Port) -> Sum:
    """Fill in what a sum needs in `numbers` (see `mdcompiler.quantization.rounding.rescale_sum`)."""
    result = step.output
    numbers[[end.TWICE_SUM_ZERO, end.SUM_LOW, end.SUM_HIGH]] = 2 * result.zero_point, step.low, step.high
    numbers[[end.OWN_ZERO, end.OTHER_ZERO]] = own.zero_point, other.zero_point
    twice = 2.0 * max(own.scale, other.scale)
    reals = (own.scale / twice, other.scale / twice, twice / (2.0**end.ADD_BITS * result.scale))
    for place, real in enumerate(reals):
        numbers[end.FACTORS + 2 * place : end.FACTORS + 2 * place + 2] = factor_parts(real)[:2]
    return Sum(own_is_half=reals[0] == 0.5, other_is_half=reals[1] == 0.5)
