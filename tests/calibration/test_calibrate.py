"""Calibration of a small network from pictures and arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdcompiler.calibration import ListedSamples, Probe, calibrate, load_ranges, open_samples, save_ranges
from mdcompiler.calibration.patches import moments, patches
from mdcompiler.errors import InputError
from mdcompiler.module import Module
from tests.accuracy.networks import small_module, small_samples


@pytest.fixture(scope="module")
def module() -> Module:
    return small_module()


def test_min_max_is_what_the_network_says(module: Module) -> None:
    samples = small_samples(module)
    ranges = calibrate(module, samples, "min-max")
    probe = Probe(module.graph, list(ranges))
    flat = {node.inputs[0].name for node in module.graph.nodes if node.op == "HardSwish"}
    assert flat
    assert all(ranges[name][0] >= -3 for name in flat), "hard-swish is 0 below -3"
    for sample in samples:
        for name, values in probe.run(sample).items():
            lowest = max(float(values.min()), -3.0) if name in flat else float(values.min())
            assert ranges[name][0] <= lowest + 1e-6
            assert values.max() - 1e-6 <= ranges[name][1]
    clamped = [ranges[node.outputs[0].name] for node in module.graph.nodes if node.op == "Clip"]
    assert clamped
    assert all(0 <= low <= high <= 6 for low, high in clamped)


def test_pictures_and_arrays_give_the_same(module: Module, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    shape = tuple(module.graph.inputs[0].shape)
    stack = generator.integers(0, 256, (3, *shape[1:]), dtype=np.uint8)
    for index, picture in enumerate(stack):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    np.savez_compressed(tmp_path / "samples.npz", image=stack)
    (tmp_path / "notes.txt").write_text("no picture")
    by_folder, by_file = open_samples(tmp_path, module), open_samples(tmp_path / "samples.npz", module)
    assert len(by_folder) == len(by_file) == 3
    assert calibrate(module, by_folder) == calibrate(module, by_file)
    assert len(open_samples(tmp_path, module, limit=2)) == 2


def test_a_folder_that_cannot_be_listed_is_said(
    module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", closed)
    with pytest.raises(InputError, match=r"calibrating with the folder .*: Permission denied"):
        open_samples(tmp_path, module)


def test_what_cannot_be_calibrated_with_is_said(module: Module, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no picture"):
        open_samples(tmp_path, module)
    with pytest.raises(InputError, match="neither a folder nor"):
        open_samples(tmp_path / "missing", module)
    np.savez(tmp_path / "wrong.npz", image=np.zeros((2, 5, 5, 3), np.uint8))
    with pytest.raises(InputError, match=r"image is uint8\[2, 5, 5, 3\]"):
        open_samples(tmp_path / "wrong.npz", module)


def test_ranges_survive_a_file_and_damage_is_refused(tmp_path: Path) -> None:
    ranges = {"a": (-1.5, 2.0), "b": (0.0, 6.0)}
    save_ranges(tmp_path / "ranges.json", ranges)
    assert load_ranges(tmp_path / "ranges.json") == ranges
    (tmp_path / "ranges.json").write_text('{"mdc_ranges": 1, "ranges": {"a": [2, 1]}}')
    with pytest.raises(InputError, match="range of a"):
        load_ranges(tmp_path / "ranges.json")


def test_a_network_that_overflows_is_refused(module: Module) -> None:
    broken = Module.from_onnx(module.to_onnx(), module.target)
    node = next(node for node in broken.graph.nodes if node.op == "Conv")
    node.inputs[1].values = np.full_like(node.inputs[1].values, np.nan)
    with pytest.raises(InputError, match="is not finite on sample 0"):
        calibrate(broken, small_samples(broken, 1), "min-max")


def test_patches_times_filters_are_the_convolution(module: Module) -> None:
    (sample,) = small_samples(module, 1)
    for node in (item for item in module.graph.nodes if item.op == "Conv"):
        arrays = Probe(module.graph, [node.inputs[0].name, node.outputs[0].name]).run(sample)
        weight = node.inputs[1].values
        seen = patches(node, arrays[node.inputs[0].name])
        rows = weight.reshape(seen.shape[0], -1, seen.shape[2])
        got = np.einsum("gok,gpk->gop", rows, seen).reshape(weight.shape[0], -1)
        got += node.inputs[2].values[:, None] if len(node.inputs) > 2 else 0
        want = arrays[node.outputs[0].name][0].reshape(weight.shape[0], -1)
        np.testing.assert_allclose(got, want, atol=1e-4 * max(1.0, float(np.abs(want).max())))


def test_moments_add_up_over_samples(module: Module) -> None:
    samples = list(small_samples(module, 2))
    both = moments(module.graph, ListedSamples(samples))
    apart = [moments(module.graph, ListedSamples([sample])) for sample in samples]
    for name, found in both.items():
        np.testing.assert_allclose(found.mean, (apart[0][name].mean + apart[1][name].mean) / 2, rtol=1e-6, atol=1e-6)
