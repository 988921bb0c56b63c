"""Mean average precision on annotated calibration data, and its limit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.shapes.calibration import write_calibration
from examples.shapes.shipped import spec_source, weights_file
from mdcompiler.accuracy import Accuracy, Judge, Limits, faults, open_annotated
from mdcompiler.calibration import ListedSamples, calibrate, open_samples
from mdcompiler.compiler import Job
from mdcompiler.errors import InputError
from mdcompiler.module import Module
from mdcompiler.passes.assign_precision import quantizer
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.read_network import Request
from mdcompiler.target import find_target
from tests.accuracy.networks import small_module

NAME = "mobiledet-edgetpu-shapes"
COUNT = 12


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Scenes and what is in them."""
    return write_calibration(tmp_path_factory.mktemp("scenes"), COUNT)


@pytest.fixture(scope="module")
def module() -> Module:
    return Job(Request(spec_source(NAME), weights_file(NAME), raw=True), find_target("null")).graph_after("fuse")


def test_a_trained_detector_scores_and_a_dead_one_does_not(module: Module, files: tuple[Path, Path]) -> None:
    pytest.importorskip("pycocotools", reason="the extra `eval` is not installed")
    scenes, truth = files
    annotated = open_annotated(truth, scenes, module)
    assert annotated.points(module) > 20
    samples = ListedSamples(list(open_samples(scenes, module, 2)))
    ranges = calibrate(module, samples, "min-max")
    dead = {name: (100 * low, 100 * high) if "head" in name else (low, high) for name, (low, high) in ranges.items()}
    limits = Limits(block_snr_db=-1e3, saturation=1, head_steps=0, changed_share=1, lost_share=1, box_error_px=1e6)
    verdict = Judge(module, samples, limits, annotated).judge(quantizer(dead, find_scheme("cpu"))(module, {}))
    assert verdict.accuracy.map_lost is not None
    assert verdict.accuracy.map_lost > 5
    assert [fault.measure for fault in verdict.faults] == ["loss of mean average precision in points"]


def test_pictures_are_looked_at_only_while_cheaper_limits_hold(module: Module, files: tuple[Path, Path]) -> None:
    scenes, truth = files
    samples = ListedSamples(list(open_samples(scenes, module, 1)))
    strict = Limits(block_snr_db=1e3)
    verdict = Judge(module, samples, strict, open_annotated(truth, scenes, module)).judge(module)
    assert verdict.faults[0].measure.startswith("signal-to-noise")
    assert verdict.accuracy.map_lost is None


def test_the_limit_counts_points() -> None:
    accuracy = Accuracy(1, {}, map_points=33.0, map_lost=1.5)
    assert [fault.value for fault in faults(accuracy, Limits(map_points=1.0))] == [1.5]
    assert faults(accuracy, Limits(map_points=2.0)) == []


def test_a_folder_goes_by_names_and_what_is_not_there_is_left_out(
    module: Module, files: tuple[Path, Path], tmp_path: Path
) -> None:
    from PIL import Image

    scenes, truth = files
    for index, image in enumerate(np.load(scenes)["image"][:3]):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    assert len(open_annotated(truth, tmp_path, module).annotations.pictures()) == 3


def test_annotations_of_other_pictures_are_refused(module: Module, files: tuple[Path, Path], tmp_path: Path) -> None:
    scenes, truth = files
    data = json.loads(truth.read_text())
    for row in data["images"]:
        row["id"] += 1000
    for row in data["annotations"]:
        row["image_id"] += 1000
    other = tmp_path / "other.json"
    other.write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"`id` must be a row, 0 to {COUNT - 1}"):
        open_annotated(other, scenes, module)
    with pytest.raises(InputError, match="`file_name` must name a picture there"):
        open_annotated(truth, tmp_path, module)
    with pytest.raises(InputError, match="no detector with named classes"):
        open_annotated(truth, scenes, _without_labels())


def _without_labels() -> Module:
    module = small_module()
    module.metadata.pop("mdc.labels", None)
    return module
