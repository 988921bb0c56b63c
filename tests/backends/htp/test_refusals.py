"""Everything that is refused, and the words that it is refused with. None of it needs QNN."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from mdcompiler.backends.htp import qnn
from mdcompiler.backends.htp.archs import SOC_MODELS, archs_of, qnn_options
from mdcompiler.backends.htp.backend import HtpBackend
from mdcompiler.backends.htp.cut import cut
from mdcompiler.backends.htp.limits import check_kernels
from mdcompiler.backends.htp.measure import compare_kernels, watched_tensors
from mdcompiler.backends.htp.qnn import Context, compile_context, run_context
from mdcompiler.backends.htp.runnable import open_runnable
from mdcompiler.errors import ArtifactError, MissingToolError, TargetError, UnsupportedError
from mdcompiler.kernel import kernels
from mdcompiler.progress import silent
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.target import Target, find_target
from tests.backends.edgetpu.detectors import detector, picture, quantized_detector
from tests.quantization.networks import float_module, quantized

SCHEME = "hexagon-htp"


def target(mcpu: str) -> Target:
    return find_target(SCHEME).model_copy(update={"name": "mine", "llvm": {"mcpu": mcpu}})


def test_versions() -> None:
    assert archs_of(find_target(SCHEME)) == (73,)
    assert archs_of(target("hexagonv68, hexagonv81")) == (68, 81)
    assert qnn_options((68, 81)) == {"htp_arch": "68,81", "soc_model": "30,87"}
    assert sorted(SOC_MODELS) == [68, 69, 73, 75, 79, 81]


@pytest.mark.parametrize("mcpu", ["hexagonv66", "hexagonv85", "73", "", "hexagonv73,"])
def test_a_version_that_qnn_would_take_for_another_is_refused(mcpu: str) -> None:
    with pytest.raises(TargetError, match=r"reading target mine: mcpu is '.*'; HTP contexts are made for hexagonv68, "):
        archs_of(target(mcpu))


def test_a_version_named_twice_is_refused() -> None:
    with pytest.raises(TargetError, match="mcpu names a version twice: hexagonv73, hexagonv73"):
        archs_of(target("hexagonv73,hexagonv73"))


def test_versions_are_chosen_behind_the_targets_name() -> None:
    chosen = find_target("hexagon-htp@v68+v81")
    assert (chosen.name, archs_of(chosen)) == ("hexagon-htp@v68+v81", (68, 81))
    variants = find_target(SCHEME).variants
    assert {archs_of(find_target(f"hexagon-htp@{word}")) for word in variants} == {(arch,) for arch in SOC_MODELS}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "hexagon-htp@v66",
            r"'v66' is no variant of hexagon-htp; there are v68, v69, v73, v75, v79, v81, several with",
        ),
        ("hexagon-htp@v73+", r"'' is no variant of hexagon-htp; .* Choose one, or leave @v73\+ out\."),
        ("cpu@v73", r"'v73' is no variant of cpu; it has none\."),
        ("hexagon@v73", r"target 'hexagon' is unknown; there are cpu, "),
    ],
)
def test_a_variant_that_is_not_there_is_refused(name: str, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        find_target(name)


def test_a_target_file_has_variants_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, backend: htp, llvm: {mcpu: hexagonv73}, variants: {old: hexagonv68}}")
    assert archs_of(find_target(f"{path}@old")) == (68,)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [(find_target(SCHEME), r"pip install mdcompiler\[htp\]"), (target("hexagonv66"), "HTP contexts are made for")],
)
def test_what_cannot_be_compiled_is_refused_before_anything_is_read(
    chosen: Target, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(qnn, "find_spec", lambda name: None)
    with pytest.raises((MissingToolError, TargetError), match=said):
        mdcompiler.compile("no such spec", chosen, tmp_path / "out", precision="int8", calibration=tmp_path)


def test_reasons_of_kernels() -> None:
    backend, htp = HtpBackend(), find_target(SCHEME)

    def reasons(**changes: Any) -> list[str]:
        found = float_module(detector(**changes), raw=False)
        said = [backend.why_not(kernel, htp) for kernel in kernels(found.graph)]
        return [reason for reason in said if reason]

    (only,) = reasons()
    assert "head/postprocess decodes boxes in float, which the phone's processor does" in only
    assert reasons(defaults={"activation": "hard-swish"}) == [only]
    swish = reasons(defaults={"activation": "swish"})
    assert not any("C3/b0.ibn/se/sigmoid" in reason for reason in swish), "a gate is no swish"
    assert any("is a swish, two operators of which QNN quantizes neither alone; write hard-swish" in x for x in swish)


def test_operators_without_an_integer_form() -> None:
    from mdcompiler.conformance import MODELS
    from mdcompiler.module import Module

    module = Module.from_onnx(MODELS["odd-operators"](), find_target(SCHEME))
    said = [HtpBackend().why_not(kernel, module.target) for kernel in kernels(module.graph)]
    assert any("pooled (MaxPool) has no integer form in this toolkit" in str(reason) for reason in said)


def test_wide_activations_are_refused() -> None:
    module, _ = quantized(float_module(detector()), SCHEME, {"C1/b1.tucker": "int16"})
    with pytest.raises(UnsupportedError, match=r"C1/b1.tucker/\w+/conv has 16-bit activations, and QNN takes no conv"):
        check_kernels(cut(module).unit)


def test_a_float_network_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"the network is float, and the tensor unit gets integers\. Add `--"):
        cut(float_module(detector()))


def test_integers_behind_floats_are_refused() -> None:
    module, _ = quantized(float_module(detector()), "cpu", {"C2/b0.fused": "float"})
    with pytest.raises(UnsupportedError, match=r"C3/b0.ibn/expand computes in integers behind .*C2/b0.fused"):
        cut(module)


def test_an_operation_that_is_off_is_named() -> None:
    """The reference's own integers pass; one that is moved by two steps does not."""
    module = quantized_detector(detector(), SCHEME)
    found, reference = cut(module), IntegerReference(module, find_scheme(SCHEME))
    values = {**picture(detector()), **reference.run(picture(detector()))}
    assert {tensor.name for tensor in watched_tensors(found)} <= set(values)
    rows = compare_kernels(reference, found, values)
    assert {row.differing for row in rows.values()} == {0}
    assert sum(row.elements for row in rows.values()) > 10_000
    name = "C3/b0.ibn/dw/act/q"
    values[name] = np.where(values[name] > 100, values[name] - 2, values[name] + 2)
    with pytest.raises(UnsupportedError, match=r"C3/b0.ibn/dw/conv is 2 steps from the integer reference in \d+ of"):
        compare_kernels(reference, found, values)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(qnn, "find_spec", lambda name: None)
    words = r"needs the package onnxruntime-qnn .* pip install mdcompiler\[htp\]"
    backend, module = HtpBackend(), quantized_detector(detector(), SCHEME)
    module.target = find_target(SCHEME)
    assert "pip install mdcompiler[htp]" in backend.why_not_run(module.target)
    with pytest.raises(MissingToolError, match=words):
        backend.emit(module, silent, 1)
    with pytest.raises(MissingToolError, match=words):
        backend.load(tmp_path, {}, 1)


