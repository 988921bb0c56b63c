"""Whole networks on Arm: float within tolerance, int8 equal to the integer reference in every bit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import mdcompiler
from mdcompiler.backends.arm.instructions import by_block, count_instructions, main
from mdcompiler.backends.arm.machine import launcher
from mdcompiler.conformance import MODELS
from mdcompiler.lower import lower
from mdcompiler.quantization.integer_reference import run_integer
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.reference import run_reference
from mdcompiler.spec import load_spec, weight_shapes
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from mdcompiler.weights import seeded_weights
from tests.backends.arm.emulated import emitted, needs_emulator, picture, ran, saved, small_spec
from tests.backends.test_integer_networks import quantized

pytestmark = needs_emulator
NETWORKS = ("mobiledet-cpu", "mobiledet-edgetpu", "mobiledet-dsp", "mobiledet-gpu")


def test_float_network_on_the_oldest_processor(tmp_path: Path) -> None:
    spec = small_spec()
    artifact = mdcompiler.compile(spec, "arm64", tmp_path / "out", raw=True)
    assert artifact.manifest.check == "", "it was run and compared before it took its place"
    expected = run_reference(lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True), picture(spec))
    for threads in (1, 2):
        with artifact.load(threads) as detector:
            got = detector.run(picture(spec))
        for name, want in expected.items():
            assert within_float_tolerance(got[name], want), describe_difference(got[name], want)


@pytest.mark.parametrize("target", ["arm64", "cortex-a76", "neoverse-v1"])
def test_int8_network_is_exact(target: str, tmp_path: Path) -> None:
    spec, rule = small_spec(), find_scheme("cpu")
    module, pipeline = quantized(spec, rule, target)
    expected = run_integer(module, rule, picture(spec))
    manifest = emitted(module, pipeline, tmp_path)
    got = ran(tmp_path, manifest, picture(spec))
    for name, values in got.items():
        assert np.array_equal(values, expected[name]), f"{(values != expected[name]).mean():.2%} of {name} differ"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["cpu", "edgetpu-qat"])
@pytest.mark.parametrize("name", NETWORKS)
def test_zoo_is_exact(name: str, scheme: str, tmp_path: Path) -> None:
    spec, rule = load_spec(name).with_(width=0.5, height=97, width_px=80), find_scheme(scheme)
    module, pipeline = quantized(spec, rule, "neoverse-v1")
    expected = run_integer(module, rule, picture(spec))
    got = ran(tmp_path, emitted(module, pipeline, tmp_path), picture(spec))
    for name, values in got.items():
        assert np.array_equal(values, expected[name]), f"{(values != expected[name]).mean():.2%} of {name} differ"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["arm64", "cortex-a55", "cortex-a76", "neoverse-v1", "arm64-android"])
@pytest.mark.parametrize("name", NETWORKS)
def test_zoo_compiles_and_passes_its_check(name: str, target: str, tmp_path: Path) -> None:
    artifact = mdcompiler.compile(name, target, tmp_path / "out", size=96)
    assert artifact.manifest.check == ""


def test_instructions_are_counted_alike_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(MODELS["inverted-bottleneck"](), tmp_path / "model.onnx")
    artifact = mdcompiler.compile(model, "cortex-a76", tmp_path / "out")
    rows = count_instructions(artifact)
    assert rows == count_instructions(artifact)
    macs = {kernel.name: kernel.macs for kernel in artifact.manifest.kernels}
    assert {row.name for row in rows} <= {*macs, *(row.name for row in rows if "+" in row.name)}
    pointwise = next(row for row in rows if row.name == "expanded")
    assert pointwise.multiply >= macs["expanded"] / 4, "an instruction has four float multiply-adds"
    assert all(row.all > row.multiply + row.memory for row in rows)
    assert sum(row.all for row in by_block(rows)) == sum(row.all for row in rows)
    assert main([str(tmp_path / "out")]) == 0
    assert f"{sum(row.all for row in rows):,}" in capsys.readouterr().out


def test_the_program_says_what_it_wants(tmp_path: Path) -> None:
    model = saved(MODELS["inverted-bottleneck"](), tmp_path / "model.onnx")
    artifact = mdcompiler.compile(model, "cortex-a76", tmp_path / "out", check=False)
    command = [*launcher(artifact.manifest.target), str(artifact.directory / "model_run")]
    usage = subprocess.run(command, capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert "x: float32 [1, 8, 7, 9], 2016 bytes" in usage.stderr
    short = tmp_path / "short.bin"
    short.write_bytes(bytes(4))
    wrong = subprocess.run([*command, str(short)], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "wrong size" in wrong.stderr
