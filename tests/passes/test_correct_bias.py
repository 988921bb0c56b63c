"""correct-bias and round-adaptively: the mean error of rounded weights goes away, the rest gets smaller."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.calibration import ListedSamples, Probe
from mdcompiler.calibration.patches import convolutions, moments
from mdcompiler.module import Module
from mdcompiler.passes.correct_bias import CorrectBias, rounded
from mdcompiler.passes.round_adaptively import RoundAdaptively, descend
from mdcompiler.quantization.scheme import Scheme, find_scheme
from tests.accuracy.networks import small_module, small_samples

SCHEMES = [find_scheme("cpu"), find_scheme("edgetpu-qat")]


def errors(original: Module, changed: Module, scheme: Scheme, samples: ListedSamples) -> dict[str, np.ndarray]:
    """Convolution -> (mean, mean square) error of its result when only its own weights are rounded."""
    found = {}
    seen = moments(original.graph, samples, squares=True)
    for before, after in zip(convolutions(original.graph), convolutions(changed.graph), strict=True):
        item = seen[before.name]
        shape = (item.mean.shape[0], -1, item.mean.shape[1])
        gap = (rounded(after.inputs[1].values, scheme) - before.inputs[1].values).reshape(shape).astype(np.float64)
        shift = (after.inputs[2].values - before.inputs[2].values).reshape(item.mean.shape[0], -1)
        mean = np.einsum("gok,gk->go", gap, item.mean)
        square = np.einsum("gok,gkl,gol->go", gap, item.second / item.count, gap) + 2 * mean * shift + shift**2
        found[before.name] = np.array([np.abs(mean + shift).max(), square.mean()])
    return found


def copy(module: Module) -> Module:
    return Module.from_onnx(module.to_onnx(), module.target)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_the_mean_error_goes_and_rounding_adaptively_leaves_less(scheme: Scheme) -> None:
    module = small_module()
    samples = small_samples(module)
    corrected, adapted = copy(module), copy(module)
    assert CorrectBias(samples, scheme).run(corrected) > 5
    assert RoundAdaptively(samples, scheme).run(adapted) > 100
    plain, fixed, best = (errors(module, item, scheme, samples) for item in (module, corrected, adapted))
    for name, (mean, square) in plain.items():
        assert fixed[name][0] <= 0.05 * mean + 1e-5
        assert fixed[name][1] <= square * 1.001 + 1e-9
    total = [sum(float(rows[name][1]) for name in plain) for rows in (plain, fixed, best)]
    assert total[2] < 0.9 * total[1] < total[0]


def test_without_samples_or_on_a_quantized_network_nothing_happens() -> None:
    module = small_module()
    before = module.to_onnx()
    for item in (CorrectBias(scheme=SCHEMES[0]), RoundAdaptively(scheme=SCHEMES[0])):
        assert item.run(module) == 0
    assert module.to_onnx() == before


def test_rounding_again_keeps_the_integers() -> None:
    module = small_module()
    samples = small_samples(module)
    RoundAdaptively(samples, SCHEMES[0]).run(module)
    for node in convolutions(module.graph):
        weight = node.inputs[1].values
        np.testing.assert_allclose(rounded(weight, SCHEMES[0]), weight, rtol=1e-5, atol=1e-7)


def test_descent_never_loses_and_gains_much_where_inputs_go_together() -> None:
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(50, 6)) + 3 * generator.normal(size=(50, 1))
    second = (rows.T @ rows / 50)[None]
    errors_ = generator.uniform(-0.5, 0.5, (1, 8, 6))
    moved = descend(errors_, second, np.ones(errors_.shape, bool), 20)
    cost = np.einsum("gok,gkl,gol->go", errors_ + moved, second, errors_ + moved)
    before = np.einsum("gok,gkl,gol->go", errors_, second, errors_)
    assert (cost <= before + 1e-6).all()
    assert cost.mean() < 0.8 * before.mean()
    assert np.abs(errors_ + moved).max() <= 1.0


def test_probe_still_runs_after_rounding() -> None:
    module = small_module()
    samples = small_samples(module, 1)
    RoundAdaptively(samples, SCHEMES[0]).run(module)
    (sample,) = samples
    assert np.isfinite(Probe(module.graph, ["box_encodings"]).run(sample)["box_encodings"]).all()
