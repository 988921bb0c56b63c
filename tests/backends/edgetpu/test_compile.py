"""`mdc compile --target edgetpu` from the command line to an artifact that detects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from mdcompiler.compiler import Job
from mdcompiler.errors import UnsupportedError
from mdcompiler.explain import explain_job
from mdcompiler.read_network import Request
from mdcompiler.target import find_target, shipped_targets
from tests.backends.edgetpu.detectors import detector

pytest.importorskip("ai_edge_litert", reason="needs the extra `edgetpu`")
MDC = Path(sys.executable).with_name("mdc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec, calibration data, and the artifact made of them."""
    path = tmp_path_factory.mktemp("compile")
    spec = detector()
    (path / "small.yaml").write_text(spec.to_yaml())
    shape = (4, spec.input.height, spec.input.width, 3)
    np.savez(path / "pictures.npz", image=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    options = ["--precision", "int8", "--calibration", "pictures.npz", "--allow-degraded", "-o", "out"]
    mdc(path, "compile", "small.yaml", "--target", "edgetpu", *options)
    return path


def mdc(folder: Path, *words: str) -> str:
    done = subprocess.run([MDC, *words], cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_directory_has_file_manifest_and_check(folder: Path) -> None:
    written = {path.name for path in (folder / "out").iterdir()}
    assert written >= {"model.tflite", "manifest.json", "check.safetensors"}
    manifest: dict[str, Any] = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["check"] == "", "the finished file was compared with the integer reference"
    facts = manifest["facts"]
    assert {status for *_, status in facts["mapping"]} == {
        "Mapped to Edge TPU",
        "Operation is working on an unsupported data type",
    }
    assert [row["operator"] for row in facts["host"]] == ["DEQUANTIZE", "DEQUANTIZE", "CUSTOM"]
    assert facts["memory"]["streamed_bytes"] == 0 < facts["memory"]["resident_bytes"]
    fallbacks = {kernel["name"]: kernel["fallback"] for kernel in manifest["kernels"] if kernel["fallback"]}
    assert list(fallbacks) == ["head/postprocess"]


def test_the_artifact_detects_and_is_verified(folder: Path) -> None:
    assert "the outputs are the reference's" in mdc(folder, "verify", "out")
    with mdcompiler.load(folder / "out") as opened:
        image = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        found = opened.detect(image)
        assert found
        assert {item.class_name for item in found} <= {"circle", "square", "star"}


def test_float_is_refused_with_the_command_to_use(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="Add `--precision int8 --calibration DIR`"):
        mdcompiler.compile(detector(), "edgetpu", tmp_path / "float", check=False)
    assert not (tmp_path / "float").exists()


def test_explain_lists_what_does_not_map() -> None:
    found = explain_job(Job(Request(detector()), find_target("edgetpu")))
    assert [(row.by, row.where) for row in found.refusals] == [("edgetpu", "head/postprocess")]
    curves = explain_job(Job(Request(detector(defaults={"activation": "hard-swish"})), find_target("edgetpu")))
    blocks = {"/".join(row.where.split("/")[:2]) for row in curves.refusals}
    assert blocks == {"C1/b0.conv", "C1/b1.tucker", "C2/b0.fused", "C3/b0.ibn", "head/postprocess"}


@pytest.mark.parametrize(("name", "scheme"), [("edgetpu", "edgetpu-ptq"), ("edgetpu-qat", "edgetpu-qat")])
def test_targets(name: str, scheme: str) -> None:
    target = shipped_targets()[name]
    assert (target.backend, target.scheme) == ("edgetpu", scheme)
    assert "float32" not in target.dtypes
