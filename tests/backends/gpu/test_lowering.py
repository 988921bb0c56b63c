"""Float networks as launches: what shares memory, what is copied, which tiles are chosen. Nothing here needs a GPU."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.gpu.choose import (
    choose_tile,
    choose_window,
    fits,
    tile_clocks,
    tile_space,
    window_clocks,
    window_space,
)
from mdcompiler.backends.gpu.compile import shader_text
from mdcompiler.backends.gpu.convolution import GpuConvolution
from mdcompiler.backends.gpu.function import GpuFunction, both, div, mod, where
from mdcompiler.backends.gpu.launch import Launch, launch_of
from mdcompiler.backends.gpu.lower import lower_gpu
from mdcompiler.backends.gpu.shader import access_modes, freeze_grid, with_access
from mdcompiler.backends.gpu.sources import GpuConvolutionSource, GpuSimpleSource, GpuWindowSource
from mdcompiler.backends.gpu.traits import GpuTraits, traits_of
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.errors import InternalError
from mdcompiler.spec import load_spec
from tests.backends.convolution_problem import same
from tests.backends.webgpu.networks import SMALL, TARGET, network, placed
from tests.graphs import Sketch

TRAITS = traits_of(TARGET)


def lowered(name: str = "") -> Program:
    spec = load_spec(name).with_(height=64, width_px=64) if name else SMALL
    return lower_gpu(placed(network(spec)), TRAITS)


def _is_head(function: Any) -> bool:
    return isinstance(function, GpuConvolutionSource) and function.problem.work.target == "interleaved"


def test_heads_write_into_the_joined_tensors() -> None:
    program = lowered()
    heads: list[Any] = [call for call in program.calls if _is_head(call.function)]
    assert len({call.writes for call in heads}) == 2, "boxes and scores"
    for name in {call.writes for call in heads}:
        problems = [call.function.problem for call in heads if call.writes == name]
        spans = [(one.start, one.start + one.pixels * one.work.out_channels) for one in problems]
        assert spans[0][0] == 0
        assert all(end == start for (_, end), (start, _) in pairwise(spans))
        assert spans[-1][1] == problems[0].size
    names = {call.kernel for call in program.calls}
    assert not {"head/concat_boxes", "head/concat_scores", "head/sigmoid"} & names
    curves = {call.writes[0]: call.function.problem.work.activation.kind for call in heads}
    assert curves == {"box_encodings": "none", "class_scores": "sigmoid"}


def joined(more: str) -> Program:
    """Two heads of 12 channels, joined, a sigmoid behind; `more`: what else is read."""
    net, rows = Sketch(), []
    data = net.node("Relu", "/relu", net.input("input", [1, 4, 3, 5]))
    for name in ("/one", "/two"):
        turned = net.node("Transpose", f"{name}/turn", net.conv(name, data, (4, 12)), perm=[0, 2, 3, 1])
        shape = net.weight(f"{name}/shape", np.array([1, -1, 4], np.int64))
        rows.append(net.node("Reshape", f"{name}/rows", turned, shape))
    whole = net.node("Concat", "/join", *rows, axis=1)
    outputs = [net.node("Sigmoid", "/gate", whole)]
    if more:
        outputs.append(net.node("Relu", "/more", whole if more == "join" else rows[0]))
    return lower_gpu(placed(net.model(*outputs)), TRAITS)


@pytest.mark.parametrize(
    ("more", "last"),
    [("", ["/one", "/two"]), ("join", ["/one", "/two", "/gate", "/more"]), ("part", ["/join", "/gate"])],
)
def test_heads_write_only_what_nobody_else_reads(more: str, last: list[str]) -> None:
    names = [call.kernel.removesuffix("/conv") for call in joined(more).calls]
    assert set(last) <= set(names)
    assert ("/gate" in names) == bool(more)
    assert ("/join" in names) == (more == "part")


def test_a_reshape_is_no_launch() -> None:
    net = Sketch()
    data = net.node("Relu", "/relu", net.input("input", [1, 4, 3, 5]))
    program = lower_gpu(
        placed(net.model(net.node("Sigmoid", "/out", net.node("Flatten", "/flat", data, axis=1)))), TRAITS
    )
    assert [call.kernel for call in program.calls] == ["/relu", "/out"]
    assert program.calls[1].reads == ("/relu",)


def test_a_result_that_is_a_reshape_is_copied() -> None:
    net = Sketch()
    data = net.node("Relu", "/relu", net.input("input", [1, 4, 3, 5]))
    program = lower_gpu(placed(net.model(net.node("Flatten", "/flat", data, axis=1))), TRAITS)
    assert [call.function.template for call in program.calls if isinstance(call.function, GpuSimpleSource)] == [
        "activation",
        "copy",
    ]


def test_a_gate_is_four_launches() -> None:
    names = [str(getattr(call.function, "template", "")) for call in lowered("mobiledet-cpu").calls]
    first = names.index("mean")
    assert names[first : first + 4] == ["mean", "dense", "dense", "gate"]


def test_equal_work_is_one_function() -> None:
    program = lowered("mobiledet-gpu")
    launches = [call for call in program.calls if call.function]
    assert len(program.functions) < len(launches)
    assert {call.function.symbol for call in launches if call.function} == set(program.functions)


@pytest.mark.parametrize("name", ["mobiledet-cpu", "mobiledet-gpu"])
def test_every_kernel_stays_within_the_limits(name: str) -> None:
    for source in lowered(name).functions.values():
        launch = launch_of(source.write())
        assert 1 <= launch.threads <= TRAITS.max_threads
        assert launch.shared_bytes <= TRAITS.shared_bytes
        if isinstance(source, GpuConvolutionSource):
            assert launch.shared_bytes == source.tile.shared_bytes(4)
            assert launch.threads == source.tile.threads
            assert launch.grid[:2] == source.problem.grid(source.tile)
        if isinstance(source, GpuWindowSource):
            assert launch.shared_bytes == source.tile.shared_bytes(source.work, 4)


PROBLEM = GpuConvolution(Convolution(same((40, 40), 3, 1), 64, 256, 4))
DEPTHWISE = Window(same((40, 40), 3, 1), 256, 4)


def test_the_chosen_tile_is_the_best_of_the_space() -> None:
    tile = choose_tile(PROBLEM, TRAITS)
    space = [other for other in tile_space(PROBLEM) if fits(other, TRAITS)]
    assert len(space) > 20
    assert tile in space
    assert tile_clocks(PROBLEM, tile, TRAITS) == min(tile_clocks(PROBLEM, other, TRAITS) for other in space)


def test_tiles_grow_with_the_work() -> None:
    small = GpuConvolution(Convolution(same((5, 5), 1, 1), 256, 64, 4))
    one, other = choose_tile(PROBLEM, TRAITS), choose_tile(small, TRAITS)
    assert one.pixels * one.channels > other.pixels * other.channels
    assert one.thread_pixels * one.thread_channels > other.thread_pixels * other.thread_channels


def test_a_smaller_device_gets_a_smaller_tile() -> None:
    tiny = replace(TRAITS, max_threads=64, shared_bytes=4096)
    assert fits(choose_tile(PROBLEM, tiny), tiny)
    assert choose_tile(PROBLEM, tiny) != choose_tile(PROBLEM, TRAITS)


def test_a_device_with_more_units_gets_more_workgroups() -> None:
    small_grid, large_grid = (
        PROBLEM.grid(choose_tile(PROBLEM, replace(TRAITS, units=units, shared_bytes=49152))) for units in (1, 132)
    )
    assert large_grid[0] * large_grid[1] > small_grid[0] * small_grid[1]


def test_the_chosen_window_is_the_best_that_fits() -> None:
    tile = choose_window(DEPTHWISE, TRAITS)
    assert tile is not None
    space = [
        other
        for other in window_space(DEPTHWISE)
        if other.threads <= 256 and other.shared_bytes(DEPTHWISE, 4) <= TRAITS.shared_bytes
    ]
    assert window_clocks(DEPTHWISE, tile, TRAITS) == min(window_clocks(DEPTHWISE, other, TRAITS) for other in space)


def test_a_window_that_no_workgroup_holds_has_no_tile() -> None:
    assert choose_window(Window(same((64, 64), 41, 1), 4, 4), TRAITS) is None


def test_half_the_bytes_need_half_the_memory() -> None:
    half = GpuTraits(element="float16")
    assert half.element_bytes == 2
    tile = choose_tile(replace(PROBLEM, element="float16"), half)
    source = GpuConvolutionSource(replace(PROBLEM, element="float16"), tile)
    launch = launch_of(source.write())
    assert launch.shared_bytes == tile.shared_bytes(2)
    text = shader_text(source.write(), TARGET.llvm, launch)
    assert "enable f16;" in text
    assert re.search(r"var local\d+ : array<vec4<f32>, \d+>", text), "sums are float32"


def doubled() -> GpuFunction:
    f = GpuFunction("doubled", (3, 2), 32)
    source, target = f.buffer("source", 96, "float32x4"), f.buffer("target", 96, "float32x4")
    shared = f.shared(32)
    shared[f.thread] = source[f.block_x * 32 + f.thread]
    f.barrier()
    target[f.block_x * 32 + f.thread] = shared[f.thread] + shared[f.thread]
    return f


def test_the_launch_is_read_off_the_function() -> None:
    launch = launch_of(doubled().finish())
    assert launch == Launch((3, 2, 1), (32, 1, 1), 512)
    assert (launch.threads, launch.workgroups) == (32, 6)


def test_bindings_keep_the_order_of_the_parameters() -> None:
    function = doubled().finish()
    text = shader_text(function, TARGET.llvm, launch_of(function))
    assert re.findall(r"binding\((\d)\) var<storage, \w+> (\w+)", text) == [("0", "source_ptr"), ("1", "target_ptr")]
    assert access_modes(text) == ["read", "read_write"]
    assert access_modes(with_access(text, ["read_write", "read_write"])) == ["read_write", "read_write"]


def test_the_grid_stands_in_the_text() -> None:
    function = doubled().finish()
    text = shader_text(function, TARGET.llvm, launch_of(function))
    assert "gridDim.x + blockIdx.x > 2u" in text
    assert "uniform" not in text
    with pytest.raises(InternalError, match="another uniform buffer"):
        freeze_grid(text, (3, 2, 1))


def test_what_is_known_is_decided_at_once() -> None:
    assert (div(7, 2), mod(7, 2), mod(5, 1)) == (3, 1, 0)
    assert both(True, True) is True
    assert both(True, False) is False
    assert where(True, 1, 2) == 1
    assert where(False, 1, 2) == 2
