"""Convolutions of a quantized graph as calls: windows, borders, packed weights and what ends a tile."""

from __future__ import annotations

import numpy as np

from mdcompiler.backends.clib.integer_chain import Chain, conv_multiplier_of, node_of, weights_of
from mdcompiler.backends.hexagon.choose import Chooser
from mdcompiler.backends.hexagon.convolution import HvxConvolution, Window
from mdcompiler.backends.hexagon.depthwise import SLACK_BYTES, HvxWindow
from mdcompiler.backends.hexagon.ending import Ending
from mdcompiler.backends.hexagon.instructions import LANES, QUAD, VECTOR_BYTES
from mdcompiler.backends.hexagon.pack import (
    Array,
    pack_depthwise,
    pack_scale,
    pack_weights,
    pad_to,
    picture_spread,
    picture_weights,
)
from mdcompiler.backends.hexagon.program_builder import ROUNDING, Builder, blocks_of, fill_sum, numbers_of
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource, HvxSimpleSource, HvxWindowSource
from mdcompiler.backends.hexagon.store import VECTOR_PIXELS
from mdcompiler.backends.hexagon.sums import Rows, sum_offsets, sum_tasks
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.read_kernel import read_geometry
from mdcompiler.kernel import Kernel

_SUM_BYTES = 4


