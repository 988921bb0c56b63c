"""From the kernels of a placed graph to a `Program`: one function for each kind of kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.lower_integer import IntegerLowering
from mdcompiler.backends.clib.postprocess_call import call_postprocess
from mdcompiler.backends.clib.program import Call, Program, View, voids
from mdcompiler.backends.kernels import channelwise, convolution, depthwise, winograd
from mdcompiler.backends.kernels import read_kernel as read
from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.pack_weights import blocked_channels, pack_bias, pack_convolution, pack_dense
from mdcompiler.backends.kernels.requantize import Rounding
from mdcompiler.backends.kernels.select import read_pool, why_not
from mdcompiler.backends.kernels.sources import (
    ChannelwiseSource,
    ConvolutionSource,
    WindowSource,
    WinogradPatchesSource,
    WinogradSource,
)
from mdcompiler.backends.kernels.winograd import WinogradTile
from mdcompiler.backends.legalize import LegalKernel
from mdcompiler.kernel import LAYOUT, Kernel, kernels
from mdcompiler.quantization.steps import is_integer
from mdcompiler.target import Target

_FLOAT_BYTES = 4


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
        self.program, self.legal, self.chooser, self.target = program, legal, chooser, chooser.target
        self.integer = IntegerLowering(program, rounding, chooser)
        self.lanes = self.target.lanes
        self.by_kind: dict[str, Callable[[Kernel], None]] = {
            "stem": self._convolution,
            "head": self._convolution,
            "pointwise": self._convolution,
            "conv": self._convolution,
            "depthwise": self._depthwise,
            "squeeze_excite": self._squeeze_excite,
            "pool": self._pool,
            "add": self._add,
            "elementwise": self._activation,
            "view": self._view,
            "concat": self._concat,
            "layout": self._change_layout,
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
        for tensor in kernel.outputs:
            if tensor.name not in self.program.outputs:
                blocked = bool(tensor.inputs[0].attrs.get(LAYOUT))
                self.program.buffer(tensor.name, _bytes(tensor, self.lanes if blocked else 0))

    def _copy(self, kernel: str, source: str, target: str, size: int) -> None:
        self.program.steps.append(Call(kernel, f"mdc_copy({{1}}, {{0}}, {size})", (source,), (target,)))

    def _constant(self, kernel: Kernel, role: str, values: NDArray[Any]) -> str:
        return self.program.constant(f"{kernel.name}:{role}", values)

    def _scratch(self, kernel: Kernel, role: str, elements: int) -> str:
        return self.program.buffer(f"{kernel.name}:{role}", elements * _FLOAT_BYTES)

    def _channelwise(
        self,
        kernel: Kernel,
        template: str,
        arguments: tuple[Any, ...],
        reads: tuple[str, ...],
        target: str,
        tasks: int,
        in_place: bool = False,
    ) -> None:
        source = ChannelwiseSource(template, arguments)
        self.program.call(kernel.name, source, reads, (target,), tasks, in_place)

    def _convolution(self, kernel: Kernel) -> None:
        item = read.read_convolution(kernel, self.lanes)
        work = replace(item.work, by_element="asimd" in self.target.cpu_flags)
        source = self._preprocess(kernel, item) if kernel.kind == "stem" else item.source
        tile = self.chooser.choose(work, kernel.name).schedule
        weight = self._constant(
            kernel, "weight", pack_convolution(item.weight, self.lanes, tile.groups, work.channel_block)
        )
        bias = self._constant(kernel, "bias", pack_bias(item.bias, self.lanes))
        reads = (weight, bias, *((item.residual,) if item.residual else ()))
        if isinstance(tile, WinogradTile):
            self._winograd(kernel, work, tile, source, reads, item.target)
        else:
            function, tasks = ConvolutionSource(work, tile), convolution.tasks(work, tile)
            self.program.call(kernel.name, function, (source, *reads), (item.target,), tasks)

    def _winograd(
        self,
        kernel: Kernel,
        work: convolution.Convolution,
        tile: WinogradTile,
        source: str,
        reads: tuple[str, ...],
        target: str,
    ) -> None:
        patches = self.program.buffer(f"{kernel.name}:patches", winograd.patch_bytes(work, tile.outputs))
        transform, tasks = WinogradPatchesSource(work, tile.outputs), winograd.source_tasks(work, tile.outputs)
        self.program.call(kernel.name, transform, (source,), (patches,), tasks)
        self.program.call(
            kernel.name,
            WinogradSource(work, tile),
            (patches, *reads),
            (target,),
            winograd.multiply_tasks(work, tile),
            scratch_bytes=winograd.scratch_bytes(work, tile),
        )

    def _preprocess(self, kernel: Kernel, item: read.ReadConvolution) -> str:
        """The picture as floats, [H][W][C]."""
        size = item.work.geometry.pixels * item.work.in_channels
        floats = self._scratch(kernel, "image", size)
        arguments = (size, item.scale, item.offset, self.lanes)
        self._channelwise(kernel, "preprocess", arguments, (item.source,), floats, channelwise.flat_tasks(size))
        return floats

    def _depthwise(self, kernel: Kernel) -> None:
        item = read.read_depthwise(kernel, self.lanes)
        weight = self._constant(kernel, "weight", blocked_channels(item.weight[:, 0], self.lanes))
        bias = self._constant(kernel, "bias", pack_bias(item.bias, self.lanes))
        self._window(kernel, item, (item.source, weight, bias))

    def _window(self, kernel: Kernel, item: read.ReadWindow, reads: tuple[str, ...]) -> None:
        source = WindowSource(item.work, self.chooser.choose(item.work, kernel.name).schedule.pixels)
        self.program.call(kernel.name, source, reads, (item.target,), depthwise.tasks(item.work))

    def _pool(self, kernel: Kernel) -> None:
        item = read_pool(kernel, self.lanes)
        if isinstance(item, read.ReadWindow):
            self._window(kernel, item, (item.source,))
            return
        source, target, channels, pixels = item
        self._mean(kernel, source, target, channels, pixels)

    def _mean(self, kernel: Kernel, source: str, target: str, channels: int, pixels: int) -> None:
        blocks = -(-channels // self.lanes)
        self._channelwise(kernel, "mean", (blocks, pixels, self.lanes), (source,), target, blocks)

    def _squeeze_excite(self, kernel: Kernel) -> None:
        item = read.read_squeeze_excite(kernel)
        blocks = -(-item.channels // self.lanes)
        pooled = self._scratch(kernel, "pooled", blocks * self.lanes)
        self._mean(kernel, item.source, pooled, item.channels, item.pixels)
        hidden = self._dense(kernel, "reduce", item.reduce, pooled)
        gate = self._dense(kernel, "expand", item.expand, hidden)
        arguments = (blocks, item.pixels, self.lanes)
        self._channelwise(kernel, "gate", arguments, (item.source, gate), item.target, blocks, in_place=True)

    def _dense(self, kernel: Kernel, role: str, layer: tuple[NDArray[Any], NDArray[Any], Curve], source: str) -> str:
        weight, bias, curve = layer
        blocks = -(-weight.shape[0] // self.lanes)
        reads = (
            source,
            self._constant(kernel, f"{role}/weight", pack_dense(weight, self.lanes)),
            self._constant(kernel, f"{role}/bias", pack_bias(bias, self.lanes)),
        )
        target = self._scratch(kernel, role, blocks * self.lanes)
        arguments = (weight.shape[1], blocks, self.lanes, curve)
        self._channelwise(kernel, "dense", arguments, reads, target, channelwise.dense_tasks(blocks))
        return target

    def _add(self, kernel: Kernel) -> None:
        left, right, target, curve = read.read_add(kernel)
        size = self._elements(kernel.outputs[0])
        arguments = (size, self.lanes, curve)
        self._channelwise(kernel, "add", arguments, (left, right), target, channelwise.flat_tasks(size), in_place=True)

    def _activation(self, kernel: Kernel) -> None:
        source, target, curve = read.read_activation(kernel)
        size = self._elements(kernel.outputs[0])
        tasks = channelwise.flat_tasks(size)
        self._channelwise(kernel, "activation", (size, self.lanes, curve), (source,), target, tasks, in_place=True)

    def _elements(self, tensor: gs.Variable) -> int:
        """How many float32 the memory of `tensor` holds, padding of the layout included."""
        blocked = bool(tensor.inputs[0].attrs.get(LAYOUT))
        return _bytes(tensor, self.lanes if blocked else 0) // _FLOAT_BYTES

    def _view(self, kernel: Kernel) -> None:
        source, target = kernel.nodes[0].inputs[0], kernel.outputs[0]
        view = View(kernel.name, target.name, source.name, 0, _bytes(target), part_is_new=True)
        self.program.steps.append(view)

    def _concat(self, kernel: Kernel) -> None:
        node, offset = kernel.nodes[0], 0
        for tensor in node.inputs:
            size = _bytes(tensor)
            view = View(kernel.name, tensor.name, node.outputs[0].name, offset, size, part_is_new=False)
            self.program.steps.append(view)
            offset += size

    def _change_layout(self, kernel: Kernel) -> None:
        source, target = kernel.nodes[0].inputs[0], kernel.outputs[0]
        _, channels, *pixels = (int(extent) for extent in target.shape)
        template = "pack" if kernel.layout else "unpack"
        if np.dtype(target.dtype) == np.uint8:
            template += "_int8"
        arguments = (channels, int(np.prod(pixels)), self.lanes)
        tasks = -(-channels // self.lanes)
        self._channelwise(kernel, template, arguments, (source.name,), target.name, tasks)

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


def _bytes(tensor: gs.Tensor, lanes: int = 0) -> int:
    """Bytes of a tensor, plain or with its channels in blocks of `lanes`."""
    shape = [int(extent) for extent in tensor.shape]
    if lanes:
        shape[1] = -(-shape[1] // lanes) * lanes
    return int(np.prod(shape)) * int(np.dtype(tensor.dtype).itemsize)
