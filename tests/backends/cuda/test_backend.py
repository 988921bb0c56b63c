"""What the backend says of itself: targets, reasons, facts, estimates; and how a program is divided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mdcompiler
from mdcompiler.artifact import Artifact
from mdcompiler.backend import block_costs, why_not_run
from mdcompiler.backends.clib.program import Call, Program, View
from mdcompiler.backends.cuda import fit
from mdcompiler.backends.cuda.compiled import CompiledKernel
from mdcompiler.backends.cuda.costs import roof_us
from mdcompiler.backends.cuda.fit import fitting_kernels
from mdcompiler.backends.cuda.ptxas import Resources
from mdcompiler.backends.gpu.device_program import DeviceCopy, divide
from mdcompiler.backends.gpu.traits import traits_of
from mdcompiler.compiler import Job
from mdcompiler.conformance import MODELS, try_model
from mdcompiler.errors import InternalError, UnsupportedError
from mdcompiler.explain import explain_job
from mdcompiler.latency.chip import find_chip
from mdcompiler.module import Module
from mdcompiler.progress import silent
from mdcompiler.read_network import Request
from mdcompiler.registry import backend
from mdcompiler.spec import zoo_names
from mdcompiler.target import find_target
from mdcompiler.tolerance import Allowance, stored_share
from tests.backends.cuda.conftest import target_here
from tests.backends.cuda.emulate import fake_driver

SMALL = Path(__file__).parents[3] / "examples" / "specs" / "small.yaml"
CUDA = backend("cuda")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory, _compilers: None) -> Artifact:
    return mdcompiler.compile(SMALL, "jetson-orin", tmp_path_factory.mktemp("orin") / "out")


@pytest.mark.parametrize("network", zoo_names())
def test_every_zoo_network_has_a_kernel_for_every_block(network: str) -> None:
    explanation = explain_job(Job(Request(network), find_target("jetson-xavier")))
    assert [row for row in explanation.refusals if row.by == "cuda"] == []


@pytest.mark.parametrize(("name", "units", "l2_kib"), [("jetson-xavier", 8, 512), ("jetson-orin", 16, 4096)])
def test_a_chip_reaches_the_choice_of_tiles(name: str, units: int, l2_kib: int) -> None:
    target = find_target(name)
    traits = traits_of(target)
    assert (traits.units, target.l2_bytes) == (units, l2_kib * 1024)
    assert (traits.shared_bytes, traits.max_threads, traits.dot4) == (48 * 1024, 1024, "dp4a")
    assert traits_of(find_target(f"{name}-fp16")).element == "float16"
    assert find_target(f"{name}-fp16").llvm == target.llvm


def test_an_operator_without_a_kernel_is_named_with_the_reason() -> None:
    target = target_here("jetson-orin")
    with pytest.raises(UnsupportedError, match=r"bent has no kernel: Softplus: .* Change the block in the spec, or"):
        try_model(CUDA, target, MODELS["odd-operators"]())


def test_facts_are_those_of_ptxas_and_of_the_plan(artifact: Artifact) -> None:
    facts: dict[str, Any] = dict(artifact.manifest.facts)
    rows = facts["kernels_on_gpu"]
    assert len(rows) == facts["kernel_functions"] <= facts["launches"]
    assert facts["most_registers"] == max(row["registers"] for row in rows.values())
    assert 16 <= facts["most_registers"] <= fit.MOST_REGISTERS
    assert facts["spill_bytes"] == 0
    assert 0 < facts["most_shared_bytes"] <= facts["shared_bytes_allowed"] == 48 * 1024
    assert facts["arena_lower_bound_bytes"] <= facts["arena_bytes"]
    assert facts["arena_share_of_l2"] == round(facts["arena_bytes"] / (4 << 20), 3)
    assert {entry.name for entry in artifact.manifest.files} == {
        *("model.so", "model_run", "model.h", "model.cu", "model.ptx", "model.cubin", "check.safetensors")
    }
    assert artifact.manifest.check == "", "the check waits for the device"


def test_host_code_is_for_the_target(artifact: Artifact) -> None:
    for name in ("model.so", "model_run"):
        elf = (artifact.directory / name).read_bytes()
        assert elf[:4] == b"\x7fELF"
        assert int.from_bytes(elf[18:20], "little") == 183, "EM_AARCH64"
    assert int.from_bytes((artifact.directory / "model.cubin").read_bytes()[18:20], "little") == 190, "EM_CUDA"
    assert (artifact.directory / "model.ptx").read_text().startswith(".version 7.4\n.target sm_87\n")


def test_estimates_add_up_the_roofline(artifact: Artifact) -> None:
    costs = block_costs(CUDA, artifact)
    assert costs is not None
    assert (costs.unit, costs.how) == ("us", "estimated")
    assert list(costs.blocks) == list(dict.fromkeys(row.block or row.name for row in artifact.manifest.kernels))
    moved: Any = artifact.manifest.facts["bytes_moved"]
    stem = next(row for row in artifact.manifest.kernels if row.block == "C1/b0.conv")
    expected = max(stem.macs / 2662e3, moved[stem.name] / 204.8e3)
    assert costs.blocks["C1/b0.conv"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("share", "float32", "float16"), [(5e-5, True, True), (5e-3, False, True), (2e-2, False, False)]
)
def test_float16_in_memory_may_differ_more(share: float, float32: bool, float16: bool) -> None:
    want = np.linspace(0, 1, 100, dtype=np.float32)
    for name, allowed in (("jetson-orin", float32), ("jetson-orin-fp16", float16)):
        limit = Allowance.measured(1.0, 2e-5).at_least(stored_share(find_target(name).dtypes))
        assert (limit.fault(want + np.float32(share), want) is None) is allowed


def test_the_roofline_has_two_sides() -> None:
    chip = find_chip("jetson-xavier")
    assert roof_us(chip, "fp32", 705_000, 0) == pytest.approx(1.0)
    assert roof_us(chip, "fp32", 705_000, 274_000) == pytest.approx(2.0)
    assert roof_us(chip, "int8", 705_000, 0) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("capability", "reason"),
    [("8.7", ""), ("9.0", ""), ("7.2", r"needs compute capability 8.7; this GPU has 7.2. Compile for a target")],
)
def test_a_gpu_that_is_here(capability: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_LIBCUDA", str(fake_driver()))
    monkeypatch.setenv("FAKE_CUDA_CAPABILITY", capability)
    said = why_not_run(CUDA, target_here("jetson-orin"))
    assert reason in said if reason else said == ""


def test_why_nothing_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_LIBCUDA", str(tmp_path / "none.so"))
    said = why_not_run(CUDA, target_here("jetson-orin"))
    assert "no NVIDIA GPU for jetson-orin: " in said
    assert "none.so (NVIDIA's driver) cannot be opened. Copy the artifact to a machine with one." in said
    foreign = find_target("jetson-orin").model_copy(update={"zig": "riscv64-linux-gnu"})
    assert "processor of the family riscv64" in why_not_run(CUDA, foreign)
    monkeypatch.setenv("MDC_LIBCUDA", str(fake_driver()))
    monkeypatch.setenv("FAKE_CUDA_FAIL", "cuInit:100:1")
    assert "cuInit answers with error 100" in why_not_run(CUDA, target_here("jetson-orin"))


def test_where_kernels_spill_the_next_tile_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler is made up: it spills under the first tile of every pointwise convolution."""
    refused: set[str] = set()

    def compile_kernels(functions: Any, *_: object) -> dict[str, CompiledKernel]:
        first = not refused
        if first:
            refused.update(symbol for symbol in functions if symbol.startswith("gpu_pointwise"))
        return {symbol: _kernel(symbol, 8 if symbol in refused else 0) for symbol in functions}

    monkeypatch.setattr(fit, "compile_kernels", compile_kernels)
    _, kernels_made = fitting_kernels(_placed(), 1, silent)
    assert refused
    assert not refused & kernels_made.keys()
    assert any(symbol.startswith("gpu_pointwise") for symbol in kernels_made)


