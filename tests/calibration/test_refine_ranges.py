"""Ranges that spoil the network's results are narrowed, others stay."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.accuracy import compare
from mdcompiler.accuracy.head import end_tensors
from mdcompiler.calibration import ListedSamples, Probe, Ranges, calibrate, refine_ranges
from mdcompiler.calibration.simulate import Simulator
from mdcompiler.module import Module
from mdcompiler.passes.assign_precision import quantizer
from mdcompiler.quantization.scheme import find_scheme
from tests.accuracy.networks import small_module, small_samples


@pytest.fixture(scope="module")
def module() -> Module:
    return small_module()


@pytest.fixture(scope="module")
def samples(module: Module) -> ListedSamples:
    return small_samples(module)


@pytest.fixture(scope="module")
def ranges(module: Module, samples: ListedSamples) -> Ranges:
    return calibrate(module, samples, "min-max")


def test_a_range_that_is_far_too_wide_is_narrowed_and_the_network_gains(
    module: Module, samples: ListedSamples, ranges: Ranges
) -> None:
    wide = {name: (60 * low, 60 * high) if _is_victim(name) else (low, high) for name, (low, high) in ranges.items()}
    refined, changed = refine_ranges(module, wide, samples, end_tensors(module))
    assert any(_is_victim(row.tensor) for row in changed)
    for row in changed:
        assert row.noise < 1
        assert wide[row.tensor] == row.before
        assert refined[row.tensor] == row.after
        assert row.before[0] <= row.after[0] <= 0 <= row.after[1] <= row.before[1]
    before, after = (
        compare(module, quantizer(found, find_scheme("cpu"))(module, {}), samples) for found in (wide, refined)
    )
    assert after.worst_db > before.worst_db + 3


def _is_victim(name: str) -> bool:
    return name.startswith("C3/b1.ibn/")


def test_hardly_any_value_is_cut_off(module: Module, samples: ListedSamples, ranges: Ranges) -> None:
    refined, changed = refine_ranges(module, ranges, samples, end_tensors(module))
    names = [row.tensor for row in changed]
    assert set(refined) == set(ranges)
    probe = Probe(module.graph, [*names, *end_tensors(module)])
    rows = [probe.run(sample) for sample in samples]
    for name in names:
        values = np.concatenate([row[name].reshape(-1) for row in rows])
        low, high = refined[name]
        assert np.mean((values < low) | (values > high)) <= 0.1


def test_the_simulation_rounds_what_it_is_told_and_nothing_else(
    module: Module, samples: ListedSamples, ranges: Ranges
) -> None:
    ends = end_tensors(module)
    name = next(name for name in ranges if _is_victim(name))
    simulator, probe = Simulator(module.graph, [name], ends), Probe(module.graph, ends)
    sample = next(iter(samples))
    want = [probe.run(sample)[end] for end in ends]
    for got, real in zip(simulator.run(sample, {}), want, strict=True):
        np.testing.assert_allclose(got, real, rtol=0, atol=2e-3 * float(np.abs(real).max()))
    coarse = simulator.run(sample, {name: (-1e4, 1e4)})
    assert max(float(np.abs(got - real).max()) for got, real in zip(coarse, want, strict=True)) > 1e-3
