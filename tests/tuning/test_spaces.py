"""Every schedule of a space is a kernel that computes the right numbers, and candidates are a fair part of a space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdcompiler.backends.clib.tune_kernels import candidates
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.pack_weights import blocked_channels, pack_bias, pack_convolution
from mdcompiler.backends.kernels.templates import TEMPLATES, Template, templates_for
from mdcompiler.target import find_target
from mdcompiler.tolerance import within_float_tolerance
from mdcompiler.tuning.canonical import complete
from mdcompiler.tuning.records import Records
from tests.backends.kernel_runner import Kernels, aligned, block, unblock

TARGET = find_target("cpu")
LANES = TARGET.lanes


def same(size: int, kernel: int, stride: int) -> Geometry:
    out = -(-size // stride)
    pad = max((out - 1) * stride + kernel - size, 0) // 2
    return Geometry((size, size), (kernel, kernel), (stride, stride), (pad, pad), (out, out))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kernel=st.sampled_from([1, 3]),
    size=st.integers(3, 9),
    inputs=st.integers(1, 20),
    blocks=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_all_tiles_of_a_convolution_give_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, kernel: int, size: int, inputs: int, blocks: int, seed: int
) -> None:
    work = Convolution(same(size, kernel, 1), inputs, blocks * LANES, LANES)
    random = np.random.default_rng(seed)
    source = block(random.uniform(-1, 1, (inputs, size, size)).astype(np.float32), LANES)
    weight = random.normal(0, 0.3, (work.out_channels, inputs, kernel, kernel)).astype(np.float32)
    bias = aligned(pack_bias(random.normal(0, 1, work.out_channels).astype(np.float32), LANES))
    template = TEMPLATES["convolution"]
    tiles = sample(template, work, 6, seed)
    sources = [template.steps(work, tile)[0] for tile in tiles]
    kernels = Kernels(tmp_path_factory.mktemp("tiles"), TARGET, [function for function, _ in sources])
    results = []
    for tile, (function, tasks) in zip(tiles, sources, strict=True):
        got = block(np.full((work.out_channels, size, size), np.nan, np.float32), LANES)
        packed = aligned(pack_convolution(weight, LANES, tile.groups, work.channel_block))
        kernels.run(function, [source, packed, bias, got], 0, tasks)
        results.append(unblock(got, work.out_channels))
    padded = np.pad(unblock(source, inputs), [(0, 0), *[(kernel // 2, kernel // 2)] * 2])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    expected = np.einsum("cyxij,ocij->oyx", windows, weight) + bias[: work.out_channels, None, None]
    assert all(within_float_tolerance(result, expected.astype(np.float32)) for result in results)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(3, 12), stride=st.integers(1, 2), seed=st.integers(0, 99))
def test_all_tiles_of_a_window_give_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, size: int, stride: int, seed: int
) -> None:
    work = Window(same(size, 3, stride), LANES, LANES)
    random = np.random.default_rng(seed)
    source = block(random.uniform(-1, 1, (LANES, size, size)).astype(np.float32), LANES)
    weight = aligned(blocked_channels(random.normal(0, 1, (LANES, 3, 3)).astype(np.float32), LANES))
    bias = aligned(np.zeros(LANES, np.float32))
    template = TEMPLATES["window"]
    sources = [template.steps(work, tile)[0] for tile in template.space(work, TARGET)]
    kernels = Kernels(tmp_path_factory.mktemp("tiles"), TARGET, [function for function, _ in sources])
    results = []
    for function, tasks in sources:
        got = block(np.full((LANES, *work.geometry.out), np.nan, np.float32), LANES)
        kernels.run(function, [source, weight, bias, got], 0, tasks)
        results.append(got)
    assert np.isfinite(results[0]).all()
    assert all(within_float_tolerance(result, results[0]) for result in results)


def sample(template: Template, work: Any, count: int, seed: int) -> list[Any]:
    """Some schedules, the first and the last of the space among them."""
    space = list(template.space(work, TARGET))
    inner = np.random.default_rng(seed).permutation(len(space))[:count]
    return [space[0], *(space[index] for index in inner), space[-1]]


WORKS = {
    "pointwise": Convolution(same(20, 1, 1), 96, 96 * LANES // 16, LANES),
    "regular": Convolution(same(20, 3, 1), 64, 24 * LANES, LANES),
    "one pixel": Convolution(same(1, 1, 1), 64, 7 * LANES, LANES),
    "depthwise": Window(same(40, 3, 1), 8 * LANES, LANES),
}


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_spaces_are_small_fit_the_registers_and_say_nothing_twice(name: str, target: str) -> None:
    machine = find_target(target)
    for template in templates_for(WORKS[name]):
        space = template.space(WORKS[name], machine)
        assert 0 < len(space) < 300
        assert len({str(sorted(complete(schedule).items())) for schedule in space}) == len(space)
        for schedule in space:
            sums = complete(schedule)
            pixels = sums.get("pixels") or sums["patches"]
            assert pixels * sums.get("groups", 1) < machine.vector_registers


@pytest.mark.parametrize("name", WORKS)
def test_candidates_are_the_models_favourites_and_some_drawn_from_the_rest(name: str) -> None:
    chooser, work = Chooser(TARGET, Records()), WORKS[name]
    for template in templates_for(work):
        ranked = chooser.model.ranked(template, work, TARGET)
        few = candidates(chooser, template, work, 8)
        assert few == candidates(Chooser(TARGET, Records()), template, work, 8)
        assert len(few) == len(set(few)) == min(8, len(ranked))
        assert few[:6] == ranked[:6]
        assert candidates(chooser, template, work, len(ranked)) == ranked
