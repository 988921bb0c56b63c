"""From a spec to a context binary that the emulator runs; the parts beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mdcompiler
from mdcompiler.artifact import Artifact
from mdcompiler.backends.htp.cut import cut, host_model, unit_model
from mdcompiler.backends.htp.describe import ends_of, header, readme
from mdcompiler.quantization.integer_reference import run_integer
from mdcompiler.quantization.options import Quantize
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.reference import run_reference
from mdcompiler.spec import Spec
from tests.backends.edgetpu.detectors import detector, picture, quantized_detector
from tests.c_compiler import compilers


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Quantize:
    path = tmp_path_factory.mktemp("calibration") / "pictures.npz"
    size = detector().input
    shape = (4, size.height, size.width, 3)
    np.savez(path, image=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    return Quantize(path, allow_degraded=True)


def compiled(spec: Spec, target: str, calibration: Quantize, out: Path) -> Artifact:
    return mdcompiler.compile(spec, target, out, precision="int8", calibration=calibration)


def test_both_sides_of_the_cut_together_are_the_network() -> None:
    module, inputs = quantized_detector(detector(), "hexagon-htp"), picture(detector())
    found = cut(module)
    unit, host = unit_model(module, found), host_model(module, found)
    assert host is not None
    for model in (unit, host):
        onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in unit.graph.node} == {""}
    want = run_integer(module, find_scheme("hexagon-htp"), inputs)
    handed = {tensor.name: want[tensor.name] for tensor in found.handed}
    assert [item.name for item in unit.graph.output] == list(handed)
    for name, array in run_reference(host, handed).items():
        np.testing.assert_array_equal(array, want[name])


def test_the_header_is_c(tmp_path: Path) -> None:
    inputs, outputs = ends_of(cut(quantized_detector(detector(), "hexagon-htp")))
    (tmp_path / "model.h").write_text(header(inputs, outputs, (73, 75)))
    (tmp_path / "main.c").write_text(
        '#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n#include "model.h"\n'
        "static MODEL_INPUT_0_TYPE image[MODEL_INPUT_0_ELEMENTS];\n"
        "static const int64_t shape[] = MODEL_INPUT_0_SHAPE;\n"
        'int main(void) { printf("%s %d %d %.9g %d %zu", MODEL_INPUT_0_NAME, (int)shape[1], MODEL_OUTPUTS, '
        "MODEL_OUTPUT_3_SCALE, MODEL_INPUT_0_ZERO_POINT, sizeof image); return 0; }\n"
    )
    subprocess.run([*compilers()[0], "-Wall", "-Werror", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    said = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert said == "image 47 4 0.00390625 127 5640"
    text = readme(inputs, outputs, (73, 75), "2.7.0", host=True)
    assert "| `class_scores/q` | uint8 | 1x594x4 | 0.00390625 | 0 |" in text
    assert "`host.onnx` takes the outputs" in text


@pytest.fixture(scope="module")
def artifact(qnn: None, calibration: Quantize, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compiled(detector(), "hexagon-htp", calibration, tmp_path_factory.mktemp("htp") / "out")


def test_the_artifact_is_proved(artifact: Artifact) -> None:
    names = {entry.name for entry in artifact.manifest.files}
    assert {"model.onnx", "model_qnn.bin", "network.onnx", "host.onnx", "model.h", "README.md"} <= names
    assert artifact.manifest.check == "", "the finished artifact was run"
    facts: dict[str, Any] = artifact.manifest.facts
    proof = facts["emulated"]["v73"]
    assert 0 < proof["differing"] < 0.03 * proof["elements"]
    assert (proof["largest"], proof["fusion_steps"]) == (1, 0)
    unit = {kernel.name for kernel in artifact.manifest.kernels} - set(facts["host"])
    assert set(proof["kernels"]) == unit
    assert [kernel.name for kernel in artifact.manifest.kernels if kernel.fallback] == ["head/postprocess"]


def test_the_artifact_detects(artifact: Artifact) -> None:
    with mdcompiler.load(artifact.directory) as opened:
        found = opened.detect(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    assert found
    assert {item.class_name for item in found} <= {"circle", "square", "star"}


def test_curves_are_fused_and_close(qnn: None, calibration: Quantize, tmp_path: Path) -> None:
    spec = detector(defaults={"activation": "hard-swish"})
    facts: dict[str, Any] = compiled(spec, "hexagon-htp", calibration, tmp_path / "out").manifest.facts
    proof = facts["emulated"]["v73"]
    assert proof["largest"] == 1
    assert 0 < proof["fusion_steps"] < 2


@pytest.mark.slow
def test_several_versions_in_one_file(qnn: None, calibration: Quantize, artifact: Artifact, tmp_path: Path) -> None:
    many = compiled(detector(), "hexagon-htp@v68+v73+v81", calibration, tmp_path / "out")
    facts: dict[str, Any] = many.manifest.facts
    assert list(facts["emulated"]) == ["v68", "v73", "v81"]
    assert {proof["largest"] for proof in facts["emulated"].values()} == {1}
    sizes = [(item.directory / "model_qnn.bin").stat().st_size for item in (artifact, many)]
    assert sizes[1] > 2 * sizes[0], "a part for each"
    assert mdcompiler.load(many.directory).run(picture(detector()))["count"][0] > 0
