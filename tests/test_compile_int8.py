"""`compile(precision="int8")`: a trained detector keeps what it sees, a dead one is not shipped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from examples.shapes.scenes import CALIBRATION, HELD_OUT, draw_scene
from examples.shapes.shipped import spec_source, weights_file
from mdcompiler.accuracy import AccuracyError
from mdcompiler.calibration import Ranges, calibrate
from mdcompiler.cli import run
from mdcompiler.errors import UnsupportedError
from mdcompiler.passes import quantize_calibrated
from mdcompiler.quantization.options import METHODS
from tests.conftest import Mdc

NAME = "mobiledet-edgetpu-shapes"
SIZE = 160


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures of the calibration set."""
    path = tmp_path_factory.mktemp("calibration") / "scenes.npz"
    np.savez(path, image=np.stack([draw_scene(CALIBRATION + index, SIZE).image for index in range(16)]))
    return path


@pytest.fixture(scope="module")
def artifact(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> mdcompiler.Artifact:
    out = tmp_path_factory.mktemp("int8") / "out"
    return mdcompiler.compile(
        spec_source(NAME), "cpu", out, weights=weights_file(NAME), precision="int8", calibration=scenes
    )


def test_the_manifest_says_what_it_cost(artifact: mdcompiler.Artifact) -> None:
    manifest = artifact.manifest
    assert manifest.precision == "int8"
    accuracy = manifest.facts["accuracy"]
    assert isinstance(accuracy, dict)
    assert accuracy["degraded"] == []
    assert manifest.check == "", "the finished library was compared with the integer reference"
    assert all(kernel.fallback is None for kernel in manifest.kernels)


def test_it_sees_what_the_float_network_sees(artifact: mdcompiler.Artifact, tmp_path: Path) -> None:
    exact = mdcompiler.compile(spec_source(NAME), "cpu", tmp_path / "out", weights=weights_file(NAME))
    pairs = 0
    with artifact.load() as integers, exact.load() as floats:
        for index in range(8):
            image = draw_scene(HELD_OUT + index, SIZE).image
            want = [found for found in floats.detect(image) if found.score > 0.6]
            got = [found for found in integers.detect(image) if found.score > 0.4]
            for one in want:
                near = [other for other in got if np.abs(np.subtract(one.box, other.box)).max() < 0.05]
                assert one.class_index in [other.class_index for other in near]
                pairs += 1
    assert pairs > 5


def test_a_dead_network_is_refused_and_leaves_nothing(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_narrow(*arguments: Any) -> Ranges:
        ranges = calibrate(*arguments)
        return {
            name: (a / 50, b / 50) if name.startswith("C3/b1.fused/") else (a, b) for name, (a, b) in ranges.items()
        }

    monkeypatch.setattr(quantize_calibrated, "calibrate", too_narrow)
    with pytest.raises(
        AccuracyError,
        match=r"C3/b1\.fused: share of values beyond .*enough: .*--keep-float C3/b1\.fused.*--allow-degraded",
    ):
        compile_on(scenes, tmp_path / "out", allow=False)
    assert not (tmp_path / "out").exists()
    shipped = compile_on(scenes, tmp_path / "out", allow=True)
    accuracy = shipped.manifest.facts["accuracy"]
    assert isinstance(accuracy, dict)
    assert accuracy["degraded"]


def compile_on(calibration: Path, out: Path, allow: bool, keep_float: Sequence[str] = ()) -> mdcompiler.Artifact:
    return mdcompiler.compile(
        spec_source(NAME),
        "cpu",
        out,
        weights=weights_file(NAME),
        precision="int8",
        calibration=mdcompiler.Quantize(calibration, keep_float=tuple(keep_float), allow_degraded=allow),
    )


def test_blocks_can_stay_float(scenes: Path, tmp_path: Path) -> None:
    kept = compile_on(scenes, tmp_path / "out", allow=False, keep_float=["C1/b0.conv", "C5/b4.ibn"])
    borders = [kernel for kernel in kept.manifest.kernels if kernel.kind in ("quantize", "dequantize")]
    assert borders, "floats meet integers in kernels of their own"
    assert all(kernel.fallback is None for kernel in kept.manifest.kernels)
    assert kept.manifest.check == "", "the finished library was compared with the integer reference"
    with pytest.raises(UnsupportedError, match=r"no kernel or block called C9/b0\.ibn"):
        compile_on(scenes, tmp_path / "other", allow=False, keep_float=["C9/b0.ibn"])


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_int8_and_calibration_belong_together(precision: str, scenes: Path, tmp_path: Path) -> None:
    calibration = scenes if precision == "fp32" else None
    with pytest.raises(UnsupportedError, match="int8 needs calibration data and fp32 has no use for it"):
        mdcompiler.compile("mobiledet-cpu", "cpu", tmp_path / "out", precision=precision, calibration=calibration)


@pytest.fixture(scope="module")
def integers(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as the quantize stage leaves it, an ONNX file."""
    path = tmp_path_factory.mktemp("quantized") / "network.onnx"
    options = ["--weights", weights_file(NAME), "--calibration", scenes, "--ranges", "min-max", "--allow-degraded"]
    methods = [word for name in METHODS for word in ("--without", name)]
    words = ["compile", spec_source(NAME), "--precision", "int8", *options, *methods, "--stop-after", "quantize"]
    assert run([str(word) for word in [*words, "-o", path]]) == 0
    return path


@pytest.mark.parametrize("said", [(), ("--precision", "int8")])
def test_a_quantized_file_keeps_its_integers(integers: Path, said: tuple[str, ...], tmp_path: Path, mdc: Mdc) -> None:
    code, _, error = mdc("compile", integers, *said, "--target", "null", "-o", tmp_path / "out")
    assert code == 0, error
    manifest = mdcompiler.load(tmp_path / "out").artifact.manifest
    assert manifest.precision == "int8"
    kinds = [kernel.kind for kernel in manifest.kernels]
    assert kinds[0] == "stem"
    assert "generic" not in kinds


def test_a_quantized_file_is_not_quantized_again(integers: Path, scenes: Path, tmp_path: Path, mdc: Mdc) -> None:
    words = ("--precision", "int8", "--calibration", scenes, "-o", tmp_path / "out")
    code, _, error = mdc("compile", integers, *words)
    assert code == 1
    assert "is quantized already. Leave --calibration" in " ".join(error.split())


@pytest.mark.parametrize("target", ["edgetpu", "webgpu", "hexagon-v66"])
def test_a_quantized_file_of_another_scheme_is_refused(target: str, integers: Path, tmp_path: Path, mdc: Mdc) -> None:
    code, _, error = mdc("compile", integers, "--target", target, "-o", tmp_path / "out")
    text = " ".join(error.split())
    assert code == 1, text
    assert "was quantized with the scheme cpu" in text
    assert "Quantize" in text


def test_int8_of_a_float_file_needs_calibration(tmp_path: Path, mdc: Mdc) -> None:
    assert mdc("lower", spec_source(NAME), "-o", tmp_path / "float.onnx")[0] == 0
    code, _, error = mdc("compile", tmp_path / "float.onnx", "--precision", "int8", "-o", tmp_path / "out")
    assert code == 1
    assert "int8 needs calibration data" in " ".join(error.split())
