"""Integer operations of a quantized graph that are no convolutions, as calls."""

from __future__ import annotations

import numpy as np

from mdcompiler.backends.clib.integer_chain import node_of, part_table
from mdcompiler.backends.clib.program import View
from mdcompiler.backends.hexagon import ending as end
from mdcompiler.backends.hexagon.instructions import LANES
from mdcompiler.backends.hexagon.pack import factor_parts, table_order
from mdcompiler.backends.hexagon.program_builder import ROUNDING, Builder, blocks_of, fill_sum, numbers_of, result_bytes
from mdcompiler.backends.hexagon.sources import HvxSimpleSource
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.steps import Port, Step


class StepLowering:
    """Adds single operations to a program."""

    def __init__(self, build: Builder) -> None:
        self.build = build

    def table(self, kernel: Kernel, step: Step) -> None:
        """An activation by itself."""
        size = result_bytes(kernel, step)
        target = self.build.buffer(step.output.name, size)
        reads = (step.inputs[0].name, self.build.table(kernel, step))
        self.build.call(kernel, HvxSimpleSource("table", (size,)), reads, target, in_place=True)

    def add(self, kernel: Kernel, step: Step) -> None:
        """A sum by itself: those after a convolution are part of its call."""
        left, right = step.inputs
        numbers = np.zeros(end.NUMBERS, np.int32)
        add = fill_sum(numbers, step, left, right)
        size = result_bytes(kernel, step)
        target = self.build.buffer(step.output.name, size)
        reads = (left.name, right.name, self.build.constant(kernel, f"{step.name}/numbers", numbers))
        self.build.call(kernel, HvxSimpleSource("add", (size, add)), reads, target, in_place=True)

    def pool(self, kernel: Kernel, step: Step) -> None:
        """A global mean."""
        _, channels, height, width = (int(extent) for extent in node_of(step).inputs[0].shape)
        blocks, pixels = blocks_of(channels), height * width
        real = step.inputs[0].scale / (pixels * step.output.scale)
        target = self.build.buffer(step.output.name, blocks * LANES)
        reads = (step.inputs[0].name, *self._factor(kernel, step, real, step.inputs[0]))
        self.build.call(kernel, HvxSimpleSource("mean", (blocks, pixels)), reads, target, blocks)

    def product(self, kernel: Kernel, step: Step) -> None:
        """A gate: one factor for each channel."""
        own, other = step.inputs
        shapes = [tuple(map(int, tensor.shape)) for tensor in node_of(step).inputs]
        if shapes[0][2:] == (1, 1) and shapes[1][2:] != (1, 1):
            own, other, shapes = other, own, shapes[::-1]
        _, channels, height, width = shapes[0]
        blocks, pixels = blocks_of(channels), height * width
        target = self.build.buffer(step.output.name, blocks * LANES * pixels)
        factor = self._factor(kernel, step, own.scale * other.scale / step.output.scale, own, other)
        reads = (own.name, other.name, *factor)
        self.build.call(kernel, HvxSimpleSource("gate", (blocks, pixels)), reads, target, blocks, in_place=True)

    def _factor(self, kernel: Kernel, step: Step, real: float, *operands: Port) -> tuple[str, str]:
        """One multiplier with its shift, and the numbers of an operation on `operands`."""
        numbers = numbers_of(step)
        for place, port in zip((end.OWN_ZERO, end.OTHER_ZERO), operands, strict=False):
            numbers[place] = port.zero_point
        return (
            self.build.constant(kernel, f"{step.name}/factor", factor_parts(real)),
            self.build.constant(kernel, f"{step.name}/numbers", numbers),
        )

    def move(self, kernel: Kernel, step: Step) -> None:
        """The same bytes in another shape."""
        size = int(np.prod(node_of(step).outputs[0].shape))
        self.build.program.steps.append(
            View(kernel.name, step.output.name, step.inputs[0].name, 0, size, part_is_new=True)
        )

    def concat(self, kernel: Kernel, step: Step) -> None:
        """Parts side by side, each in the scale of the whole."""
        offset = 0
        for number, port in enumerate(step.inputs):
            size = int(np.prod(port.shape))
            name = self._in_scale_of(kernel, step, port, number)
            self.build.program.steps.append(View(kernel.name, name, step.output.name, offset, size, part_is_new=False))
            offset += size

    def _in_scale_of(self, kernel: Kernel, step: Step, port: Port, number: int) -> str:
        """A part of a concatenation in the scale of the whole: a table where it has another."""
        if port.quantization == step.output.quantization:
            return port.name
        size, role = int(np.prod(port.shape)), f"{step.name}/part{number}"
        made = self.build.program.buffer(f"{kernel.name}:{role}", size)
        values = self.build.constant(kernel, f"{role}/table", table_order(part_table(port, step, ROUNDING)))
        self.build.call(kernel, HvxSimpleSource("table", (size,)), (port.name, values), made, in_place=True)
        return made