class ConvolutionLowering:
    """Adds convolutions to a program; the caller has declared their targets."""

    def __init__(self, build: Builder, chooser: Chooser) -> None:
        self.build, self.chooser = build, chooser
        self._sums: dict[tuple[object, ...], str] = {}

    def convolution(self, kernel: Kernel, chain: Chain, target: str) -> None:
        geometry, weight = geometry_of(chain), weights_of(chain.conv).centred
        blocks, last = blocks_of(weight.shape[1]), (weight.shape[1] - 1) % LANES + 1
        source, (height, width) = self._with_borders(kernel, chain, blocks, _whole(geometry), 0)
        row = width * LANES
        window = Window(
            size=blocks * height * row,
            blocks=blocks,
            block_bytes=height * row,
            kernel=geometry.kernel,
            row_bytes=row * geometry.dilation[0],
            column_bytes=LANES * geometry.dilation[1],
            quads=LANES // QUAD,
            last_quads=-(-last // QUAD),
            pixel_bytes=LANES * geometry.stride[1],
            line_bytes=row * geometry.stride[0],
        )
        out = (1, geometry.out_pixels) if geometry.is_pointwise else geometry.out
        self._windowed(kernel, chain, window, out, weight, source, target)

    def picture(self, kernel: Kernel, chain: Chain, image: str, target: str) -> None:
        """A row of the window is taken as the channels of one tap: the picture has four bytes a pixel for that."""
        geometry, weight = geometry_of(chain), picture_weights(weights_of(chain.conv).centred)
        quads = weight.shape[1] // QUAD
        height, width = _whole(geometry)
        width += width % 2  # keeps rows, and with stride 2 all pixels, on double words
        size = height * width * QUAD
        source = self.build.program.buffer(f"{kernel.name}:picture", size)
        zero = self.build.constant(kernel, "zero", np.full(VECTOR_BYTES, chain.conv.inputs[0].zero_point, np.uint8))
        function = HvxSimpleSource("picture", (geometry.size, geometry.pad, (height, width)))
        spread = self.build.constant(kernel, "spread", picture_spread())
        self.build.call(kernel, function, (image, zero, spread), source, height)
        row = width * QUAD
        window = Window(
            size=size,
            blocks=1,
            block_bytes=0,
            kernel=(geometry.kernel[0], 1),
            row_bytes=row,
            column_bytes=0,
            quads=quads,
            last_quads=quads,
            pixel_bytes=QUAD * geometry.stride[1],
            line_bytes=row * geometry.stride[0],
            unit_bytes=QUAD,
        )
        self._windowed(kernel, chain, window, geometry.out, weight, source, target)

    def _windowed(
        self,
        kernel: Kernel,
        chain: Chain,
        window: Window,
        out: tuple[int, int],
        weight: Array,
        source: str,
        target: str,
    ) -> None:
        ending, extra = self._ending(kernel, chain, len(weight))
        work = HvxConvolution(window, blocks_of(len(weight)), out, ending)
        tile = self.chooser.schedule(work, kernel.name)
        packed = self.build.constant(kernel, f"{chain.conv.name}/weight", pack_weights(weight, tile.groups))
        sums = self._window_sums(kernel, window, source, out)
        reads = (source, packed, self._start(kernel, chain), sums, *extra)
        self.build.call(kernel, HvxConvolutionSource(work, tile), reads, target, tile.tasks(work))

    def _window_sums(self, kernel: Kernel, window: Window, source: str, out: tuple[int, int]) -> str:
        """The sums of all windows, made once for all convolutions with the same input and window."""
        offsets, rows = window.summed_pixels(), window.starts(out)
        key = (source, window.pixels, offsets, rows)
        if key not in self._sums:
            self._sums[key] = self._new_sums(kernel, window, source, rows)
        return self._sums[key]

    def _new_sums(self, kernel: Kernel, window: Window, source: str, rows: Rows) -> str:
        offsets, is_picture = window.summed_pixels(), window.unit_bytes == QUAD
        pixels = source if is_picture else self._pixel_sums(kernel, window, source)
        if offsets == (0,) and not is_picture:
            return pixels
        name = self.build.program.buffer(f"{kernel.name}:window_sums", rows.end * _SUM_BYTES)
        function = HvxSimpleSource("picture_sums" if is_picture else "window_sums", (window.pixels, offsets, rows))
        self.build.call(kernel, function, (pixels,), name, rows.count)
        return name

    def _pixel_sums(self, kernel: Kernel, window: Window, source: str) -> str:
        name = self.build.program.buffer(f"{kernel.name}:sums", window.pixels * _SUM_BYTES)
        offsets = self.build.constant(kernel, "offsets", sum_offsets(window.last_quads))
        function = HvxSimpleSource("pixel_sums", (window.blocks, window.pixels, window.last_quads))
        self.build.call(kernel, function, (source, offsets), name, sum_tasks(window.pixels))
        return name

    def depthwise(self, kernel: Kernel, chain: Chain, target: str) -> None:
        geometry, weight = geometry_of(chain), weights_of(chain.conv).centred
        height, width = _whole(geometry)
        width += -width % VECTOR_PIXELS  # keeps the vectors of all rows aligned alike
        blocks = blocks_of(len(weight))
        source, whole = self._with_borders(kernel, chain, blocks, (height, width), SLACK_BYTES)
        ending, extra = self._ending(kernel, chain, len(weight))
        work = HvxWindow(blocks, whole, geometry.kernel, geometry.stride[0], geometry.out, ending)
        packed = self.build.constant(kernel, f"{chain.conv.name}/weight", pack_depthwise(weight[:, 0]))
        reads = (source, packed, self._start(kernel, chain), *extra)
        self.build.call(
            kernel, HvxWindowSource(work, self.chooser.schedule(work, kernel.name)), reads, target, work.blocks
        )

    def _with_borders(
        self, kernel: Kernel, chain: Chain, blocks: int, whole: tuple[int, int], slack: int
    ) -> tuple[str, tuple[int, int]]:
        """A copy of the convolution's input with borders and its size, or the input itself where it needs none."""
        source, geometry = chain.conv.inputs[0], geometry_of(chain)
        if whole == geometry.size and not slack:
            return source.name, whole
        copy = self.build.program.buffer(f"{kernel.name}:borders", blocks * whole[0] * whole[1] * LANES + slack)
        zero = self.build.constant(kernel, "zero", np.full(VECTOR_BYTES, source.zero_point, np.uint8))
        function = HvxSimpleSource("borders", (blocks, geometry.size, geometry.pad, whole, slack))
        self.build.call(kernel, function, (source.name, zero), copy, blocks * whole[0])
        return copy, whole

    def _start(self, kernel: Kernel, chain: Chain) -> str:
        """Bias less zero point times the sum of the weights."""
        constants = weights_of(chain.conv)
        sums = constants.centred.sum(axis=(1, 2, 3))
        start = constants.bias.astype(np.int64) - chain.conv.inputs[0].zero_point * sums
        return self.build.constant(kernel, f"{chain.conv.name}/start", pad_to(start, 0, LANES).astype(np.int32))

    def _ending(self, kernel: Kernel, chain: Chain, channels: int) -> tuple[Ending, tuple[str, ...]]:
        """What follows the sums, and the parameters of it in the order of `ending.Finisher`."""
        role = chain.conv.name
        weight_scale = np.array(weights_of(chain.conv).quantization.scale)
        scale, scaling = pack_scale(conv_multiplier_of(chain, weight_scale, channels, ROUNDING))
        numbers = numbers_of(chain.conv)
        add = None
        extra: list[str] = []
        if chain.table is not None:
            extra.append(self.build.table(kernel, chain.table))
        if chain.add is not None and chain.residual is not None:
            add = fill_sum(numbers, chain.add, chain.before_add, chain.residual)
            extra.append(chain.residual.name)
        names = (
            self.build.constant(kernel, f"{role}/scale", scale),
            self.build.constant(kernel, f"{role}/numbers", numbers),
        )
        return Ending(scaling.raises, chain.table is not None, add), (*names, *extra)


def geometry_of(chain: Chain) -> Geometry:
    """The window of a chain's convolution."""
    return read_geometry(node_of(chain.conv))


def _whole(geometry: Geometry) -> tuple[int, int]:
    """Rows and columns of a picture with borders: all that the window reads, and all of the picture."""

    def extent(axis: int) -> int:
        window = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1
        return max((geometry.out[axis] - 1) * geometry.stride[axis] + window, geometry.pad[axis] + geometry.size[axis])

    return extent(0), extent(1)
