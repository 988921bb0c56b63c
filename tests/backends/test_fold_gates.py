"""A squeeze-excite's gate in the weights of the convolution that follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backends.clib.fold_gates import fold_gates
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.kernels.convolution import Tile
from mdcompiler.backends.kernels.sources import ChannelwiseSource, ConvolutionSource
from mdcompiler.target import find_target
from tests.backends.convolution_problem import convolution, same
from tests.backends.kernel_runner import Kernels, aligned

LANES = find_target("cpu").lanes


def gated(pixels: int, kernel: int = 1, outputs: tuple[str, ...] = ("y",)) -> Program:
    """x * gate -> gated -> convolution to 16 channels -> y"""
    work = convolution(32, 16, same((1, pixels), kernel, 1))
    program = Program(["x", "factors"], list(outputs))
    program.buffer("gated", 4 * 32 * pixels)
    blocks = -(-32 // LANES)
    gate = ChannelwiseSource("gate", (blocks, pixels, LANES))
    program.call("block/se", gate, ("x", "factors"), ("gated",), blocks, in_place=True)
    source = ConvolutionSource(work, Tile(4, 1))
    program.call("block/project", source, ("gated", "weight", "bias"), ("y",), source.tasks)
    return program


def test_the_pass_over_the_picture_is_saved() -> None:
    program = gated(pixels=100)
    fold_gates(program)
    scale, project = program.calls
    assert scale.code.startswith("scale_weights_")
    assert scale.reads == ("weight", "factors")
    assert project.reads == ("x", scale.writes[0], "bias")
    assert project.writes == ("y",)
    assert "gated" not in program.sizes
    assert len(program.functions) == 2


@pytest.mark.parametrize(
    "program", [gated(pixels=8), gated(pixels=100, kernel=3), gated(pixels=100, outputs=("y", "gated"))]
)
def test_it_stays_where_folding_costs_more_or_someone_else_reads_it(program: Program) -> None:
    if "gated" in program.outputs:
        del program.sizes["gated"]
    steps = list(program.steps)
    fold_gates(program)
    assert program.steps == steps


def test_weights_are_scaled_by_their_input_channel(tmp_path: Path) -> None:
    tiles, channels, width = 3, 20, 2 * LANES
    random = np.random.default_rng(0)
    weight = aligned(random.normal(size=(tiles, channels, width)).astype(np.float32))
    factor = aligned(random.normal(size=32).astype(np.float32))
    scaled = aligned(np.full_like(weight, np.nan))
    source = ChannelwiseSource("scale_weights", (tiles, channels, width, LANES))
    kernels = Kernels(tmp_path, find_target("cpu"), [source])
    kernels.run(source, [weight, factor, scaled], 1, tiles)
    kernels.run(source, [weight, factor, scaled], 0, 1)
    assert np.array_equal(scaled, weight * factor[:channels, None])