def test_a_kernel_that_fits_under_no_tile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_kernels(functions: Any, *_: object) -> dict[str, CompiledKernel]:
        return {symbol: _kernel(symbol, 8 * (not hasattr(source, "tile"))) for symbol, source in functions.items()}

    monkeypatch.setattr(fit, "compile_kernels", compile_kernels)
    with pytest.raises(InternalError, match=r"jetson-orin: \w+: 8 bytes of registers spilled to memory; allowed 0"):
        fitting_kernels(_placed(), 1, silent)


def _placed() -> Module:
    return Job(Request(SMALL), find_target("jetson-orin")).graph_after("place")


def _kernel(symbol: str, spill_bytes: int) -> CompiledKernel:
    return CompiledKernel(symbol, "", "", (1, 1, 1), (32, 1, 1), Resources(32, 0, 0, spill_bytes))


@dataclass(frozen=True)
class Named:
    """A kernel that is never written."""

    symbol: str

    def write(self) -> Any:
        raise NotImplementedError


def launch(name: str, reads: tuple[str, ...], writes: tuple[str, ...]) -> Call:
    return Call(name, "", reads, writes, function=Named(name))


def test_buffers_of_the_device_and_of_the_host_are_kept_apart() -> None:
    program = Program(["image"], ["boxes", "raw"], {"scores": 400, "scratch": 48})
    program.steps += [
        launch("first", ("image",), ("scores",)),
        launch("second", ("scores",), ("raw",)),
        Call("nms", "mdc_detect({0}, {1}, {2})", ("scores", "raw"), ("scratch", "boxes")),
    ]
    made = divide(program, {"image": 300, "boxes": 16, "raw": 80}, 256)
    assert [step.kernel for step in made.steps] == ["first", "second"]
    assert [call.kernel for call in made.host] == ["nms"]
    assert (list(made.uploads), list(made.downloads)) == (["image"], ["scores", "raw"])
    assert made.plan.offsets.keys() == {"image", "scores", "raw"}
    assert made.pinned == {"image": 0, "scores": 512, "raw": 1024}
    assert (made.pinned_bytes, made.host_offsets, made.host_bytes) == (1280, {"scratch": 0}, 256)


