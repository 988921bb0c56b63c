"""From the kernels of a placed graph to a `Program` of launches.

Activations lie in blocks of four channels (`choose-layout` with lanes 4). Heads write their rows straight into place
(`float_heads`), so a join of heads is no work; a reshape is another name of the same buffer.
Post-processing is a call of the host, the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.postprocess_call import call_postprocess
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.gpu.choose import choose_tile, choose_window
from mdcompiler.backends.gpu.convolution import GpuConvolution, pack_bias, pack_convolution
from mdcompiler.backends.gpu.float_heads import Heads
from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.integer_limits import ROUNDING
from mdcompiler.backends.gpu.limits import check_kernel
from mdcompiler.backends.gpu.lower_integer import IntegerLowering
from mdcompiler.backends.gpu.program_builder import Builder, Home, blocked_elements, elements_of, is_blocked
from mdcompiler.backends.gpu.sources import GpuConvolutionSource, GpuSimpleSource, GpuWindowSource
from mdcompiler.backends.gpu.traits import Element, GpuTraits
from mdcompiler.backends.kernels import read_kernel as read
from mdcompiler.backends.kernels.activation import NO_ACTIVATION, Curve
from mdcompiler.backends.kernels.pack_weights import blocked_channels
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import Module
from mdcompiler.quantization.check_rounding import check_rounding

FLOAT_BYTES = 4


def lower_gpu(module: Module, traits: GpuTraits) -> Program:
    """The whole network. Raises UnsupportedError naming the kernel that has no template."""
    graph = module.graph
    program = Program([t.name for t in graph.inputs], [t.name for t in graph.outputs])
    check_rounding(module, ROUNDING, "GPU", "gpu")
    found = kernels(graph)
    for kernel in found:
        check_kernel(kernel, traits)
    heads = Heads(found, graph)
    build = Builder(program, traits, homes=heads.homes)
    lowering, integers = _Lowering(build, _read_by_host(found, graph)), IntegerLowering(build, graph)
    for kernel in found:
        if kernel.name not in heads.passed:
            (integers.lower if integers.takes(kernel) else lowering.kernel)(kernel)
    lowering.direct_outputs(graph)
    return program


def _read_by_host(found: Iterable[Kernel], graph: gs.Graph) -> set[str]:
    """Tensors that leave the device: each needs a buffer of its own name."""
    host = {tensor.name for kernel in found if kernel.kind == "postprocess" for tensor in kernel.inputs}
    return host | {tensor.name for tensor in graph.outputs}


class _Lowering:
    def __init__(self, build: Builder, leaving: set[str]) -> None:
        self.build, self.program, self.traits, self.leaving = build, build.program, build.traits, leaving
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
            "postprocess": self._postprocess,
        }

    def kernel(self, kernel: Kernel) -> None:
        """Add the launches of one kernel."""
        self.by_kind[kernel.kind](kernel)

    def direct_outputs(self, graph: gs.Graph) -> None:
        """Outputs of the network that are constants are copied."""
        for tensor in graph.outputs:
            if isinstance(tensor, gs.Constant):
                source = self.program.constant(f"{tensor.name}/value", tensor.values)
                kernel = Kernel(tensor.name, "view", (), (), ())
                self._copy(kernel, source, Home(tensor.name, 0, elements_of(tensor)), elements_of(tensor))

    @property
    def element(self) -> Element:
        return self.traits.element

    def _element(self, tensor: gs.Tensor) -> Element:
        """What a tensor is in memory: plain ones are float32 always."""
        return self.element if is_blocked(tensor) else "float32"

    def _target(self, tensor: gs.Variable) -> str:
        """Memory for a result of a kernel."""
        size = elements_of(tensor) * FLOAT_BYTES
        if is_blocked(tensor):
            size = blocked_elements(tensor) * self.traits.element_bytes
        return self.build.buffer(tensor.name, size)

    def _simple(
        self, kernel: Kernel, template: str, arguments: tuple[Any, ...], reads: tuple[str, ...], target: str
    ) -> None:
        self.build.launch(kernel, GpuSimpleSource(template, arguments), reads, target)

    def _convolution(self, kernel: Kernel) -> None:
        item = read.read_convolution(kernel, LANES)
        output = kernel.outputs[0]
        home = self.build.home(output)
        work = item.work if home.curve == NO_ACTIVATION else replace(item.work, activation=home.curve)
        problem = GpuConvolution(work, self.element, item.scale, item.offset, home.start, home.size)
        tile = choose_tile(problem, self.traits)
        weight = self.build.weights(kernel, "weight", pack_convolution(item.weight, problem, tile))
        bias = self.build.constant(kernel, "bias", pack_bias(item.bias, problem, tile).astype(np.float32))
        reads = (item.source, weight, bias, *((item.residual,) if item.residual else ()))
        in_place = home.buffer != output.name
        target = self.build.buffer(home.buffer, home.size * FLOAT_BYTES) if in_place else self._target(output)
        self.build.launch(kernel, GpuConvolutionSource(problem, tile), reads, target)

    def _depthwise(self, kernel: Kernel) -> None:
        item = read.read_depthwise(kernel, LANES)
        weight = self.build.weights(kernel, "weight", blocked_channels(item.weight[:, 0], LANES))
        bias = self.build.constant(kernel, "bias", blocked_channels(item.bias.astype(np.float32), LANES))
        self._window(kernel, item, (item.source, weight, bias))

    def _window(self, kernel: Kernel, item: read.ReadWindow, reads: tuple[str, ...]) -> None:
        tile = choose_window(item.work, self.traits)
        assert tile is not None, "limits.why_not accepted the window"
        source = GpuWindowSource(item.work, self.element, tile)
        self.build.launch(kernel, source, reads, self._target(kernel.outputs[0]))

    def _pool(self, kernel: Kernel) -> None:
        if kernel.nodes[0].op != "GlobalAveragePool":
            item = read.read_max_pool(kernel, LANES)
            self._window(kernel, item, (item.source,))
            return
        source, _, channels, pixels = read.read_mean(kernel)
        arguments = (-(-channels // LANES), pixels, self.element, self.element)
        self._simple(kernel, "mean", arguments, (source,), self._target(kernel.outputs[0]))

    def _squeeze_excite(self, kernel: Kernel) -> None:
        item = read.read_squeeze_excite(kernel)
        blocks = -(-item.channels // LANES)
        pooled = self.build.buffer(f"{kernel.name}:pooled", blocks * LANES * FLOAT_BYTES)
        self._simple(kernel, "mean", (blocks, item.pixels, self.element, "float32"), (item.source,), pooled)
        hidden = self._dense(kernel, "reduce", item.reduce, pooled)
        gate = self._dense(kernel, "expand", item.expand, hidden)
        target = self._target(kernel.outputs[0])
        self._simple(kernel, "gate", (blocks, item.pixels, self.element), (item.source, gate), target)

    def _dense(self, kernel: Kernel, role: str, layer: tuple[NDArray[Any], NDArray[Any], Curve], source: str) -> str:
        """One layer of a gate, on float32."""
        weight, bias, curve = layer
        inputs, outputs = (-(-extent // LANES) for extent in (weight.shape[1], weight.shape[0]))
        padded = np.zeros((outputs * LANES, inputs * LANES), np.float32)
        padded[: weight.shape[0], : weight.shape[1]] = weight
        packed = padded.reshape(outputs, LANES, -1).transpose(0, 2, 1)
        reads = (
            source,
            self.build.weights(kernel, f"{role}/weight", packed),
            self.build.constant(kernel, f"{role}/bias", blocked_channels(bias.astype(np.float32), LANES)),
        )
        target = self.build.buffer(f"{kernel.name}:{role}", outputs * LANES * FLOAT_BYTES)
        self._simple(kernel, "dense", (inputs, outputs, curve, self.element), reads, target)
        return target

    def _add(self, kernel: Kernel) -> None:
        left, right, _, curve = read.read_add(kernel)
        self._flat(kernel, "add", curve, (left, right))

    def _activation(self, kernel: Kernel) -> None:
        source, _, curve = read.read_activation(kernel)
        self._flat(kernel, "activation", curve, (source,))

    def _flat(self, kernel: Kernel, template: str, curve: Curve, reads: tuple[str, ...]) -> None:
        output = kernel.outputs[0]
        size = blocked_elements(output) if is_blocked(output) else elements_of(output)
        self._simple(kernel, template, (size, curve, self._element(output)), reads, self._target(output))

    def _view(self, kernel: Kernel) -> None:
        """Another name, unless it leaves the device or is made of a constant."""
        source, output = kernel.nodes[0].inputs[0], kernel.outputs[0]
        if isinstance(source, gs.Constant):
            self.program.constant(source.name, source.values)
        if output.name in self.leaving or isinstance(source, gs.Constant):
            self._copy(kernel, source.name, Home(self._target(output), 0, elements_of(output)), elements_of(output))
        else:
            self.build.names[output.name] = self.build.name(source.name)

    def _concat(self, kernel: Kernel) -> None:
        """What heads have not written in place already is copied."""
        whole, start = kernel.outputs[0], 0
        target = self._target(whole)
        for part in kernel.nodes[0].inputs:
            count = elements_of(part)
            if part.name not in self.build.homes:
                if isinstance(part, gs.Constant):
                    self.program.constant(part.name, part.values)
                self._copy(kernel, part.name, Home(target, start, elements_of(whole)), count)
            start += count

    def _copy(self, kernel: Kernel, source: str, home: Home, count: int) -> None:
        self._simple(kernel, "copy", (count, home.start, home.size, "float32"), (source,), home.buffer)

    def _change_layout(self, kernel: Kernel) -> None:
        source, output = kernel.nodes[0].inputs[0], kernel.outputs[0]
        _, channels, *pixels = (int(extent) for extent in output.shape)
        template = "pack" if kernel.layout else "unpack"
        arguments = (channels, int(np.prod(pixels)), self.element)
        self._simple(kernel, template, arguments, (source.name,), self._target(output))

    def _postprocess(self, kernel: Kernel) -> None:
        for tensor in kernel.nodes[0].inputs:
            if isinstance(tensor, gs.Constant):
                self.program.constant(tensor.name, tensor.values)
        for tensor in kernel.outputs:
            self.build.buffer(tensor.name, elements_of(tensor) * FLOAT_BYTES)
        call_postprocess(self.program, kernel)
