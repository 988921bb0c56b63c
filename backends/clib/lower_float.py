"""Float32 kernels as calls: one method for each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.kernels import channelwise, convolution, depthwise, winograd
from mdcompiler.backends.kernels import read_kernel as read
from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.pack_weights import blocked_channels, pack_bias, pack_convolution, pack_dense
from mdcompiler.backends.kernels.select import read_pool
from mdcompiler.backends.kernels.sources import (
    ChannelwiseSource,
    ConvolutionSource,
    WindowSource,
    WinogradPatchesSource,
    WinogradSource,
)
from mdcompiler.backends.kernels.winograd import WinogradTile
from mdcompiler.kernel import LAYOUT, Kernel

_FLOAT_BYTES = 4


class FloatLowering:
    """Adds the calls of float32 kernels, and of changes of layout, to a program."""

    def __init__(self, program: Program, chooser: Chooser) -> None:
        self.program, self.chooser = program, chooser
        self.lanes = chooser.target.lanes
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
            "layout": self._change_layout,
        }

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
        work = replace(item.work, by_element="asimd" in self.chooser.target.cpu_flags)
        source = self._preprocess(kernel, item) if kernel.kind == "stem" else item.source
        tile = self.chooser.choose(work, kernel.name, kernel.is_direct).schedule
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
        return tensor_bytes(tensor, self.lanes if blocked else 0) // _FLOAT_BYTES

    def _change_layout(self, kernel: Kernel) -> None:
        source, target = kernel.nodes[0].inputs[0], kernel.outputs[0]
        _, channels, *pixels = (int(extent) for extent in target.shape)
        template = "pack" if kernel.layout else "unpack"
        if np.dtype(target.dtype) == np.uint8:
            template += "_int8"
        arguments = (channels, int(np.prod(pixels)), self.lanes)
        tasks = -(-channels // self.lanes)
        self._channelwise(kernel, template, arguments, (source.name,), target.name, tasks)


def tensor_bytes(tensor: gs.Tensor, lanes: int = 0) -> int:
    """Bytes of a tensor, plain or with its channels in blocks of `lanes`."""
    shape = [int(extent) for extent in tensor.shape]
    if lanes:
        shape[1] = -(-shape[1] // lanes) * lanes
    return int(np.prod(shape)) * int(np.dtype(tensor.dtype).itemsize)
