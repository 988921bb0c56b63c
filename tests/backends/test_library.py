"""The ctypes side of a compiled library, with a library written by hand."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backends.clib.library import ALIGNMENT_BYTES, SharedLibrary
from mdcompiler.errors import ArtifactError, InputError, InternalError
from tests.c_compiler import shared_library

MODEL_C = """
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* out[i] = in[i] * factor; the context holds the intermediate; `busy` shows two calls in one context */
typedef struct model_context { float value[4]; int busy; int threads; } model_context;
static int live = 0;
static int fail = 0;
int live_contexts(void) { return live; }
void fail_next(int status) { fail = status; }
size_t model_arena_bytes(void) { return sizeof(float) * 4; }
model_context *model_create(int threads) {
  model_context *made = calloc(1, sizeof *made);
  if (made) { made->threads = threads; __atomic_add_fetch(&live, 1, __ATOMIC_SEQ_CST); }
  return made;
}
int model_run(model_context *context, const float *in, const uint8_t *factor, float *out) {
  if (fail) { int status = fail; fail = 0; return status; }
  if ((uintptr_t)in % 64 || (uintptr_t)factor % 64 || (uintptr_t)out % 64) return 3;
  if (__atomic_exchange_n(&context->busy, 1, __ATOMIC_SEQ_CST)) return 2;
  for (int spin = 0; spin < 20000; ++spin)
    for (int i = 0; i < 4; ++i) *(volatile float *)&context->value[i] = in[i] * (float)factor[0];
  for (int i = 0; i < 4; ++i) out[i] = context->value[i];
  __atomic_store_n(&context->busy, 0, __ATOMIC_SEQ_CST);
  return 0;
}
void model_destroy(model_context *context) { __atomic_sub_fetch(&live, 1, __ATOMIC_SEQ_CST); free(context); }
int model_kernel_count(void) { return 2; }
const char *model_kernel_name(int index) { return index == 0 ? "stem/b0.conv/conv" : "stem/b0.conv/act"; }
int model_profile(model_context *context, const float *in, const uint8_t *factor, float *out, uint64_t *spent) {
  spent[0] = 7;
  spent[1] = 1ull << 40;
  return model_run(context, in, factor, out);
}
"""
INPUTS = (
    {"name": "x", "shape": [1, 4], "dtype": "float32"},
    {"name": "factor", "shape": [1], "dtype": "uint8"},
)
OUTPUTS = ({"name": "y", "shape": [1, 4], "dtype": "float32"},)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    (folder / "model.c").write_text(MODEL_C)
    return shared_library([folder / "model.c"], folder / "model.so")


@pytest.fixture
def library(path: Path) -> Iterator[SharedLibrary]:
    opened = SharedLibrary(path, INPUTS, OUTPUTS, threads=2)
    yield opened
    opened.close()


def inputs(first: float = 1.0, factor: int = 3) -> dict[str, np.ndarray]:
    return {"x": np.array([[first, 2, 3, 4]], np.float32), "factor": np.array([factor], np.uint8)}


def test_run_gives_outputs_by_name(library: SharedLibrary) -> None:
    out = library.run(inputs())
    np.testing.assert_array_equal(out["y"], [[3, 6, 9, 12]])
    assert library.arena_bytes == 16


def test_every_run_has_its_own_output(library: SharedLibrary) -> None:
    first, second = library.run(inputs())["y"], library.run(inputs(factor=5))["y"]
    assert first[0, 0] == 3
    assert second[0, 0] == 5


def test_strided_and_unaligned_inputs_are_copied(library: SharedLibrary) -> None:
    wide = np.arange(8, dtype=np.float32).reshape(1, 8)
    np.testing.assert_array_equal(library.run({**inputs(), "x": wide[:, ::2]})["y"], [[0, 6, 12, 18]])
    raw = np.zeros(16 + ALIGNMENT_BYTES + 4, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES + 4
    odd = raw[start : start + 16].view(np.float32).reshape(1, 4)
    odd[...] = 1
    np.testing.assert_array_equal(library.run({**inputs(), "x": odd})["y"], [[3, 3, 3, 3]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((1, 5), np.float32)}, r"'x' is float32\[1, 5\]"),
        ({"x": np.zeros((1, 4), np.float64)}, r"'x' is float64\[1, 4\]"),
        ({"z": np.zeros(1)}, "'z' is no input"),
    ],
)
def test_inputs_that_do_not_fit(library: SharedLibrary, change: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(InputError, match=words):
        library.run({**inputs(), **change})


def test_all_faults_are_in_one_message(library: SharedLibrary) -> None:
    with pytest.raises(InputError, match=r"'factor' is missing; 'x' is .* It takes x float32\[1, 4\], factor uint8"):
        library.run({"x": np.zeros(3)})


def test_profile_names_every_kernel(library: SharedLibrary) -> None:
    assert library.profile(inputs()) == [("stem/b0.conv/conv", 7), ("stem/b0.conv/act", 1 << 40)]


def test_threads_never_share_a_context(path: Path, library: SharedLibrary) -> None:
    start = threading.Barrier(4)

    def work(factor: int) -> bool:
        start.wait()
        got = [library.run(inputs(factor=factor))["y"][0, 0] for _ in range(50)]
        return got == [factor] * 50

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(1, 5)))
    live = ctypes.CDLL(str(path)).live_contexts
    assert 1 <= live() <= 4, "one context for each call that runs at the same time"
    library.close()
    assert live() == 0


def test_a_failing_library_is_an_internal_error(path: Path, library: SharedLibrary) -> None:
    ctypes.CDLL(str(path)).fail_next(9)
    with pytest.raises(InternalError, match="status 9"):
        library.run(inputs())
    assert library.run(inputs())["y"][0, 0] == 3


def test_a_closed_library_says_so(library: SharedLibrary) -> None:
    library.run(inputs())
    library.close()
    with pytest.raises(InternalError, match="closed"):
        library.run(inputs())


def test_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "model.so").write_bytes(b"\x7fELF but not really")
    with pytest.raises(ArtifactError, match="Compile the network again"):
        SharedLibrary(tmp_path / "model.so", INPUTS, OUTPUTS)


def test_a_library_without_the_functions(tmp_path: Path) -> None:
    (tmp_path / "empty.c").write_text("int nothing_here(void);\nint nothing_here(void) { return 0; }\n")
    with pytest.raises(ArtifactError, match="model_arena_bytes"):
        SharedLibrary(shared_library([tmp_path / "empty.c"], tmp_path / "empty.so"), INPUTS, OUTPUTS)
