"""How long the models of `choose` and `integer_choose` think a kernel takes.

`block_costs` adds them up where nothing can be measured.
"""

from __future__ import annotations

from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.gpu import integer_choose
from mdcompiler.backends.gpu.choose import FLAT_CLOCKS, tile_clocks, window_clocks
from mdcompiler.backends.gpu.integer_sources import IntegerConvolutionSource, IntegerWindowSource
from mdcompiler.backends.gpu.sources import GpuConvolutionSource, GpuWindowSource
from mdcompiler.backends.gpu.traits import GpuTraits


def source_clocks(source: FunctionSource, traits: GpuTraits) -> float:
    """Clocks of one launch of `source`; of a kernel without a tile those of a launch with nothing to do."""
    if isinstance(source, GpuConvolutionSource):
        return tile_clocks(source.problem, source.tile, traits)
    if isinstance(source, GpuWindowSource):
        return window_clocks(source.work, source.tile, traits)
    if isinstance(source, IntegerConvolutionSource):
        return integer_choose.tile_cycles(source.work, source.tile, traits)
    if isinstance(source, IntegerWindowSource):
        return integer_choose.window_cycles(source.work, source.tile, traits)
    return FLAT_CLOCKS
