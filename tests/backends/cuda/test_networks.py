"""Whole networks: their CUDA C runs on this processor, under the library and the fake driver, and gives the reference's
numbers; int8 bit for bit."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import mdcompiler
from examples.jetson.kernels import table
from mdcompiler.artifact import Artifact
from mdcompiler.backends.cuda.fit import MOST_REGISTERS, fitting_kernels
from mdcompiler.compiler import Job
from mdcompiler.progress import silent
from mdcompiler.quantization.options import METHODS, Quantize
from mdcompiler.read_network import Request
from mdcompiler.sampling import seeded_inputs
from mdcompiler.self_check import CHECK_FILE
from mdcompiler.target import find_target
from mdcompiler.tolerance import tolerance_of, within_float_tolerance
from tests.backends.cuda.conftest import target_here
from tests.backends.cuda.emulate import Array, environment, mdc, run_emulated
from tests.c_compiler import compilers

SMALL = Path(__file__).parents[3] / "examples" / "specs" / "small.yaml"
EXAMPLE = SMALL.parents[1] / "jetson"
SIZE = 96

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="threads are emulated on x86-64 only"),
    pytest.mark.usefixtures("_compilers"),
]


@dataclass(frozen=True)
class Case:
    """A network, and what it is compiled for."""

    network: str
    target: str
    precision: str

    @property
    def quantize(self) -> bool:
        return self.precision == "int8"


SMALL_CASES = [
    Case(str(SMALL), "jetson-xavier", "fp32"),
    Case(str(SMALL), "jetson-orin", "int8"),
    Case(str(SMALL), "h100-fp16", "fp32"),
]
LARGE_CASES = [Case("mobiledet-gpu", "jetson-xavier", "fp32"), Case("mobiledet-dsp", "jetson-orin", "int8")]


def compiled(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, raw: bool = True) -> Artifact:
    """The artifact with its check file; nothing is run."""
    target = target_here(case.target)
    monkeypatch.setattr("mdcompiler.finish_artifact._inspect", lambda _: None)
    calibration = None
    if case.quantize:
        pictures = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
        np.savez(folder / "pictures.npz", image=pictures)
        calibration = Quantize(
            folder / "pictures.npz", without=METHODS, ranges="min-max", compared=1, allow_degraded=True
        )
    return mdcompiler.compile(
        case.network,
        target,
        folder / "out",
        size=SIZE,
        raw=raw,
        precision=case.precision,
        calibration=calibration,
    )


def outputs_and_reference(artifact: Artifact, folder: Path) -> list[tuple[Array, Array]]:
    """Each output of the first seeded input with what the reference says of it."""
    got = run_emulated(artifact, seeded_inputs(artifact.manifest.inputs), folder)
    expected = load_file(artifact.directory / CHECK_FILE)
    pairs = [(array, expected[f"0/{name}"]) for name, array in got.items()]
    return [(array.reshape(-1)[:: -(-array.size // want.size)].reshape(want.shape), want) for array, want in pairs]


def check(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = compiled(case, folder, monkeypatch)
    pairs = outputs_and_reference(artifact, folder)
    assert len(pairs) == 2
    for got, want in pairs:
        assert np.ptp(want) > 0
        if case.quantize:
            assert np.array_equal(got, want)
            continue
        assert within_float_tolerance(got, want, tolerance_of(artifact.manifest.target.dtypes))
        assert within_float_tolerance(got, want) == (not case.target.endswith("fp16")), "float16 in memory shows"


@pytest.mark.parametrize("case", SMALL_CASES, ids=lambda case: f"{case.target}-{case.precision}")
def test_a_small_network_equals_the_reference(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(case, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGE_CASES, ids=lambda case: f"{case.network}-{case.target}-{case.precision}")
def test_a_mobiledet_equals_the_reference(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(case, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, dict[str, str]]:
    """A small network that ends with detections, and the variables under which it runs."""
    folder = tmp_path_factory.mktemp("detector")
    with pytest.MonkeyPatch.context() as patch:
        artifact = compiled(Case(str(SMALL), "jetson-xavier", "fp32"), folder, patch, raw=False)
    return artifact, environment(artifact, folder)


def test_detections_verify_profile_and_program(detector: tuple[Artifact, dict[str, str]], tmp_path: Path) -> None:
    """All that a user does with an artifact; post-processing runs on the host."""
    artifact, variables = detector
    out = str(artifact.directory)
    mdc(["verify", out], variables)
    assert "median" in mdc(["bench", out, "--runs", "3"], variables)
    image = seeded_inputs(artifact.manifest.inputs)["image"]
    image.tofile(tmp_path / "image.rgb")
    said = _program(artifact, tmp_path / "image.rgb", variables)
    assert "C1/b0.conv" in said
    assert "head/postprocess" in said


def test_the_example_program_detects_and_tells_errors(
    detector: tuple[Artifact, dict[str, str]], tmp_path: Path
) -> None:
    artifact, variables = detector
    program, library = tmp_path / "detect", artifact.directory / "model.so"
    words = ["-O2", "-Wall", "-Wextra", "-Werror", f"-I{artifact.directory}", str(EXAMPLE / "detect.c"), str(library)]
    command = [*compilers()[0], *words, f"-Wl,-rpath,{artifact.directory}", "-o", str(program)]
    subprocess.run(command, check=True)
    picture = tmp_path / "image.rgb"
    seeded_inputs(artifact.manifest.inputs)["image"].tofile(picture)
    good = _run([str(program), str(picture), str(picture)], variables)
    assert good.returncode == 0, good.stderr
    assert good.stdout.count(f"{picture}: ") == 2
    assert "Fake GPU, compute capability 7.2" in good.stderr
    bad = _run([str(program), str(picture)], {"MDC_LIBCUDA": "/nowhere.so"})
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "Install NVIDIA's driver." in bad.stderr


def test_the_example_lists_kernels(detector: tuple[Artifact, dict[str, str]]) -> None:
    artifact, _ = detector
    head, *rows = table(artifact.manifest.facts).splitlines()
    assert len(rows) == artifact.manifest.facts["kernel_functions"]
    assert all(0 < int(row.split()[-1]) <= 2048 for row in rows)
    assert head.split()[-1] == "resident"


def _program(artifact: Artifact, picture: Path, variables: dict[str, str]) -> str:
    done = _run([str(artifact.directory / "model_run"), "-k", str(picture)], variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_kernel_of_mobiledet_gpu_spills() -> None:
    """At its full size; the other chips refuse a kernel that spills while they compile the networks above."""
    target = find_target("jetson-orin")
    module = Job(Request("mobiledet-gpu"), target).graph_after("place")
    _, kernels = fitting_kernels(module, 1, silent)
    assert len(kernels) > 40
    for kernel in kernels.values():
        assert kernel.resources.spill_bytes == 0
        assert kernel.resources.registers <= MOST_REGISTERS
        assert kernel.resources.shared_bytes <= target.llvm["max_shared_memory_per_block"]
