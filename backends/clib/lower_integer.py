"""From quantized kernels to calls of the int8 templates.

A convolution takes what follows it in its kernel into its own call: a table, a residual, and for a head
the way to interleaved rows. All other operations are calls of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.program import Call, FunctionSource, Program, View
from mdcompiler.backends.kernels import channelwise
from mdcompiler.backends.kernels.choose_tile import choose_convolution_tile, choose_window_pixels
from mdcompiler.backends.kernels.depthwise import tasks as window_tasks
from mdcompiler.backends.kernels.integer_convolution import QUAD, IntegerConvolution
from mdcompiler.backends.kernels.integer_depthwise import IntegerWindow
from mdcompiler.backends.kernels.pack_weights import (
    blocked_channels,
    pack_bias,
    pack_integer_convolution,
    start_table,
    weight_parts,
)
from mdcompiler.backends.kernels.read_kernel import read_geometry
from mdcompiler.backends.kernels.requantize import (
    ADD_BITS,
    FACTORS,
    HIGH,
    LOW,
    NUMBERS,
    OTHER_ZERO,
    OWN_ZERO,
    SUM_HIGH,
    SUM_LOW,
    SUM_ZERO,
    ZERO,
    Ending,
    Rounding,
)
from mdcompiler.backends.kernels.sources import ChannelwiseSource, IntegerConvolutionSource, IntegerWindowSource
from mdcompiler.errors import InternalError
from mdcompiler.kernel import LAYOUT, Kernel
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.fixed_point import fixed_point
from mdcompiler.quantization.rounding import conv_multiplier, rescale_part
from mdcompiler.quantization.steps import Port, Step, Weights, read_steps
from mdcompiler.target import Target

Array = NDArray[Any]


@dataclass
class Chain:
    """A convolution and the steps that its call does as well; output: the tensor it writes."""

    conv: Step
    table: Step | None = None
    add: Step | None = None
    output: Port = field(init=False)

    def __post_init__(self) -> None:
        self.output = (self.add or self.table or self.conv).output

    @property
    def before_add(self) -> Port:
        return (self.table or self.conv).output

    @property
    def residual(self) -> Port | None:
        """The other operand of the sum."""
        if self.add is None:
            return None
        return next(tensor for tensor in self.add.inputs if tensor.name != self.before_add.name)


class IntegerLowering:
    """Adds the calls of quantized kernels to a program."""

    def __init__(self, program: Program, target: Target, rounding: Rounding) -> None:
        self.program, self.target, self.rounding = program, target, rounding
        self.lanes = target.lanes

    def kernel(self, kernel: Kernel) -> None:
        """Add the calls of one kernel that `select.why_not` accepted."""
        steps = list(read_steps(kernel))
        if kernel.kind in ("stem", "head"):
            self._ends(kernel, steps)
            return
        while steps:
            steps = self._first(kernel, steps)

    def quantize(self, kernel: Kernel) -> None:
        """A kernel of kind quantize or dequantize."""
        node = kernel.nodes[0]
        to_bytes = node.op == "QuantizeLinear"
        tensor = kernel.outputs[0]
        elements = self._size_of(kernel, tensor)
        zero = int(np.asarray(node.inputs[2].values).reshape(())) if len(node.inputs) > 2 else 0
        numbers = np.zeros(NUMBERS, np.int32)
        numbers[[ZERO, LOW, HIGH, OWN_ZERO]] = zero, 0, 255, zero
        reads = (
            node.inputs[0].name,
            self._constant(kernel, "scale", np.asarray(node.inputs[1].values, np.float32).reshape(1)),
            self._constant(kernel, "numbers", numbers),
        )
        template = "quantize" if to_bytes else "dequantize"
        tasks = channelwise.flat_tasks(elements)
        self._call(kernel, ChannelwiseSource(template, (elements, self.lanes)), reads, tensor.name, tasks)

    def _first(self, kernel: Kernel, steps: list[Step]) -> list[Step]:
        """Lower the first operation; what is left."""
        step = steps[0]
        if step.operation == "conv":
            chain, rest = take_chain(steps, may_add=kernel.kind != "depthwise")
            self._convolution(kernel, chain, "depthwise" if kernel.kind == "depthwise" else "")
            return rest
        operations = {
            "table": self._table,
            "add": self._add,
            "pool": self._pool,
            "product": self._product,
            "move": self._move,
            "concat": self._concat,
        }
        operations[step.operation](kernel, step)
        return steps[1:]

    def _ends(self, kernel: Kernel, steps: list[Step]) -> None:
        """The picture's convolution, whose bytes lie interleaved, or a head's, which writes rows."""
        first = next(index for index, step in enumerate(steps) if step.operation == "conv")
        chain, moves = take_chain(steps[first:], may_add=False)
        if moves:
            chain.output = moves[-1].output
        self._convolution(kernel, chain, kernel.kind, steps[0].inputs[0].name)

    def _convolution(self, kernel: Kernel, chain: Chain, kind: str, image: str = "") -> None:
        constants = weights_of(chain.conv)
        weight, weight_scale = constants.centred.astype(np.int16), np.array(constants.quantization.scale)
        geometry = read_geometry(node_of(chain.conv))
        source = chain.conv.inputs[0]
        ending = Ending(self.rounding, chain.table is not None, chain.add is not None, self._has("avx512vbmi"))
        start = start_table(weight, constants.bias, source.zero_point, geometry, self.lanes)
        function: FunctionSource
        if kind == "depthwise":
            window = IntegerWindow(geometry, len(weight), self.lanes, ending)
            function = IntegerWindowSource(window, choose_window_pixels(geometry, self.target))
            packed, tasks = blocked_channels(weight[:, 0].astype(np.float32), self.lanes), window_tasks(window)
        else:
            work = IntegerConvolution(
                geometry,
                weight.shape[1],
                len(weight),
                self.lanes,
                ending=ending,
                source="interleaved" if kind == "stem" else "blocked",
                target="interleaved" if kind == "head" else "blocked",
                dot_product=self._has("avx512_vnni"),
                parts=weight_parts(weight),
            )
            tile = choose_convolution_tile(work, self.target)
            function = IntegerConvolutionSource(work, tile)
            packed, tasks = pack_integer_convolution(weight, work, tile.groups), tile.tasks(geometry, work.out_blocks)
        name = self._with_slack(kernel, image, geometry.pixels * weight.shape[1]) if kind == "stem" else source.name
        role = chain.conv.name
        reads = (
            name,
            self._constant(kernel, f"{role}/weight", packed),
            self._constant(kernel, f"{role}/start", start),
            *self._ending(kernel, chain, conv_multiplier_of(chain, weight_scale, len(weight), self.rounding)),
        )
        self._declare(chain.output, len(weight) * geometry.out_pixels, len(weight))
        self._call(kernel, function, reads, chain.output.name, tasks)

    def _has(self, flag: str) -> bool:
        return flag in self.target.cpu_flags

    def _with_slack(self, kernel: Kernel, image: str, size: int) -> str:
        """A copy of the picture with room behind it: its last pixel is read by fours."""
        copy = self.program.buffer(f"{kernel.name}:image", size + QUAD)
        self.program.steps.append(Call(kernel.name, f"mdc_copy({{1}}, {{0}}, {size})", (image,), (copy,)))
        return copy

    def _ending(self, kernel: Kernel, chain: Chain, multiplier: Array) -> tuple[str, ...]:
        """The parameters of the requantizer, in the order of `requantize.Requantizer`."""
        role = chain.conv.name
        numbers = np.zeros(NUMBERS, np.int32)
        numbers[[ZERO, LOW, HIGH]] = chain.conv.output.zero_point, chain.conv.low, chain.conv.high
        names = list(self._multiplier(kernel, role, multiplier))
        extra: list[str] = []
        if chain.add is not None and chain.residual is not None:
            extra.append(self._factors(kernel, role, chain.add, (chain.before_add, chain.residual), numbers))
        if chain.table is not None:
            extra.append(self._table_of(kernel, chain.table))
        if chain.residual is not None:
            extra.append(chain.residual.name)
        return (*names, self._constant(kernel, f"{role}/numbers", numbers), *extra)

    def _multiplier(self, kernel: Kernel, role: str, multiplier: Array) -> tuple[str, ...]:
        """Float factors, or 31-bit multipliers and shifts."""
        if self.rounding == "float-half-even":
            return (self._constant(kernel, f"{role}/multiplier", pack_bias(multiplier.astype(np.float32), self.lanes)),)
        factor = fixed_point(multiplier)
        return tuple(
            self._constant(kernel, f"{role}/{part}", pack_bias(values.astype(np.int32), self.lanes))
            for part, values in (("multiplier", factor.multiplier), ("shift", factor.shift))
        )

    def _factors(
        self,
        kernel: Kernel,
        role: str,
        step: Step,
        operands: tuple[Port, Port],
        numbers: Array,
    ) -> str:
        """Fill in what a sum needs in `numbers`; the name of its two float factors."""
        own, other = operands
        result = step.output
        numbers[[SUM_ZERO, SUM_LOW, SUM_HIGH]] = result.zero_point, step.low, step.high
        numbers[[OWN_ZERO, OTHER_ZERO]] = own.zero_point, other.zero_point
        twice = 2.0 * max(own.scale, other.scale)
        reals = (own.scale / twice, other.scale / twice, twice / (2.0**ADD_BITS * result.scale))
        for place, real in enumerate(reals):
            factor = fixed_point(real)
            numbers[FACTORS + 2 * place : FACTORS + 2 * place + 2] = int(factor.multiplier), int(factor.shift)
        factors = np.array([own.scale / result.scale, other.scale / result.scale], np.float32)
        return self._constant(kernel, f"{role}/factors", factors)

    def _table_of(self, kernel: Kernel, step: Step) -> str:
        assert step.activation is not None
        values = table(step.activation, step.inputs[0].quantization, step.output.quantization)
        return self._constant(kernel, f"{step.name}/table", values)

    def _table(self, kernel: Kernel, step: Step) -> None:
        size = self._size_of(kernel, node_of(step).outputs[0])
        reads = (step.inputs[0].name, self._table_of(kernel, step))
        source = ChannelwiseSource("table", (size,))
        self._declare_like(kernel, step)
        self._call(kernel, source, reads, step.output.name, channelwise.flat_tasks(size), in_place=True)

    def _add(self, kernel: Kernel, step: Step) -> None:
        left, right = step.inputs
        numbers = np.zeros(NUMBERS, np.int32)
        factors = self._factors(kernel, step.name, step, (left, right), numbers)
        reads = (left.name, right.name, self._constant(kernel, f"{step.name}/numbers", numbers), factors)
        size = self._size_of(kernel, node_of(step).outputs[0])
        source = ChannelwiseSource("add_int8", (size, self.lanes, self.rounding))
        self._declare_like(kernel, step)
        self._call(kernel, source, reads, step.output.name, channelwise.flat_tasks(size), in_place=True)

    def _pool(self, kernel: Kernel, step: Step) -> None:
        source, result = step.inputs[0], step.output
        _, channels, height, width = node_of(step).inputs[0].shape
        pixels, blocks = int(height * width), -(-int(channels) // self.lanes)
        multiplier = np.array([source.scale / (pixels * result.scale)])
        numbers = self._numbers(kernel, step, source.zero_point)
        reads = (source.name, *self._pair(kernel, step, multiplier), numbers)
        self._declare(result, int(channels), int(channels))
        function = ChannelwiseSource("mean_int8", (blocks, pixels, self.lanes, self.rounding))
        self._call(kernel, function, reads, result.name, blocks)

    def _product(self, kernel: Kernel, step: Step) -> None:
        own, other = step.inputs
        shapes = [tuple(tensor.shape) for tensor in node_of(step).inputs]
        if shapes[0][2:] == (1, 1) and shapes[1][2:] != (1, 1):
            own, other, shapes = other, own, shapes[::-1]
        _, channels, height, width = shapes[0]
        blocks, pixels = -(-channels // self.lanes), height * width
        multiplier = np.array([own.scale * other.scale / step.output.scale])
        numbers = self._numbers(kernel, step, own.zero_point, other.zero_point)
        reads = (own.name, other.name, *self._pair(kernel, step, multiplier), numbers)
        self._declare(step.output, channels * pixels, channels)
        function = ChannelwiseSource("gate_int8", (blocks, pixels, self.lanes, self.rounding))
        self._call(kernel, function, reads, step.output.name, blocks, in_place=True)

    def _numbers(self, kernel: Kernel, step: Step, own_zero: int, other_zero: int = 0) -> str:
        numbers = np.zeros(NUMBERS, np.int32)
        numbers[[ZERO, LOW, HIGH]] = step.output.zero_point, step.low, step.high
        numbers[[OWN_ZERO, OTHER_ZERO]] = own_zero, other_zero
        return self._constant(kernel, f"{step.name}/numbers", numbers)

    def _pair(self, kernel: Kernel, step: Step, multiplier: Array) -> tuple[str, str]:
        """Multiplier and shift of an operation that has one of each, whatever the rounding."""
        names = self._multiplier(kernel, step.name, multiplier)
        return (names[0], names[-1])

    def _move(self, kernel: Kernel, step: Step) -> None:
        size = int(np.prod(node_of(step).outputs[0].shape))
        self.program.steps.append(View(kernel.name, step.output.name, step.inputs[0].name, 0, size, part_is_new=True))

    def _concat(self, kernel: Kernel, step: Step) -> None:
        offset = 0
        for number, port in enumerate(step.inputs):
            size = int(np.prod(port.shape))
            name = self._in_scale_of(kernel, step, port, number)
            view = View(kernel.name, name, step.output.name, offset, size, part_is_new=False)
            self.program.steps.append(view)
            offset += size

    def _in_scale_of(self, kernel: Kernel, step: Step, port: Port, number: int) -> str:
        """A part of a concatenation in the scale of the whole: a table where it has another."""
        if port.quantization == step.output.quantization:
            return port.name
        size = int(np.prod(port.shape))
        role = f"{step.name}/part{number}"
        values = part_table(port, step, self.rounding)
        made = self.program.buffer(f"{kernel.name}:{role}", size)
        reads = (port.name, self._constant(kernel, f"{role}/table", values))
        self._call(
            kernel, ChannelwiseSource("table", (size,)), reads, made, channelwise.flat_tasks(size), in_place=True
        )
        return made

    def _size_of(self, kernel: Kernel, tensor: gs.Tensor) -> int:
        """Elements of a tensor of the shape of `tensor` in the kernel's layout."""
        shape = [int(extent) for extent in tensor.shape]
        if kernel.nodes[0].attrs.get(LAYOUT):
            shape[1] = -(-shape[1] // self.lanes) * self.lanes
        return int(np.prod(shape))

    def _declare_like(self, kernel: Kernel, step: Step) -> None:
        if step.output.name not in self.program.sizes and step.output.name not in self.program.outputs:
            self.program.buffer(step.output.name, self._size_of(kernel, node_of(step).outputs[0]))

    def _declare(self, tensor: Port, elements: int, channels: int) -> None:
        """Memory of a result inside a kernel; results of kernels have theirs already."""
        if tensor.name not in self.program.sizes and tensor.name not in self.program.outputs:
            blocks = -(-channels // self.lanes)
            self.program.buffer(tensor.name, elements // channels * blocks * self.lanes)

    def _constant(self, kernel: Kernel, role: str, values: Array) -> str:
        return self.program.constant(f"{kernel.name}:{role}", values)

    def _call(
        self,
        kernel: Kernel,
        source: FunctionSource,
        reads: tuple[str, ...],
        target: str,
        tasks: int,
        in_place: bool = False,
    ) -> None:
        self.program.call(kernel.name, source, reads, (target,), tasks, in_place)


def part_table(port: Port, step: Step, rounding: Rounding) -> Array:
    """All 256 values of a part of a concatenation in the scale of its result."""
    scaled = rescale_part(np.arange(256), port.zero_point, (port.scale, step.output.scale), rounding)
    return np.clip(scaled + step.output.zero_point, step.low, step.high).astype(np.uint8)


def node_of(step: Step) -> gs.Node:
    """The operator of a step that has one: all but a bare change of scale, which has no template."""
    if step.node is None:
        raise InternalError(f"{step.name} is a change of scale by itself.")
    return step.node


def weights_of(step: Step) -> Weights:
    """The constants of a convolution."""
    if step.weights is None:
        raise InternalError(f"{step.name} is no convolution.")
    return step.weights


def take_chain(steps: list[Step], may_add: bool) -> tuple[Chain, list[Step]]:
    """The convolution at the start of `steps` with the table and sum that follow it, and what is left."""
    conv, rest = steps[0], steps[1:]
    after_table = after_add = None
    made = conv.output.name
    if rest and rest[0].operation == "table" and rest[0].inputs[0].name == made:
        after_table, rest = rest[0], rest[1:]
        made = after_table.output.name
    if may_add and rest and rest[0].operation == "add" and made in [tensor.name for tensor in rest[0].inputs]:
        after_add, rest = rest[0], rest[1:]
    return Chain(conv, after_table, after_add), rest


def conv_multiplier_of(chain: Chain, weight_scale: Array, channels: int, rounding: Rounding) -> Array:
    """Sums to integers of the convolution's result, one factor a channel."""
    factor = conv_multiplier(chain.conv.inputs[0].scale, weight_scale, chain.conv.output.scale, rounding)
    return np.broadcast_to(factor, (channels,))
