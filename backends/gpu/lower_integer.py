"""From quantized kernels to launches of the integer templates.

A convolution takes what follows it in its kernel into its own call: a table, a residual; a head also everything up to
where its numbers end (`integer_heads`). All other operations are calls of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.integer_chain import node_of, part_table, take_chain
from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.integer_builder import IntegerBuilder
from mdcompiler.backends.gpu.integer_heads import find_landings
from mdcompiler.backends.gpu.integer_limits import ROUNDING
from mdcompiler.backends.gpu.integer_pack import fill_factor, fill_sum, numbers_of, words
from mdcompiler.backends.gpu.integer_sources import IntegerSimpleSource
from mdcompiler.backends.gpu.lower_integer_convolution import IntegerConvolutionLowering
from mdcompiler.backends.gpu.program_builder import Builder
from mdcompiler.kernel import LAYOUT, Kernel
from mdcompiler.known import known
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.steps import Port, Step, affine, is_integer, port, read_steps

Array = NDArray[Any]


class IntegerLowering:
    """Adds the launches of quantized kernels to a program, after `integer_limits.check_bytes` accepted them."""

    def __init__(self, build: Builder, graph: gs.Graph) -> None:
        self.build = IntegerBuilder(build)
        self.convolutions = IntegerConvolutionLowering(self.build)
        self.landings = find_landings(graph)
        self.passed = {name for landing in self.landings.values() for name in landing.path}
        self._operations: dict[str, Callable[[Kernel, Step], None]] = {
            "table": self._table,
            "add": self._add,
            "pool": self._pool,
            "product": self._product,
            "move": self._move,
            "concat": self._concat,
        }

    def takes(self, kernel: Kernel) -> bool:
        """Whether `kernel` reads or makes bytes, so that `lower` is to be called for it."""
        if is_integer(kernel) or kernel.name in self.passed or kernel.kind in ("quantize", "dequantize"):
            return True
        return kernel.kind == "layout" and np.dtype(kernel.outputs[0].dtype) == np.uint8

    def lower(self, kernel: Kernel) -> None:
        """Add the calls of one kernel; its results are declared here."""
        if kernel.name in self.passed:
            return
        if kernel.kind == "layout":
            self._change_layout(kernel)
        elif not is_integer(kernel):
            (self._quantize if kernel.nodes[0].op == "QuantizeLinear" else self._dequantize)(kernel)
        elif kernel.kind in ("stem", "head"):
            self._ends(kernel, list(read_steps(kernel)))
        else:
            steps = list(read_steps(kernel))
            while steps:
                steps = self._first(kernel, steps)

    def _first(self, kernel: Kernel, steps: list[Step]) -> list[Step]:
        """Lower the first operation; what is left."""
        if steps[0].operation != "conv":
            known(self._operations, steps[0].operation, f"the operation of {steps[0].name}")(kernel, steps[0])
            return steps[1:]
        chain, rest = take_chain(steps, may_add=kernel.kind != "depthwise")
        if kernel.kind == "depthwise":
            self.convolutions.depthwise(kernel, chain)
        else:
            self.convolutions.convolution(kernel, chain)
        return rest

    def _ends(self, kernel: Kernel, steps: list[Step]) -> None:
        """The picture's convolution, whose bytes lie interleaved, or a head's, which writes elements."""
        first = next(index for index, step in enumerate(steps) if step.operation == "conv")
        chain, _ = take_chain(steps[first:], may_add=False)
        if kernel.kind == "stem":
            self.convolutions.picture(kernel, chain, steps[0].inputs[0].name)
        else:
            self.convolutions.head(kernel, chain, self.landings[kernel.name])

    def _table(self, kernel: Kernel, step: Step) -> None:
        entries = table(step, ROUNDING)
        size = self._words(kernel, node_of(step).outputs[0])
        self._through(kernel, step.name, entries, step.inputs[0].name, self.build.buffer(step.output.name, size), size)

    def _through(self, kernel: Kernel, role: str, entries: Array, source: str, target: str, size: int) -> None:
        """`size` words through a table of 256, in the kernel's layout."""
        if is_blocked(kernel):
            values = self.build.constant(kernel, f"{role}/table", words(entries.reshape(-1, LANES)))
            function = IntegerSimpleSource("table", (size,))
        else:
            values = self.build.constant(kernel, f"{role}/table", entries.astype(np.int32))
            function = IntegerSimpleSource("plain_table", (size, "int32"))
        self.build.call(kernel, function, (source, values), target)

    def _add(self, kernel: Kernel, step: Step) -> None:
        left, right = step.inputs
        numbers = numbers_of(step)
        add = fill_sum(numbers, step, left, right)
        size, lanes = self._words(kernel, node_of(step).outputs[0]), LANES if is_blocked(kernel) else 1
        target = self.build.buffer(step.output.name, size)
        function = IntegerSimpleSource("add", (size, lanes, add, self.build.dot))
        reads = (left.name, right.name, self.build.constant(kernel, f"{step.name}/numbers", numbers))
        self.build.call(kernel, function, reads, target)

    def _pool(self, kernel: Kernel, step: Step) -> None:
        _, channels, height, width = shape_of(node_of(step).inputs[0])
        pixels, blocks = height * width, -(-channels // LANES)
        factor = step.inputs[0].scale / (pixels * step.output.scale)
        numbers, raises = self._factor(kernel, step, factor, step.inputs[0])
        function = IntegerSimpleSource("mean", (blocks, pixels, raises, self.build.dot))
        self.build.call(kernel, function, (step.inputs[0].name, numbers), self.build.buffer(step.output.name, blocks))

    def _product(self, kernel: Kernel, step: Step) -> None:
        own, other = step.inputs
        shapes = [shape_of(tensor) for tensor in node_of(step).inputs]
        if shapes[0][2:] == (1, 1) and shapes[1][2:] != (1, 1):
            own, other, shapes = other, own, shapes[::-1]
        _, channels, height, width = shapes[0]
        blocks, pixels = -(-channels // LANES), height * width
        numbers, raises = self._factor(kernel, step, own.scale * other.scale / step.output.scale, own, other)
        function = IntegerSimpleSource("gate", (blocks, pixels, raises, self.build.dot))
        target = self.build.buffer(step.output.name, blocks * pixels)
        self.build.call(kernel, function, (own.name, other.name, numbers), target)

    def _factor(self, kernel: Kernel, step: Step, real: float, *operands: Port) -> tuple[str, bool]:
        """The numbers of an operation with one factor, and whether that raises."""
        numbers = numbers_of(step, *(operand.zero_point for operand in operands))
        _, _, left = fill_factor(numbers, 0, real)
        return self.build.constant(kernel, f"{step.name}/numbers", numbers), left > 0

    def _move(self, kernel: Kernel, step: Step) -> None:
        """The same numbers in another shape."""
        base = self.build.base
        base.names[step.output.name] = base.name(step.inputs[0].name)

    def _concat(self, kernel: Kernel, step: Step) -> None:
        """Parts side by side, each in the scale of the whole: copied, because buffers start at whole alignments."""
        whole, offset = int(np.prod(shape_of(node_of(step).outputs[0]))), 0
        target = self.build.buffer(step.output.name, whole)
        for number, part in enumerate(step.inputs):
            size = int(np.prod(part.shape))
            name = self._in_scale_of(kernel, step, part, number)
            self.build.call(kernel, IntegerSimpleSource("copy", (size, offset, whole)), (name,), target)
            offset += size

    def _in_scale_of(self, kernel: Kernel, step: Step, part: Port, number: int) -> str:
        """A part of a concatenation in the scale of the whole: a table where it has another."""
        if part.quantization == step.output.quantization:
            return part.name
        role, size = f"{step.name}/part{number}", int(np.prod(part.shape))
        made = self.build.buffer(f"{kernel.name}:{role}", size)
        self._through(kernel, role, part_table(part, step, ROUNDING), part.name, made, size)
        return made

    def _quantize(self, kernel: Kernel) -> None:
        node, tensor = kernel.nodes[0], kernel.outputs[0]
        size, output = self._words(kernel, tensor), port(node, tensor)
        numbers = self.build.constant(kernel, "numbers", numbers_of(Step("requantize", "", (), output, 0, 255)))
        scale = self.build.constant(kernel, "scale", np.asarray(node.inputs[1].values, np.float32).reshape(1))
        template, element = (
            ("quantize", self.build.traits.element) if is_blocked(kernel) else ("plain_quantize", "float32")
        )
        reads = (node.inputs[0].name, scale, numbers)
        self.build.call(
            kernel, IntegerSimpleSource(template, (size, element)), reads, self.build.buffer(tensor.name, size)
        )

    def _dequantize(self, kernel: Kernel) -> None:
        node, tensor = kernel.nodes[0], kernel.outputs[0]
        scale, zero = np.asarray(node.inputs[1].values, np.float32).reshape(()), affine(node).zero_point[0]
        floats = (np.arange(256) - zero).astype(np.float32) * scale
        values, size = self.build.constant(kernel, "floats", floats), self._words(kernel, tensor)
        if is_blocked(kernel):
            function = IntegerSimpleSource("dequantize", (size, self.build.traits.element))
            target = self.build.buffer(tensor.name, size * LANES * self.build.traits.element_bytes // 4)
        else:
            function, target = IntegerSimpleSource("plain_table", (size, "float32")), tensor.name
            self.build.buffer(target, size)
        self.build.call(kernel, function, (node.inputs[0].name, values), target)

    def _change_layout(self, kernel: Kernel) -> None:
        """Between [C/4][P] words and [C][P] elements."""
        source, target = kernel.nodes[0].inputs[0], kernel.outputs[0]
        _, channels, *rest = shape_of(target)
        function = IntegerSimpleSource("pack" if kernel.layout else "unpack", (channels, int(np.prod(rest))))
        self.build.buffer(target.name, self._words(kernel, target))
        self.build.call(kernel, function, (source.name,), target.name)

    def _words(self, kernel: Kernel, tensor: gs.Tensor) -> int:
        """Words of a tensor of bytes of the shape of `tensor`: one holds four channels, or one element if plain."""
        shape = list(shape_of(tensor))
        if is_blocked(kernel):
            shape[1] = -(-shape[1] // LANES)
        return int(np.prod(shape))


def is_blocked(kernel: Kernel) -> bool:
    """Whether channels lie in words of four; otherwise each element is an int32."""
    return bool(kernel.layout or kernel.nodes[0].attrs.get(LAYOUT))


def shape_of(tensor: gs.Tensor) -> tuple[int, ...]:
    """The shape as Python ints."""
    return tuple(int(extent) for extent in tensor.shape)
