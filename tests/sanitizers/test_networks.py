"""Networks under AddressSanitizer and ThreadSanitizer: every load and store of kernels, runtime and generated C.

Each step may touch what it says it reads and writes, nothing else; what it finds there first is NaN. So a kernel that
leaves its tensors, a plan that lets two of them meet, and a value that nobody wrote are all seen.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pytest

from mdcompiler.backends.clib.emit_c import implementation
from mdcompiler.backends.clib.emit_library import CLibrary
from mdcompiler.backends.clib.plan import buffer_lifetimes
from mdcompiler.backends.clib.program import Call
from mdcompiler.backends.cpu import CpuBackend
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.pipeline import Pipeline
from mdcompiler.quantization.integer_reference import run_integer
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.target import find_target
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from tests.quantization.networks import quantized
from tests.sanitizers.guarded import Array, link, sanitized_library
from tests.sanitizers.networks import NETWORKS, Network
from tests.sanitizers.sanitizer import FOUND, compile_sanitized, run_sanitized

PREPARE = [item for item in builtin_passes() if item.stage in ("read", "simplify", "fuse")]
BY_NAME = {network.name: network for network in NETWORKS}
SMALL_VECTORS = "x86-64-v2"
"""ThreadSanitizer sees accesses of up to 16 bytes."""


@dataclass(frozen=True)
class Case:
    """A placed network, what goes in and what must come out."""

    network: Network
    module: Module
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]


def case(network: Network, precision: str, target: str = "cpu") -> Case:
    model = network.model()
    module, pipeline = Module.from_onnx(model, find_target(target)), Pipeline(verify=0)
    pipeline.run(module, PREPARE)
    inputs = sample_inputs(module)
    expected = run_reference(model, inputs)
    if precision == "int8":
        pipeline.run(module, [MoveSigmoid()])
        quantized(module)
        expected = run_integer(module, find_scheme("cpu"), inputs)
    pipeline.run(module, CpuBackend().passes(module.target))
    return Case(network, module, inputs, expected)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_no_step_leaves_its_memory(network: Network, precision: str, tmp_path: Path) -> None:
    made = case(network, precision)
    library = sanitized_library(made.module, "address", network.rows)
    assert bool(library.facts["fallback_kernels"]) is network.fallback
    assert bool(library.facts["fused_chains"]) is (network.rows is not None)
    got = link(library, "address", tmp_path / "program").run(made.inputs, network.threads)
    assert got
    for name, values in got.items():
        assert within_float_tolerance(values, made.expected[name]), describe_difference(values, made.expected[name])


@pytest.mark.usefixtures("_thread")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_no_two_threads_meet(precision: str, tmp_path: Path) -> None:
    made = case(BY_NAME["strips"], precision, SMALL_VECTORS)
    library = sanitized_library(made.module, "thread", made.network.rows)
    program = link(library, "thread", tmp_path / "program")
    for name, values in program.run(made.inputs, threads=3, runs=30).items():
        assert within_float_tolerance(values, made.expected[name]), describe_difference(values, made.expected[name])


@pytest.mark.usefixtures("_thread")
def test_a_step_that_does_the_rows_of_another_thread_is_found(tmp_path: Path) -> None:
    library, made = _library("strips", "thread")
    steps = [number for number, call in enumerate(library.source.calls) if call.tasks > 1]
    every_row = re.compile(rf"(static int step_(?:{'|'.join(map(str, steps))})\(.*\{{\n)")
    program = link(library, "thread", tmp_path / "program", lambda text: every_row.sub(r"\1    begin = 0;\n", text))
    done = program.started(made.inputs, threads=3, runs=30)
    assert done.returncode == FOUND
    assert "ThreadSanitizer: data race" in done.stderr


def test_a_row_too_many_is_found_and_its_kernel_named(tmp_path: Path) -> None:
    """In convolutions of each kind; some kernels do nothing beyond their last row, so a few of a kind are tried."""
    library, made = _library("raw", "address")
    for kind in ("conv", "pointwise", "depthwise"):
        calls = [(n, call) for n, call in enumerate(library.source.calls) if call.symbols and kind in call.symbols[0]]
        assert any(
            _finds_a_row_too_many(library, made, number, call, tmp_path / f"{kind}{number}")
            for number, call in calls[:4]
        ), kind


def _finds_a_row_too_many(library: CLibrary, made: Case, number: int, call: Call, folder: Path) -> bool:
    """Whether one iteration more of a call is seen."""
    row = re.compile(rf"(?<=\{{step_{number}, ){call.tasks},")
    program = link(library, "address", folder, lambda text: row.sub(f"{call.tasks + 1},", text))
    done = program.started(made.inputs)
    said = re.search(r"AddressSanitizer: (?:use-after-poison|heap-buffer-overflow)[\s\S]*? in (\w+)", done.stderr)
    return done.returncode == FOUND and said is not None and said[1] == call.symbols[0]


def test_a_step_that_changes_its_input_is_found(tmp_path: Path) -> None:
    library, made = _library("raw", "address")
    tensor = library.source.inputs[0].identifier
    harm = f"\\1    *(uint8_t *)f->{tensor} ^= 1;\n"
    change = re.compile(r"(static int step_0\(.*\{\n.*\n    \(void\)f;\n)")
    program = link(library, "address", tmp_path / "program", lambda text: change.sub(harm, text))
    done = program.started(made.inputs)
    assert done.returncode != 0
    assert "guard: step 0 changes what it only reads" in done.stderr


def test_a_plan_that_lets_two_tensors_meet_is_found(tmp_path: Path) -> None:
    library, made = _library("raw", "address")
    program = link(_overlapping(library), "address", tmp_path / "program")
    done = program.started(made.inputs)
    if done.returncode == 0:
        got = program.outputs()
        assert not all(within_float_tolerance(got[name], made.expected[name]) for name in got)


def test_undefined_behaviour_of_generated_c_is_found(tmp_path: Path) -> None:
    harm = "    volatile int most = 2147483647;\n    most += 1;\n"
    done = _changed("    (void)f;\n", f"    (void)f;\n{harm}", tmp_path / "program")
    assert done.returncode == FOUND
    assert "signed integer overflow" in done.stderr


def test_memory_that_is_not_given_back_is_found(tmp_path: Path) -> None:
    (tmp_path / "leak.c").write_text("#include <stdlib.h>\nint main(void) { return malloc(9) == 0; }\n")
    if run_sanitized([compile_sanitized([tmp_path / "leak.c"], tmp_path / "leak", "address")]).returncode != FOUND:
        pytest.skip("leaks cannot be seen here")
    done = _changed(
        "    mdc_release(context->arena);\n    mdc_release(context->scratch);\n    mdc_release(context);\n}",
        "}",
        tmp_path / "program",
    )
    assert done.returncode == FOUND
    assert "LeakSanitizer" in done.stderr


def _changed(old: str, new: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """How a network ends after one piece of its C was changed."""
    library, made = _library("raw", "address")
    assert old in library.files["model.c"].decode()
    return link(library, "address", folder, lambda text: text.replace(old, new, 1)).started(made.inputs)


@lru_cache(maxsize=2)
def _library(name: str, sanitizer: str) -> tuple[CLibrary, Case]:
    made = case(BY_NAME[name], "fp32", SMALL_VECTORS)
    return sanitized_library(made.module, sanitizer, made.network.rows), made


def _overlapping(library: CLibrary) -> CLibrary:
    """The library with one tensor moved onto another that is needed at the same time."""
    source = library.source
    lifetimes = buffer_lifetimes(source.calls, source.program.sizes, source.aliases, source.alignment_bytes)
    long, inside = next(
        (one, other) for one in lifetimes for other in lifetimes if one.first < other.first and other.first < one.last
    )
    offsets = {**source.plan.offsets, inside.name: source.plan.offsets[long.name]}
    moved = replace(source, plan=replace(source.plan, offsets=offsets, arena_bytes=2 * source.plan.arena_bytes))
    return replace(library, source=moved, files={**library.files, "model.c": implementation(moved, "model").encode()})
