"""From quantized kernels to calls of the int8 templates.

A convolution takes what follows it in its kernel into its own call: a table, a residual, and for a head
the way to interleaved rows. All other operations are calls of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.integer_chain import (
    Chain,
    conv_multiplier_of,
    node_of,
    part_table,
    take_chain,
    weights_of,
)
from mdcompiler.backends.clib.integer_parameters import IntegerParameters
from mdcompiler.backends.clib.program import Call, FunctionSource, Program, View
from mdcompiler.backends.kernels import channelwise
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.dot_product import DotName, choose_dot, choose_product, dot_of
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution
from mdcompiler.backends.kernels.integer_window import IntegerWindow, fits_quads
from mdcompiler.backends.kernels.pack_weights import (
    pack_integer_convolution,
    pack_integer_window,
    start_table,
    weight_parts,
)
from mdcompiler.backends.kernels.read_kernel import read_geometry
from mdcompiler.backends.kernels.requantize import (
    HIGH,
    LOW,
    NUMBERS,
    OWN_ZERO,
    ZERO,
    Ending,
    Rounding,
)
from mdcompiler.backends.kernels.saturate import choose_processor
from mdcompiler.backends.kernels.sources import ChannelwiseSource, IntegerConvolutionSource, IntegerWindowSource
from mdcompiler.kernel import LAYOUT, Kernel
from mdcompiler.known import known
from mdcompiler.quantization.steps import Port, Step, read_steps

Array = NDArray[Any]


class IntegerLowering:
    """Adds the calls of quantized kernels to a program."""

    def __init__(self, program: Program, rounding: Rounding, chooser: Chooser) -> None:
        self.program, self.rounding, self.chooser, self.target = program, rounding, chooser, chooser.target
        self.lanes = self.target.lanes
        self.dot = choose_dot(self.target)
        self.processor = choose_processor(self.target)
        self.parameters = IntegerParameters(program, self.lanes, rounding)

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
            self.parameters.constant(kernel, "scale", np.asarray(node.inputs[1].values, np.float32).reshape(1)),
            self.parameters.constant(kernel, "numbers", numbers),
        )
        source = (
            ChannelwiseSource("quantize", (elements, self.lanes))
            if to_bytes
            else ChannelwiseSource("dequantize", (elements, self.lanes, self.processor))
        )
        self._call(kernel, source, reads, tensor.name, channelwise.flat_tasks(elements))

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
        known(operations, step.operation, f"the operation of {step.name}")(kernel, step)
        return steps[1:]

    def _ends(self, kernel: Kernel, steps: list[Step]) -> None:
        """The picture's convolution, whose bytes lie interleaved, or a head's, which writes rows."""
        first = next(index for index, step in enumerate(steps) if step.operation == "conv")
        chain, moves = take_chain(steps[first:], may_add=False)
        if moves:
            chain.output = moves[-1].output
        self._convolution(kernel, chain, kernel.kind, steps[0].inputs[0].name)

    def _convolution(self, kernel: Kernel, chain: Chain, kind: str, image: str = "") -> None:
        constants, role = weights_of(chain.conv), chain.conv.name
        weight, source = constants.centred.astype(np.int16), chain.conv.inputs[0]
        geometry = read_geometry(node_of(chain.conv))
        zero_point = source.zero_point - self._taken(kind, weight, geometry)
        start = start_table(weight, constants.bias, zero_point, geometry, self.lanes)
        write = self._window if kind == "depthwise" else self._tiled
        function, packed = write(kernel, chain, weight, kind)
        size = geometry.pixels * weight.shape[1]
        name = self._with_slack(kernel, image, size, function) if kind == "stem" else source.name
        scale = np.array(constants.quantization.scale)
        reads = (
            name,
            self.parameters.constant(kernel, f"{role}/weight", packed),
            self.parameters.constant(kernel, f"{role}/start", start),
            *self.parameters.ending(kernel, chain, conv_multiplier_of(chain, scale, len(weight), self.rounding)),
        )
        self._declare(chain.output, len(weight) * geometry.out_pixels, len(weight))
        self._call(kernel, function, reads, chain.output.name, function.tasks)

    def _window(self, kernel: Kernel, chain: Chain, weight: Array, kind: str) -> tuple[IntegerWindowSource, Array]:
        """The function of a depthwise convolution and its weights."""
        geometry = read_geometry(node_of(chain.conv))
        fits = self._by_quads(weight, geometry)
        by_halves = self.processor == "neon" and not fits
        work = IntegerWindow(geometry, len(weight), self.lanes, self._ending_of(chain), fits, by_halves)
        source = IntegerWindowSource(work, self.chooser.choose(work, kernel.name).schedule.pixels)
        return source, pack_integer_window(weight[:, 0], work)

    def _tiled(self, kernel: Kernel, chain: Chain, weight: Array, kind: str) -> tuple[IntegerConvolutionSource, Array]:
        """The function of any other convolution and its weights. kind: stem, head or any other."""
        geometry = read_geometry(node_of(chain.conv))
        dot = self._dot_for(kind, geometry)
        work = IntegerConvolution(
            geometry,
            weight.shape[1],
            len(weight),
            self.lanes,
            ending=self._ending_of(chain),
            source="interleaved" if kind == "stem" else "blocked",
            target="interleaved" if kind == "head" else "blocked",
            dot=dot,
            parts=weight_parts(weight, dot),
        )
        tile = self.chooser.choose(work, kernel.name).schedule
        return IntegerConvolutionSource(work, tile), pack_integer_convolution(weight, work, tile.groups)

    def _by_quads(self, weight: Array, geometry: Geometry) -> bool:
        """Whether a depthwise convolution takes four taps at a time."""
        known = self.dot in ("vpdpbusd", "sdot")
        return known and weight_parts(weight, self.dot) == 1 and fits_quads(geometry)

    def _taken(self, kind: str, weight: Array, geometry: Geometry) -> int:
        """What a convolution takes from every byte of its input before it multiplies."""
        if kind == "depthwise":
            return dot_of(self.dot).taken if self._by_quads(weight, geometry) else 0
        return dot_of(self._dot_for(kind, geometry)).taken

    def _dot_for(self, kind: str, geometry: Geometry) -> DotName:
        """The instructions of a convolution's products. kind: as for `_tiled`."""
        return choose_product(self.target, by_blocks=kind != "stem" and geometry.out_pixels > 1)

    def _ending_of(self, chain: Chain) -> Ending:
        return Ending(
            self.rounding,
            chain.table is not None,
            chain.add is not None,
            self._has("avx512vbmi"),
            self.processor,
            (chain.conv.low, chain.conv.high) != (0, 255),
        )

    def _has(self, flag: str) -> bool:
        return flag in self.target.cpu_flags

    def _with_slack(self, kernel: Kernel, image: str, size: int, function: FunctionSource) -> str:
        """A copy of the picture with room behind it: its last pixel is read with bytes that follow."""
        assert isinstance(function, IntegerConvolutionSource)
        copy = self.program.buffer(f"{kernel.name}:image", size + function.work.slack)
        self.program.steps.append(Call(kernel.name, f"mdc_copy({{1}}, {{0}}, {size})", (image,), (copy,)))
        return copy

    def _table(self, kernel: Kernel, step: Step) -> None:
        size = self._size_of(kernel, node_of(step).outputs[0])
        reads = (step.inputs[0].name, self.parameters.table(kernel, step))
        source = ChannelwiseSource("table", (size, self._has("avx512vbmi"), self.processor))
        self._declare_like(kernel, step)
        self._call(kernel, source, reads, step.output.name, channelwise.flat_tasks(size), in_place=True)

    def _add(self, kernel: Kernel, step: Step) -> None:
        left, right = step.inputs
        numbers = np.zeros(NUMBERS, np.int32)
        factors = self.parameters.factors(kernel, step.name, step, (left, right), numbers)
        reads = (left.name, right.name, self.parameters.constant(kernel, f"{step.name}/numbers", numbers), factors)
        size = self._size_of(kernel, node_of(step).outputs[0])
        source = ChannelwiseSource("add_int8", (size, self.lanes, self.rounding))
        self._declare_like(kernel, step)
        self._call(kernel, source, reads, step.output.name, channelwise.flat_tasks(size), in_place=True)

    def _pool(self, kernel: Kernel, step: Step) -> None:
        source, result = step.inputs[0], step.output
        _, channels, height, width = node_of(step).inputs[0].shape
        pixels, blocks = int(height * width), -(-int(channels) // self.lanes)
        numbers = self.parameters.numbers(kernel, step, source.zero_point)
        reads = (source.name, *self.parameters.mean(kernel, step, pixels), numbers)
        self._declare(result, int(channels), int(channels))
        by_quads = self.dot == "vpdpbusd"
        arguments = (blocks, pixels, self.lanes, self.rounding, by_quads, self.processor)
        function = ChannelwiseSource("mean_int8", arguments)
        self._call(kernel, function, reads, result.name, blocks)

    def _product(self, kernel: Kernel, step: Step) -> None:
        own, other = step.inputs
        shapes = [tuple(tensor.shape) for tensor in node_of(step).inputs]
        if shapes[0][2:] == (1, 1) and shapes[1][2:] != (1, 1):
            own, other, shapes = other, own, shapes[::-1]
        _, channels, height, width = shapes[0]
        blocks, pixels = -(-channels // self.lanes), height * width
        multiplier = np.array([own.scale * other.scale / step.output.scale])
        numbers = self.parameters.numbers(kernel, step, own.zero_point, other.zero_point)
        reads = (own.name, other.name, *self.parameters.pair(kernel, step, multiplier), numbers)
        self._declare(step.output, channels * pixels, channels)
        function = ChannelwiseSource("gate_int8", (blocks, pixels, self.lanes, self.rounding, self.processor))
        self._call(kernel, function, reads, step.output.name, blocks, in_place=True)

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
        reads = (port.name, self.parameters.constant(kernel, f"{role}/table", values))
        self._call(
            kernel,
            ChannelwiseSource("table", (size, self._has("avx512vbmi"), self.processor)),
            reads,
            made,
            channelwise.flat_tasks(size),
            in_place=True,
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
