"""The integer kernels as CUDA C for Xavier: what NVIDIA's compilers make of them."""

from __future__ import annotations

from functools import lru_cache

import pytest

from mdcompiler.backends.cuda.compile_worker import compile_kernel
from mdcompiler.backends.cuda.compiled import CompiledKernel
from mdcompiler.backends.cuda.toolchain import why_missing
from mdcompiler.backends.gpu.integer_choose import choose_tile, choose_window, tile_cycles, tiles
from mdcompiler.backends.gpu.integer_depthwise import GpuIntegerWindow
from mdcompiler.backends.gpu.integer_ending import Ending, Sum
from mdcompiler.backends.gpu.integer_sources import IntegerConvolutionSource, IntegerWindowSource
from mdcompiler.backends.gpu.integer_workload import GpuIntegerConvolution
from mdcompiler.backends.gpu.traits import GpuTraits, traits_of
from mdcompiler.target import find_target
from tests.backends.convolution_problem import same

needs_compiler = pytest.mark.skipif(bool(why_missing()), reason=why_missing())
TARGET = find_target("jetson-xavier")
TRAITS = traits_of(TARGET)
SUM = Sum(own_is_half=True, other_is_half=False)
CONVOLUTIONS = {
    "stem": GpuIntegerConvolution(same((320, 320), 3, 2), 3, 32, source="picture", dot="dp4a"),
    "fused": GpuIntegerConvolution(same((40, 40), 3, 1), 64, 256, Ending(table=True), dot="dp4a"),
    "expand": GpuIntegerConvolution(same((20, 20), 1, 1), 120, 960, dot="dp4a"),
    "project": GpuIntegerConvolution(same((20, 20), 1, 1), 480, 120, Ending(table=True, add=SUM), dot="dp4a"),
    "head": GpuIntegerConvolution(
        same((20, 20), 1, 1), 128, 546, Ending(floats=True), target="rows", dot="dp4a", elements=400 * 546
    ),
}
WINDOWS = {
    "3x3": GpuIntegerWindow(same((40, 40), 3, 1), 576, dot="dp4a"),
    "5x5s2": GpuIntegerWindow(same((20, 20), 5, 2), 480, Ending(table=True), dot="dp4a"),
}


@lru_cache(maxsize=16)
def compiled(name: str) -> CompiledKernel:
    if name in WINDOWS:
        window = WINDOWS[name]
        return compile_kernel(IntegerWindowSource(window, choose_window(window, TRAITS)), TARGET.llvm)
    work = CONVOLUTIONS[name]
    return compile_kernel(IntegerConvolutionSource(work, choose_tile(work, TRAITS)), TARGET.llvm)


@needs_compiler
@pytest.mark.parametrize("name", [*CONVOLUTIONS, *WINDOWS])
def test_stays_in_registers(name: str) -> None:
    kernel = compiled(name)
    assert kernel.resources.spill_bytes == 0
    assert kernel.resources.stack_bytes == 0
    assert kernel.resources.registers <= 128, "two workgroups of 256 threads share the 65536 registers"


@needs_compiler
@pytest.mark.parametrize("name", [*CONVOLUTIONS, *WINDOWS])
def test_multiplies_four_bytes_at_once(name: str) -> None:
    ptx = compiled(name).ptx
    assert "dp4a.s32.s32" in ptx
    assert not [word for word in ("div.s64", "div.u64", "rem.s64", "rem.u64", "mul.lo.f64") if word in ptx]


@needs_compiler
@pytest.mark.parametrize("name", ["fused", "expand", "project"])
def test_moves_vectors(name: str) -> None:
    ptx = compiled(name).ptx
    assert "ld.shared.v4" in ptx
    assert "ld.global.v4" in ptx or "ld.global.nc.v4" in ptx
    assert "st.global.v4" in ptx


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("traits", [TRAITS, GpuTraits()], ids=["xavier", "webgpu"])
def test_tiles_fit_and_the_chosen_is_the_models_best(name: str, traits: GpuTraits) -> None:
    work = CONVOLUTIONS[name]
    space, chosen = list(tiles(work, traits)), choose_tile(work, traits)
    assert len(space) > 8
    assert chosen in space
    assert all(tile.threads <= traits.max_threads and tile.shared_bytes <= traits.shared_bytes for tile in space)
    assert min(tile_cycles(work, tile, traits) for tile in space) == tile_cycles(work, chosen, traits)


def test_small_pictures_are_spread_over_the_machine() -> None:
    work = GpuIntegerConvolution(same((10, 10), 1, 1), 960, 640, dot="dp4a")
    tile = choose_tile(work, TRAITS)
    blocks = -(-100 // tile.pixels) * -(-work.out_words // tile.out_words)
    assert blocks >= TRAITS.units
