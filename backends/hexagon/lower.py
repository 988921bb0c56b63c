"""From the kernels of a placed, quantized graph to a `Program` of HVX calls.

A convolution takes a table or a residual that follows it into its own call. Borders are copied around its input
first, a head's result is copied to rows afterwards; both copies are calls of the same kernel of the graph.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from mdcompiler.backends.clib.add_views import add_join, add_reshape
from mdcompiler.backends.clib.integer_chain import take_chain, weights_of
from mdcompiler.backends.clib.postprocess_call import call_postprocess
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.hexagon.choose import Chooser
from mdcompiler.backends.hexagon.instructions import LANES
from mdcompiler.backends.hexagon.limits import check_kernel
from mdcompiler.backends.hexagon.lower_convolution import ConvolutionLowering, geometry_of
from mdcompiler.backends.hexagon.lower_float import FloatLowering
from mdcompiler.backends.hexagon.lower_steps import StepLowering
from mdcompiler.backends.hexagon.program_builder import Builder, blocks_of, bytes_of
from mdcompiler.backends.hexagon.sources import HvxSimpleSource
from mdcompiler.kernel import LAYOUT, Kernel, kernels
from mdcompiler.known import known
from mdcompiler.quantization.steps import Step, is_integer, read_steps


def lower_program(graph: gs.Graph, chooser: Chooser) -> Program:
    """The whole network. chooser: of schedules. Raises UnsupportedError naming the kernel that has no HVX template."""
    program = Program([t.name for t in graph.inputs], [t.name for t in graph.outputs])
    lowering = _Lowering(Builder(program), chooser)
    for kernel in kernels(graph):
        check_kernel(kernel)
        lowering.kernel(kernel)
    return program


class _Lowering:
    def __init__(self, build: Builder, chooser: Chooser) -> None:
        self.build, self.convolutions = build, ConvolutionLowering(build, chooser)
        steps, floats = StepLowering(build), FloatLowering(build)
        self.by_operation: dict[str, Callable[[Kernel, Step], None]] = {
            "table": steps.table,
            "add": steps.add,
            "pool": steps.pool,
            "product": steps.product,
            "move": steps.move,
            "concat": steps.concat,
        }
        self.by_kind: dict[str, Callable[[Kernel], None]] = {
            "quantize": floats.quantize,
            "dequantize": floats.dequantize,
            "view": lambda kernel: add_reshape(build.program, kernel),
            "concat": lambda kernel: add_join(build.program, kernel),
            "layout": floats.change_layout,
            "postprocess": lambda kernel: call_postprocess(build.program, kernel),
        }

    def kernel(self, kernel: Kernel) -> None:
        """Add the calls of one kernel that `limits.why_not` accepted."""
        self._declare(kernel)
        if not is_integer(kernel):
            self.by_kind[kernel.kind](kernel)
            return
        steps = list(read_steps(kernel))
        if kernel.kind in ("stem", "head"):
            self._ends(kernel, steps)
            return
        while steps:
            steps = self._first(kernel, steps)

    def _declare(self, kernel: Kernel) -> None:
        for node in kernel.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant) and kernel.kind in ("view", "concat", "postprocess"):
                    self.build.program.constant(tensor.name, tensor.values)
        for tensor in kernel.outputs:
            self.build.buffer(tensor.name, bytes_of(tensor, bool(tensor.inputs[0].attrs.get(LAYOUT))))

    def _first(self, kernel: Kernel, steps: list[Step]) -> list[Step]:
        """Lower the first operation; what is left."""
        if steps[0].operation != "conv":
            known(self.by_operation, steps[0].operation, f"the operation of {steps[0].name}")(kernel, steps[0])
            return steps[1:]
        is_depthwise = kernel.kind == "depthwise"
        chain, rest = take_chain(steps, may_add=not is_depthwise)
        geometry, channels = geometry_of(chain), len(weights_of(chain.conv).centred)
        target = self.build.buffer(chain.output.name, blocks_of(channels) * LANES * geometry.out_pixels)
        if is_depthwise:
            self.convolutions.depthwise(kernel, chain, target)
        else:
            self.convolutions.convolution(kernel, chain, target)
        return rest

    def _ends(self, kernel: Kernel, steps: list[Step]) -> None:
        """The picture's convolution, whose bytes lie interleaved, or a head's, which writes rows."""
        first = next(index for index, step in enumerate(steps) if step.operation == "conv")
        chain, moves = take_chain(steps[first:], may_add=False)
        geometry, channels = geometry_of(chain), len(weights_of(chain.conv).centred)
        size = blocks_of(channels) * LANES * geometry.out_pixels
        if kernel.kind == "stem":
            self.convolutions.picture(
                kernel, chain, steps[0].inputs[0].name, self.build.buffer(chain.output.name, size)
            )
            return
        output = moves[-1].output if moves else chain.output
        blocked = self.build.program.buffer(f"{kernel.name}:blocked", size)
        self.convolutions.convolution(kernel, chain, blocked)
        self.build.buffer(output.name, channels * geometry.out_pixels)
        arguments = (blocks_of(channels), geometry.out_pixels, channels)
        self.build.call(kernel, HvxSimpleSource("rows", arguments), (blocked,), output.name)