def test_memory_that_cannot_be_shared_is_copied_on_the_device() -> None:
    program = Program(["x"], ["y"], {"whole": 64})
    program.steps += [View("reshape", "y", "x", 0, 64, part_is_new=True)]
    (copy,) = divide(program, {"x": 64, "y": 64}, 256).steps
    assert copy == DeviceCopy("reshape", "x", 0, "y", 0, 64)


def test_the_host_comes_last() -> None:
    program = Program(["x"], ["y"], {"between": 64})
    program.steps += [Call("host", "f({0}, {1})", ("x",), ("between",)), launch("device", ("between",), ("y",))]
    with pytest.raises(InternalError, match=r"the host's calls \(host\) must come after all launches"):
        divide(program, {"x": 64, "y": 64}, 256)


def test_outputs_live_to_the_end() -> None:
    """No later buffer may take the memory of a result that is fetched at the end."""
    program = Program(["x"], ["y", "z"], {"between": 64})
    program.steps += [launch("a", ("x",), ("y",)), launch("b", ("x",), ("between",)), launch("c", ("between",), ("z",))]
    made = divide(program, {"x": 64, "y": 64, "z": 64}, 64)
    assert made.plan.offsets["y"] != made.plan.offsets["z"]
    assert made.plan.offsets["y"] != made.plan.offsets["between"]
