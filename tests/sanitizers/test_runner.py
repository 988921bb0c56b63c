"""The program around a model under AddressSanitizer, with arguments, files and outputs that nobody expects."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backends.clib.c_source import Tensor
from mdcompiler.backends.clib.emit_runner import runner
from tests.c_compiler import RUNTIME
from tests.sanitizers.sanitizer import compile_sanitized, run_sanitized

ROWS = 4
MODEL_C = """
#include "model.h"
#include "mdc_runtime.h"

/* The second input gives the rows of all outputs: boxes, classes, scores, count. */
struct model_context { int threads; };
model_context *model_create(int threads) {
    model_context *made = mdc_allocate(sizeof *made, 8);
    made->threads = threads;
    return made;
}
void model_destroy(model_context *context) { mdc_release(context); }
int model_profile(model_context *context, const uint8_t *image, const float *wanted, float *boxes, float *classes,
                  float *scores, float *count, uint64_t *nanoseconds) {
    (void)context, (void)image;
    for (int i = 0; i < 4 * ROWS; ++i)
        boxes[i] = wanted[0];
    for (int i = 0; i < ROWS; ++i)
        classes[i] = wanted[1], scores[i] = wanted[2];
    count[0] = wanted[3];
    if (nanoseconds)
        nanoseconds[0] = 1;
    return 0;
}
int model_kernel_count(void) { return 1; }
const char *model_kernel_name(int index) { return index ? 0 : "only"; }
const char *model_error(void) { return ""; }
"""
MODEL_H = f"""
#include <stddef.h>
#include <stdint.h>
#define ROWS {ROWS}
typedef struct model_context model_context;
model_context *model_create(int threads);
void model_destroy(model_context *context);
int model_profile(model_context *context, const uint8_t *image, const float *wanted, float *boxes, float *classes,
                  float *scores, float *count, uint64_t *nanoseconds);
int model_kernel_count(void);
const char *model_kernel_name(int index);
const char *model_error(void);
"""
INPUTS = (Tensor("image", "image", (5,), "uint8"), Tensor("wanted", "wanted", (4,), "float32"))
OUTPUTS = tuple(
    Tensor(name, name, (size,), "float32")
    for name, size in (("boxes", 4 * ROWS), ("classes", ROWS), ("scores", ROWS), ("count", 1))
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runner")
    files = {"model.c": MODEL_C, "model.h": MODEL_H, "model_main.c": runner("model", INPUTS, OUTPUTS, ["cat", "dog"])}
    for path in RUNTIME.iterdir():
        files[path.name] = path.read_text()
    for name, text in files.items():
        (folder / name).write_text(text)
    names = ("model.c", "model_main.c", "mdc_run.c", "mdc_runtime.c")
    return compile_sanitized([folder / name for name in names], folder / "model_run", "address")


@pytest.fixture
def given(tmp_path: Path) -> list[Path]:
    """Good input files."""
    return written(tmp_path, [1, 0, 0.9, 2])


def written(folder: Path, wanted: Sequence[float]) -> list[Path]:
    image, numbers = folder / "image", folder / "wanted"
    image.write_bytes(bytes(5))
    numbers.write_bytes(np.array(wanted, np.float32).tobytes())
    return [image, numbers]


def run(program: Path, *words: object) -> subprocess.CompletedProcess[str]:
    done = run_sanitized([program, *words])
    assert "Sanitizer" not in done.stderr, done.stderr
    assert "runtime error" not in done.stderr, done.stderr
    return done


def test_a_run_prints_detections_and_writes_outputs(program: Path, given: list[Path], tmp_path: Path) -> None:
    assert run(program, "-t", 2, "-n", 3, *given).stdout.count("cat") == 2
    outs = [tmp_path / tensor.name for tensor in OUTPUTS]
    assert run(program, "-k", *given, *outs).returncode == 0
    assert [path.stat().st_size for path in outs] == [4 * tensor.count for tensor in OUTPUTS]


NOTHING = ("-t", "-n", "-t 0", "-t -1", "-t 4x", "-t 1025", "-n 2147483648", "-n 1e3", "-n 0x10", "-x", "--", "--help")


@pytest.mark.parametrize("words", [*(text.split() for text in NOTHING), ["-t", ""], ["-n", " "], ["-t", "9" * 5000]])
def test_options_that_mean_nothing(words: list[str], program: Path, given: list[Path]) -> None:
    done = run(program, *words, *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: " in done.stderr


@pytest.mark.parametrize("count", [0, 1, 3, 5, 7, 100])
def test_as_many_files_as_there_are_tensors(count: int, program: Path, given: list[Path]) -> None:
    done = run(program, *[given[0]] * count)
    assert done.returncode == 2
    assert "IN  image: uint8 [5], 5 bytes" in done.stderr


def test_files_of_the_wrong_kind(program: Path, given: list[Path], tmp_path: Path) -> None:
    short, long, empty = tmp_path / "short", tmp_path / "long", tmp_path / "empty"
    short.write_bytes(bytes(4))
    long.write_bytes(bytes(6))
    empty.write_bytes(b"")
    for path in (short, long, empty, tmp_path, tmp_path / "none", Path("/dev/null"), "", "x" * 5000):
        done = run(program, path, given[1])
        assert done.returncode == 2
        assert "image is uint8 [5], 5 bytes" in done.stderr


def test_outputs_that_cannot_be_written(program: Path, given: list[Path], tmp_path: Path) -> None:
    good = [tmp_path / f"out{index}" for index in range(3)]
    for path in (tmp_path, tmp_path / "no" / "folder", "/dev/full", ""):
        done = run(program, *given, path, *good)
        assert done.returncode == 2
        assert "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("wanted", "lines"),
    [
        ([1, 0, 0.9, 1e30], ROWS), ([1, 0, 0.9, np.inf], ROWS), ([1, 0, 0.9, np.nan], 0), ([1, 0, 0.9, -5], 0),
        ([np.nan, 1e30, 0.9, 2], 2), ([1, np.nan, np.nan, 4], 3), ([np.inf, -1, 0.9, 1], 1), ([0, 2, 0.9, 1], 1),
    ],
)  # fmt: skip
def test_any_numbers_in_outputs_called_like_detections(
    wanted: list[float], lines: int, program: Path, tmp_path: Path
) -> None:
    done = run(program, *written(tmp_path, wanted))
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1 + lines
