"""Winograd's filtering against the sum over all taps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution
from mdcompiler.backends.kernels.sources import WinogradPatchesSource, WinogradSource
from mdcompiler.backends.kernels.winograd import (
    WinogradTile,
    multiply_tasks,
    patch_bytes,
    scratch_bytes,
    source_tasks,
)
from mdcompiler.backends.kernels.winograd_matrices import transforms
from mdcompiler.target import find_target
from mdcompiler.tuning.records import Records
from tests.backends.convolution_problem import RELU6, Array, convolution, problem, same
from tests.backends.kernel_runner import Kernels, aligned

WITHOUT_MEANING = np.float32(np.nan)


def check(folder: Path, work: Convolution, tile: WinogradTile) -> None:
    """Run both functions, each in two uneven shares of its tasks, over memory full of NaN."""
    case = problem(work)
    got = case.output()
    patches = aligned(np.full(patch_bytes(work, tile.outputs) // ELEMENT_BYTES, WITHOUT_MEANING))
    scratch = aligned(np.full(scratch_bytes(work, tile) // ELEMENT_BYTES, WITHOUT_MEANING))
    first, second = WinogradPatchesSource(work, tile.outputs), WinogradSource(work, tile)
    kernels = Kernels(folder, find_target("cpu"), [first, second])
    steps: list[tuple[FunctionSource, list[Array], int]] = [
        (first, [case.input(), patches], source_tasks(work, tile.outputs)),
        (second, [patches, *case.constants(tile.groups), got, scratch], multiply_tasks(work, tile)),
    ]
    for source, arrays, total in steps:
        kernels.run(source, arrays, total // 3, total)
        kernels.run(source, arrays, 0, total // 3)
    case.assert_solved(got)


CASES = {
    "whole tiles": (convolution(32, 64, same((8, 12), 3, 1), activation=RELU6), WinogradTile(4, 6, 2)),
    "pictures that no tile divides": (convolution(20, 40, same((7, 9), 3, 1)), WinogradTile(4, 4, 1)),
    "F(2, 3)": (convolution(20, 24, same((7, 5), 3, 1), activation=Curve("hard_swish")), WinogradTile(2, 5, 1)),
    "a picture smaller than a patch": (convolution(16, 16, same((2, 1), 3, 1)), WinogradTile(4, 1, 1)),
    "no padding": (convolution(16, 16, same((8, 9), 3, 1, pad=(0, 0), out=(6, 7))), WinogradTile(4, 4, 1)),
    "residual then relu": (
        convolution(8, 16, same((6, 5), 3, 1), residual="before", activation=RELU6),
        WinogradTile(4, 3, 1),
    ),
    "relu then residual": (
        convolution(8, 16, same((6, 5), 3, 1), residual="after", activation=RELU6),
        WinogradTile(2, 3, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_winograd_equals_the_sum_over_taps(name: str, tmp_path: Path) -> None:
    check(tmp_path, *CASES[name])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    outputs=st.sampled_from([2, 4]),
    patches=st.integers(1, 6),
)
def test_any_picture(
    tmp_path_factory: pytest.TempPathFactory,
    channels: tuple[int, int],
    size: tuple[int, int],
    outputs: int,
    patches: int,
) -> None:
    check(tmp_path_factory.mktemp("any"), convolution(*channels, same(size, 3, 1)), WinogradTile(outputs, patches, 1))


@pytest.mark.parametrize("outputs", [2, 4])
def test_the_matrices_filter_exactly(outputs: int) -> None:
    """In fractions, so that no rounding hides a wrong entry."""
    source, weight, target = transforms(outputs)
    signal, taps = range(3, 3 + outputs + 2), (2, -3, 5)
    products = [
        sum(f * x for f, x in zip(row, signal, strict=True)) * sum(g * x for g, x in zip(other, taps, strict=True))
        for row, other in zip(source, weight, strict=True)
    ]
    got = [sum(f * x for f, x in zip(row, products, strict=True)) for row in target]
    assert got == [sum(taps[i] * signal[at + i] for i in range(3)) for at in range(outputs)]


def test_it_is_chosen_where_it_saves_work() -> None:
    target = find_target("x86-64-v4")
    chooser = Chooser(target, Records())
    choice = chooser.choose(convolution(128, 512, same((20, 20), 3, 1)))
    assert choice.template.name == "winograd"
    assert choice.schedule.patches * choice.schedule.groups + choice.schedule.groups + 1 <= target.vector_registers
    for work in [
        convolution(128, 512, same((20, 20), 3, 2)),
        convolution(128, 512, same((20, 20), 1, 1)),
        convolution(128, 512, same((20, 20), 5, 1)),
        convolution(3, 16, same((32, 32), 3, 1), source="interleaved"),
    ]:
        assert chooser.choose(work).template.name == "convolution"
