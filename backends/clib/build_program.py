"""From the kernels of a placed graph to a `Program`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backends.clib.add_views import add_join, add_reshape
from mdcompiler.backends.clib.lower_float import FloatLowering, tensor_bytes
from mdcompiler.backends.clib.lower_integer import IntegerLowering
from mdcompiler.backends.clib.postprocess_call import call_postprocess
from mdcompiler.backends.clib.program import Call, Program, voids
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.requantize import Rounding
from mdcompiler.backends.kernels.select import why_not
from mdcompiler.backends.legalize import LegalKernel
from mdcompiler.kernel import LAYOUT, Kernel, kernels
from mdcompiler.quantization.steps import is_integer
from mdcompiler.target import Target


def fallback_kernels(graph: gs.Graph, target: Target) -> list[Kernel]:
    """The kernels that no template serves and that TVM must write."""
    return [kernel for kernel in kernels(graph) if _needs_fallback(kernel, target.lanes)]


def build_program(
    graph: gs.Graph,
    target: Target,
    legal: Mapping[str, LegalKernel],
    rounding: Rounding = "float-half-even",
    chooser: Chooser | None = None,
) -> Program:
    """The whole network. legal: the fallback kernels, legalised, by name. rounding: of quantized kernels.

    chooser: of schedules; by default with the shipped records and the user's.
    """
    program = Program([t.name for t in graph.inputs], [t.name for t in graph.outputs])
    lowering = _Lowering(program, legal, rounding, chooser or Chooser.open(target))
    for kernel in kernels(graph):
        lowering.kernel(kernel)
    lowering.direct_outputs(graph)
    return program


def _needs_fallback(kernel: Kernel, lanes: int) -> bool:
    if kernel.kind == "concat" and not is_integer(kernel):
        return not _is_contiguous_concat(kernel.nodes[0])
    if kernel.kind == "view" and not is_integer(kernel):
        return False
    return why_not(kernel, lanes) is not None


def _is_contiguous_concat(node: gs.Node) -> bool:
    """Whether each input of a Concat is one run of bytes in its output."""
    shape = node.outputs[0].shape
    axis = node.attrs["axis"] % len(shape)
    return int(np.prod(shape[:axis])) == 1


class _Lowering:
    def __init__(
        self, program: Program, legal: Mapping[str, LegalKernel], rounding: Rounding, chooser: Chooser
    ) -> None:
        self.program, self.legal, self.chooser = program, legal, chooser
        self.integer = IntegerLowering(program, rounding, chooser)
        self.by_kind: dict[str, Callable[[Kernel], None]] = {
            **FloatLowering(program, chooser).by_kind,
            "view": lambda kernel: add_reshape(self.program, kernel),
            "concat": lambda kernel: add_join(self.program, kernel),
            "quantize": self.integer.quantize,
            "dequantize": self.integer.quantize,
            "postprocess": lambda kernel: call_postprocess(self.program, kernel),
        }

    def kernel(self, kernel: Kernel) -> None:
        """Add the calls of one kernel."""
        self._declare(kernel)
        if kernel.name in self.legal:
            self._legal(kernel, self.legal[kernel.name])
        elif is_integer(kernel):
            self.integer.kernel(kernel)
        else:
            self.by_kind[kernel.kind](kernel)

    def direct_outputs(self, graph: gs.Graph) -> None:
        """Outputs that are inputs or constants of the network are copied."""
        made = {tensor.name for node in graph.nodes for tensor in node.outputs}
        for tensor in graph.outputs:
            if tensor.name not in made and isinstance(tensor, gs.Constant):
                source = self.program.constant(f"{tensor.name}/value", tensor.values)
                self._copy(tensor.name, source, tensor.name, tensor.values.nbytes)

    def _declare(self, kernel: Kernel) -> None:
        for node in kernel.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant) and kernel.kind in ("view", "concat", "postprocess"):
                    self.program.constant(tensor.name, tensor.values)
        lanes = self.chooser.target.lanes
        for tensor in kernel.outputs:
            if tensor.name not in self.program.outputs:
                blocked = bool(tensor.inputs[0].attrs.get(LAYOUT))
                self.program.buffer(tensor.name, tensor_bytes(tensor, lanes if blocked else 0))

    def _copy(self, kernel: str, source: str, target: str, size: int) -> None:
        self.program.steps.append(Call(kernel, f"mdc_copy({{1}}, {{0}}, {size})", (source,), (target,)))

    def _legal(self, kernel: Kernel, legal: LegalKernel) -> None:
        """A kernel that TVM wrote: its calls as they are."""
        for name, values in legal.constants.items():
            self.program.constant(name, values)
        for name, (shape, dtype) in legal.temporaries.items():
            self.program.buffer(name, int(np.prod(shape)) * np.dtype(dtype).itemsize)
        self.program.objects[legal.name] = legal.object_code
        for call in legal.calls:
            places = ", ".join(f"{{{index}}}" for index in range(len(call.arguments)))
            writes = (*call.outputs, *call.workspace)
            self.program.prototypes[call.function] = voids(len(call.arguments))
            self.program.steps.append(Call(kernel.name, f"{call.function}({places})", call.inputs, writes))