def _play(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program stand in for QNN."""
    (folder / "played_qnn.py").write_text(program)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(qnn, "WORKER", "played_qnn")
    monkeypatch.setattr(qnn, "find_spec", lambda name: object())


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            "import sys; print('no such operator'); sys.exit(1)",
            "QNN ended with 1: no such operator. Change the network",
        ),
        ("import os; os.abort()", "QNN ended with -6"),
        ("print('done')", "it (did not write both of its files|gave no outputs): done"),
    ],
)
def test_its_failure_is_told(program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _play(tmp_path, program, monkeypatch)
    with pytest.raises(UnsupportedError, match=f"compiling for HTP: {said}"):
        compile_context(b"", qnn_options((73,)))
    with pytest.raises(UnsupportedError, match=f"running on HTP's emulator: {said}"):
        run_context(Context(b"", b""), [np.zeros(1, np.uint8)], 1)


def test_a_compiler_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _play(tmp_path, "import time; time.sleep(60)", monkeypatch)
    monkeypatch.setattr(qnn, "_LIMIT_SECONDS", 0.2)
    with pytest.raises(UnsupportedError, match=r"compiling for HTP: .* timed out after 0\.2 seconds"):
        compile_context(b"", qnn_options((73,)))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "its fact `unit_inputs` lists no names"),
        ({"unit_inputs": ["image"], "unit_outputs": [3]}, "its fact `unit_outputs` lists no names"),
        ({"unit_inputs": ["image"], "unit_outputs": ["y"], "archs": [66]}, r"its fact `archs` is \[66\]"),
    ],
)
def test_a_manifest_without_names_is_refused(
    facts: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qnn, "find_spec", lambda name: object())
    with pytest.raises(ArtifactError, match=said):
        open_runnable(tmp_path, {"facts": facts, "outputs": []})
