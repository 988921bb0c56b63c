"""Convolutions of a quantized graph as launches: packed weights, constants, tiles, and what ends a tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mdcompiler.backends.clib.integer_chain import Array, Chain, conv_multiplier_of, node_of, weights_of
from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.integer_builder import IntegerBuilder
from mdcompiler.backends.gpu.integer_choose import choose_tile, choose_window
from mdcompiler.backends.gpu.integer_depthwise import GpuIntegerWindow, window_weights
from mdcompiler.backends.gpu.integer_ending import Ending
from mdcompiler.backends.gpu.integer_heads import Landing
from mdcompiler.backends.gpu.integer_limits import ROUNDING
from mdcompiler.backends.gpu.integer_pack import (
    BYTE_BOUNDS,
    fill_sum,
    needs_raise,
    numbers_of,
    pack_constants,
    pack_dense,
    pack_matrix,
    words,
)
from mdcompiler.backends.gpu.integer_sources import (
    IntegerConvolutionSource,
    IntegerSimpleSource,
    IntegerWindowSource,
)
from mdcompiler.backends.gpu.integer_workload import GpuIntegerConvolution
from mdcompiler.backends.kernels.read_kernel import read_geometry
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.curves import table


class IntegerConvolutionLowering:
    """Adds convolutions to a program."""

    def __init__(self, build: IntegerBuilder) -> None:
        self.build = build

    def convolution(self, kernel: Kernel, chain: Chain) -> None:
        """A k x k or pointwise convolution, or a layer on a picture of one pixel."""
        work = self._work(chain)
        target = self.build.buffer(chain.output.name, work.out_words * work.geometry.out_pixels)
        if work.geometry.is_pointwise and work.geometry.pixels == 1 and chain.add is None:
            self._dense(kernel, chain, work, target)
        else:
            self._tiled(kernel, chain, work, chain.conv.inputs[0].name, target)

    def picture(self, kernel: Kernel, chain: Chain, image: str) -> None:
        """The first convolution, from the picture's bytes [H][W][C]."""
        work = replace(self._work(chain), source="picture")
        target = self.build.buffer(chain.output.name, work.out_words * work.geometry.out_pixels)
        self._tiled(kernel, chain, work, image, target)

    def head(self, kernel: Kernel, chain: Chain, landing: Landing) -> None:
        """A convolution whose channels become elements of `landing`'s tensor."""
        work = replace(self._work(chain), target="rows", elements=landing.elements, offset=landing.offset)
        values = landing.values
        if chain.table is not None:
            values = values[_entries(chain)]
        target = self.build.buffer(landing.tensor.name, landing.elements)
        self._tiled(kernel, chain, work, chain.conv.inputs[0].name, target, values)

    def depthwise(self, kernel: Kernel, chain: Chain) -> None:
        """One filter for each channel."""
        weight, geometry = weights_of(chain.conv).centred, read_geometry(node_of(chain.conv))
        work = GpuIntegerWindow(geometry, len(weight), _ending(chain), self.build.dot)
        tile = choose_window(work, self.build.traits)
        reads = (
            chain.conv.inputs[0].name,
            self.build.constant(kernel, f"{chain.conv.name}/weight", window_weights(weight[:, 0], geometry, tile)),
            *self._parameters(kernel, chain, _constants(chain), self._numbers(chain)),
        )
        target = self.build.buffer(chain.output.name, work.words * geometry.out_pixels)
        self.build.call(kernel, IntegerWindowSource(work, tile), reads, target)

    def _work(self, chain: Chain) -> GpuIntegerConvolution:
        weight = weights_of(chain.conv).centred
        geometry = read_geometry(node_of(chain.conv))
        return GpuIntegerConvolution(geometry, weight.shape[1], len(weight), dot=self.build.dot)

    def _tiled(
        self,
        kernel: Kernel,
        chain: Chain,
        work: GpuIntegerConvolution,
        source: str,
        target: str,
        values: Array | None = None,
    ) -> None:
        """values: what a head's bytes become."""
        numbers, ending = self._numbers(chain), _ending(chain)
        if values is not None:
            is_float = values.dtype == np.float32
            ending = replace(ending, table=not is_float, floats=is_float)
        elif chain.add is not None and chain.residual is not None:
            ending = replace(ending, add=fill_sum(numbers, chain.add, chain.before_add, chain.residual))
        work = replace(work, ending=ending)
        tile = choose_tile(work, self.build.traits)
        packed = pack_matrix(
            weights_of(chain.conv).centred, tile.depth, LANES * tile.out_words, work.source == "picture"
        )
        reads = (
            source,
            self.build.constant(kernel, f"{chain.conv.name}/weight", packed),
            *self._parameters(kernel, chain, _constants(chain, tile.out_words), numbers, values),
            *((chain.residual.name,) if chain.residual is not None else ()),
        )
        self.build.call(kernel, IntegerConvolutionSource(work, tile), reads, target)

    def _dense(self, kernel: Kernel, chain: Chain, work: GpuIntegerConvolution, target: str) -> None:
        arguments = (work.in_words, work.out_words, _ending(chain), work.dot)
        weight = pack_dense(weights_of(chain.conv).centred[:, :, 0, 0])
        reads = (
            chain.conv.inputs[0].name,
            self.build.constant(kernel, f"{chain.conv.name}/weight", weight),
            *self._parameters(kernel, chain, _constants(chain), self._numbers(chain)),
        )
        self.build.call(kernel, IntegerSimpleSource("dense", arguments), reads, target)

    def _numbers(self, chain: Chain) -> Array:
        return numbers_of(chain.conv, chain.conv.inputs[0].zero_point)

    def _parameters(
        self, kernel: Kernel, chain: Chain, constants: Array, numbers: Array, values: Array | None = None
    ) -> tuple[str, ...]:
        """The parameters of `integer_ending.Finisher` but for the residual."""
        role, extra = chain.conv.name, []
        if values is not None and values.dtype == np.float32:
            extra = [self.build.constant(kernel, f"{role}/floats", values)]
        elif values is not None or chain.table is not None:
            entries = _entries(chain) if values is None else values
            extra = [self.build.constant(kernel, f"{role}/table", words(entries.reshape(-1, LANES)))]
        return (
            self.build.constant(kernel, f"{role}/constants", constants),
            self.build.constant(kernel, f"{role}/numbers", numbers),
            *extra,
        )


def _ending(chain: Chain) -> Ending:
    """Without a sum, whose form depends on what is added."""
    clamp = (chain.conv.low, chain.conv.high) != BYTE_BOUNDS
    return Ending(needs_raise(_factors(chain)), table=chain.table is not None, clamp=clamp)


def _factors(chain: Chain) -> Array:
    found = weights_of(chain.conv)
    return conv_multiplier_of(chain, np.array(found.quantization.scale), len(found.centred), ROUNDING)


def _constants(chain: Chain, blocks: int = 1) -> Array:
    """What each output channel needs, words of channels rounded up to `blocks`."""
    found = weights_of(chain.conv)
    return pack_constants(found.centred, found.bias, chain.conv.inputs[0].zero_point, _factors(chain), blocks)


def _entries(chain: Chain) -> Array:
    """The table that follows the convolution."""
    step = chain.table
    assert step is not None, "only a chain with a table has entries"
    return np.asarray(table(step, ROUNDING))
