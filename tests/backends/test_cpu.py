"""The cpu backend end to end: every network equals the reference, on every instruction set, in C as in Python."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import mdcompiler
from mdcompiler.backends.clib import build_objects as builder
from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.link import compiler_command
from mdcompiler.backends.kernels.sources import ChannelwiseSource
from mdcompiler.errors import InternalError, MissingToolError
from mdcompiler.lower import lower
from mdcompiler.progress import silent
from mdcompiler.reference import run_reference
from mdcompiler.spec import SearchSpace, Spec, load_spec, weight_shapes, zoo_names
from mdcompiler.target import find_target, missing_flags
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from mdcompiler.weights import seeded_weights
from tests.c_compiler import compilers

Array = NDArray[Any]


def check(spec: Spec, folder: Path, target: str = "cpu", threads: int = 1) -> mdcompiler.Detector:
    """Compile `spec` with raw outputs and compare every output with the reference."""
    mdcompiler.compile(spec, target, folder, raw=True, check=False)
    detector = mdcompiler.load(folder, threads=threads)
    inputs = {"image": picture(spec)}
    expected = run_reference(lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True), inputs)
    got = detector.run(inputs)
    for name, want in expected.items():
        assert within_float_tolerance(got[name], want), describe_difference(got[name], want)
    return detector


def picture(spec: Spec) -> Array:
    shape = (1, spec.input.height, spec.input.width, 3)
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", zoo_names())
def test_zoo_at_an_odd_size_and_half_width(name: str, tmp_path: Path) -> None:
    check(load_spec(name).with_(width=0.5, height=129, width_px=150), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_names())
@pytest.mark.parametrize(("size", "width"), [(320, 1.0), (257, 1.0), (300, 0.5)])
def test_zoo_at_full_size(name: str, size: int, width: float, tmp_path: Path) -> None:
    check(load_spec(name).with_(width=width, height=size, width_px=size), tmp_path / "out")


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_every_instruction_set(target: str, tmp_path: Path) -> None:
    missing = missing_flags(find_target(target))
    if missing:
        pytest.skip(f"this processor lacks {', '.join(missing)}")
    check(load_spec("mobiledet-cpu").with_(width=0.5, height=64, width_px=64), tmp_path / "out", target)


@settings(max_examples=5)
@given(seed=st.integers(0, 2**20))
def test_random_specs(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    check(SearchSpace.small().sample(seed), tmp_path_factory.mktemp("random") / "out")


def test_threads_do_not_change_a_bit(tmp_path: Path) -> None:
    spec = load_spec("mobiledet-edgetpu").with_(width=0.5, height=96, width_px=96)
    one = check(spec, tmp_path / "out")
    inputs = {"image": picture(spec)}
    three = mdcompiler.load(tmp_path / "out", threads=3)
    for _ in range(5):
        for name, want in one.run(inputs).items():
            assert np.array_equal(three.run(inputs)[name], want)


def test_calls_from_many_threads_at_once(tmp_path: Path) -> None:
    spec = SearchSpace.small().sample(1)
    detector = check(spec, tmp_path / "out")
    pictures = [picture(spec) // (i + 1) for i in range(4)]
    expected = [detector.run({"image": item}) for item in pictures]
    faults: list[int] = []

    def call(index: int) -> None:
        for _ in range(10):
            got = detector.run({"image": pictures[index]})
            if any(not np.array_equal(got[name], want) for name, want in expected[index].items()):
                faults.append(index)

    workers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not faults


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    spec = SearchSpace.small().sample(2)
    for name in ("a", "b"):
        mdcompiler.compile(spec, "cpu", tmp_path / name)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


C_PROGRAM = r"""
#include <stdio.h>
#include "model.h"
int main(void) {
    static uint8_t image[MODEL_IMAGE_COUNT];
    static float boxes[MODEL_BOXES_COUNT], classes[MODEL_CLASSES_COUNT], scores[MODEL_SCORES_COUNT], count[1];
    for (int i = 0; i < MODEL_IMAGE_COUNT; ++i)
        image[i] = (uint8_t)(i * 7 % 251);
    model_context *context = model_create(1);
    if (!context || model_run(context, image, boxes, classes, scores, count))
        return 1;
    for (int i = 0; i < MODEL_SCORES_COUNT; ++i)
        printf("%.9g %.9g\n", (double)boxes[4 * i], (double)scores[i]);
    model_destroy(context);
    return 0;
}
"""


def test_a_c_program_gives_what_python_gives(tmp_path: Path) -> None:
    spec = SearchSpace.small().sample(3)
    mdcompiler.compile(spec, "cpu", tmp_path / "out")
    for number, compiler in enumerate(compilers()):
        lines = run_c_program(tmp_path, compiler, f"main{number}")[0]
        count = spec.input.height * spec.input.width * 3
        image = (np.arange(count) * 7 % 251).astype(np.uint8).reshape(1, spec.input.height, spec.input.width, 3)
        outputs = mdcompiler.load(tmp_path / "out").run({"image": image})
        expected = np.stack([outputs["boxes"][0, :, 0], outputs["scores"][0]], 1)
        assert np.array_equal(np.array(lines, np.float32), expected.astype(np.float32))


def run_c_program(folder: Path, compiler: list[str], name: str) -> tuple[list[list[float]], int]:
    """Build C_PROGRAM against the artifact in folder/out and run it: printed numbers, peak memory in KiB."""
    (folder / "main.c").write_text(C_PROGRAM)
    out = folder / "out"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-I", str(out), "main.c", str(out / "model.so"), "-o", name]
    subprocess.run([*compiler, *flags], cwd=folder, check=True)
    measured = f"import resource, subprocess; subprocess.run(['./{name}'], check=True);"
    measured += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", measured], cwd=folder, capture_output=True, text=True, check=True)
    *lines, peak = done.stdout.splitlines()
    return [[float(word) for word in line.split()] for line in lines], int(peak)


@pytest.mark.slow
def test_memory_of_the_c_program_and_of_python(tmp_path: Path) -> None:
    mdcompiler.compile("mobiledet-cpu", "cpu", tmp_path / "out", check=False)
    _, peak_kib = run_c_program(tmp_path, compilers()[0], "main")
    assert peak_kib * 1024 < 25_000_000
    code = "import resource, numpy; {};print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    load = f"import mdcompiler; d = mdcompiler.load({str(tmp_path / 'out')!r});"
    load += "d.run({'image': numpy.zeros((1, 320, 320, 3), numpy.uint8)})"
    bare, running = (peak(code.format(part)) for part in ("pass", load))
    assert running - bare < 100 * 1024


def peak(code: str) -> int:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def test_a_kernel_that_cannot_be_compiled_is_named() -> None:
    broken = ChannelwiseSource("mean", (1, 0, 16))
    with pytest.raises(InternalError, match=r"compiling ChannelwiseSource\(template='mean', arguments=\(1, 0, 16\)"):
        build_objects({broken.symbol: broken}, find_target("cpu").llvm, 1, silent)


def test_a_compiler_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MDC_CACHE", "off")
    (tmp_path / "dies_at_once.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(builder, "_WORKER", "dies_at_once")
    source = ChannelwiseSource("mean", (1, 4, 16))
    with pytest.raises(InternalError, match="the process died"):
        build_objects({source.symbol: source}, find_target("cpu").llvm, 2, silent)


def test_without_any_c_compiler_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdcompiler.backends.clib.link.shutil.which", lambda _: None)
    monkeypatch.setattr("mdcompiler.backends.clib.link.find_spec", lambda _: None)
    with pytest.raises(MissingToolError, match="pip install ziglang"):
        compiler_command()
