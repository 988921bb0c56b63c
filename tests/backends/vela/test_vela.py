"""Arm's compiler for Ethos-U: the same file compiled, its estimates by kernel, its failures told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from mdcompiler.backend import Emission
from mdcompiler.backends.vela import vela
from mdcompiler.backends.vela.backend import VelaBackend
from mdcompiler.backends.vela.report import read_layers, read_summary
from mdcompiler.backends.vela.vela import check_vela, run_vela
from mdcompiler.errors import MissingToolError, UnsupportedError
from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.progress import silent
from mdcompiler.target import find_target
from tests.backends.edgetpu.detectors import detector, expected, manifest_of, picture, quantized_detector
from tests.quantization.networks import float_module

pytest.importorskip("ai_edge_litert", reason="needs the extra `vela`")


@pytest.fixture(scope="module")
def module() -> Module:
    found = quantized_detector(detector())
    found.target = find_target("ethos-u55-256")
    return found


@pytest.fixture(scope="module")
def emission(module: Module) -> Emission:
    pytest.importorskip("ethosu.vela", reason="needs the extra `vela`")
    return VelaBackend().emit(module, silent, 1)


def test_the_file_is_compiled(emission: Emission) -> None:
    assert set(emission.files) == {"model.tflite", "model_vela.tflite"}
    assert b"ethos-u" in emission.files["model_vela.tflite"]
    assert emission.facts["estimate"]["accelerator"] == "Ethos_U55_256"


def test_every_layer_finds_its_kernel(module: Module, emission: Emission) -> None:
    layers: list[dict[str, Any]] = emission.facts["layers"]
    names = {kernel.name for kernel in kernels(module.graph)}
    assert {layer["kernel"] for layer in layers} <= names
    macs = {layer["kernel"]: layer["macs"] for layer in layers if layer["operator"] == "Conv2D"}
    exact = {kernel.name: kernel.macs for kernel in kernels(module.graph) if kernel.name in macs}
    # Vela counts the channels of the picture's convolution by fours
    assert {name for name in macs if macs[name] != exact[name]} <= {"C1/b0.conv/conv", "C3/b0.ibn/se"}
    host = {layer["operator"] for layer in layers if not layer["on_npu"]}
    assert host == {"Dequantize", "Custom"}
    assert emission.facts["estimate"]["latency_us"] > 0
    assert emission.facts["arena_bytes"] == emission.facts["estimate"]["sram_bytes"] > 0


def test_the_artifact_runs_with_litert(module: Module, emission: Emission, tmp_path: Path) -> None:
    for name, content in emission.files.items():
        (tmp_path / name).write_bytes(content)
    runnable = VelaBackend().load(tmp_path, manifest_of(module, emission), 1)
    want = expected(module, "edgetpu-ptq", picture(detector()))
    for name, got in runnable.run(picture(detector())).items():
        np.testing.assert_array_equal(got, want[name], err_msg=name)
    runnable.close()


def test_reasons() -> None:
    backend, target = VelaBackend(), find_target("ethos-u65-512")
    spec = detector(defaults={"activation": "hard-swish"})
    reasons = [backend.why_not(kernel, target) for kernel in kernels(float_module(spec, raw=False).graph)]
    said = " ".join(reason for reason in reasons if reason)
    assert "this HARD_SWISH has no exact integer form in a .tflite file; build the block " in said
    assert "head/postprocess decodes boxes in float, which the host does" in said


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match=r"pip install mdcompiler\[vela\]"):
        check_vela("ethos-u55-256")
    with pytest.raises(MissingToolError, match=r"pip install mdcompiler\[vela\]"):
        mdcompiler.compile("no such spec", "ethos-u55-256", precision="int8", calibration="none")


def test_unknown_accelerators_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "find_spec", lambda name: object())
    with pytest.raises(
        UnsupportedError, match="compiling for ethos-u99: Vela has no such accelerator; there are ethos-u55-32"
    ):
        check_vela("ethos-u99")


def _play(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program stand in for Vela."""
    (folder / "played_vela.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(vela, "MODULE", "played_vela")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; print('Error: invalid tflite file'); sys.exit(1)", "it ended with 1: Error: invalid tflite file"),
        ("print('nothing to do')", "it did not write all of its files: nothing to do"),
    ],
)
def test_its_failure_is_told(program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _play(tmp_path, program, monkeypatch)
    with pytest.raises(UnsupportedError, match=said):
        run_vela(b"no model", "ethos-u55-256")


def test_a_report_of_another_version_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"a summary of 0 rows is not what versions 5\.x write"):
        read_summary("")
    with pytest.raises(UnsupportedError, match="KeyError: 'core_clock'"):
        read_summary("accelerator_configuration,system_config\nEthos_U55_256,x\n")
    with pytest.raises(UnsupportedError, match="KeyError"):
        read_layers("Name,Target\ny,NPU\n", {})
