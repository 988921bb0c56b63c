"""What stays outside of the integers: the ways in and out, shapes and layouts."""

from __future__ import annotations

import numpy as np

from mdcompiler.backends.hexagon.instructions import LANES
from mdcompiler.backends.hexagon.pack import float_planes
from mdcompiler.backends.hexagon.program_builder import Builder, blocks_of, bytes_of
from mdcompiler.backends.hexagon.sources import HvxSimpleSource
from mdcompiler.backends.kernels.channelwise import flat_tasks
from mdcompiler.backends.kernels.requantize import HIGH, NUMBERS, ZERO
from mdcompiler.backends.kernels.sources import ChannelwiseSource
from mdcompiler.kernel import LAYOUT, Kernel


class FloatLowering:
    """Adds kernels that are no integer arithmetic to a program."""

    def __init__(self, build: Builder) -> None:
        self.build = build

    def quantize(self, kernel: Kernel) -> None:
        """An input that comes as floats. There is no vector instruction for it before V68: one by one."""
        node, tensor = kernel.nodes[0], kernel.outputs[0]
        size = bytes_of(tensor, bool(node.attrs.get(LAYOUT)))
        numbers = np.zeros(NUMBERS, np.int32)
        numbers[[ZERO, HIGH]] = int(np.asarray(node.inputs[2].values).reshape(())), 255
        scale = np.asarray(node.inputs[1].values, np.float32).reshape(1)
        reads = (
            node.inputs[0].name,
            self.build.constant(kernel, "scale", scale),
            self.build.constant(kernel, "numbers", numbers),
        )
        self.build.call(kernel, ChannelwiseSource("quantize", (size, 1)), reads, tensor.name, flat_tasks(size))

    def dequantize(self, kernel: Kernel) -> None:
        """Every byte has its float: `(x - zero point) * scale`, in float32."""
        node, tensor = kernel.nodes[0], kernel.outputs[0]
        scale = np.asarray(node.inputs[1].values, np.float32).reshape(())
        zero = int(np.asarray(node.inputs[2].values).reshape(()))
        planes = float_planes((np.arange(256) - zero).astype(np.float32) * scale)
        size = bytes_of(tensor, bool(node.attrs.get(LAYOUT))) // 4
        reads = (node.inputs[0].name, self.build.constant(kernel, "planes", planes))
        self.build.call(kernel, HvxSimpleSource("floats", (size,)), reads, tensor.name)

    def change_layout(self, kernel: Kernel) -> None:
        """Between [C/32][P][32] and [C][P], element by element."""
        source, target = kernel.nodes[0].inputs[0], kernel.outputs[0]
        _, channels, *pixels = (int(extent) for extent in target.shape)
        template = "pack" if kernel.layout else "unpack"
        if np.dtype(target.dtype) == np.uint8:
            template += "_int8"
        function = ChannelwiseSource(template, (channels, int(np.prod(pixels)), LANES))
        self.build.call(kernel, function, (source.name,), target.name, blocks_of(channels))
