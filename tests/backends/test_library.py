"""The ctypes side of a compiled library, with a library written by hand."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
int model_input_count(void) { return 2; }
int model_tensor_count(void) { return 3; }
const char *model_tensor_name(int index) { return index == 0 ? "x" : index == 1 ? "factor" : "y"; }
const char *model_tensor_type(int index) { return index == 1 ? "uint8 [1]" : "float32 [1, 4]"; }
size_t model_tensor_bytes(int index) { return index == 1 ? 1 : 16; }
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


def inside(library: SharedLibrary, function: str) -> Any:
    """A function of the loaded library itself; the file may be loaded any number of times."""
    return getattr(library._functions._library.functions, function)


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


def test_threads_never_share_a_context(library: SharedLibrary) -> None:
    start = threading.Barrier(4)

    def work(factor: int) -> bool:
        start.wait()
        got = [library.run(inputs(factor=factor))["y"][0, 0] for _ in range(50)]
        return got == [factor] * 50

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(1, 5)))
    assert 1 <= inside(library, "live_contexts")() <= 4, "one context for each call that runs at the same time"


def test_a_failing_library_is_an_internal_error(library: SharedLibrary) -> None:
    inside(library, "fail_next")(9)
    with pytest.raises(InternalError, match="status 9"):
        library.run(inputs())
    assert library.run(inputs())["y"][0, 0] == 3


def test_a_closed_library_says_so(library: SharedLibrary) -> None:
    library.run(inputs())
    library.close()
    with pytest.raises(InputError, match="closed"):
        library.run(inputs())
    library.close()
    assert library.arena_bytes == 16
    assert len(library.kernel_names()) == 2


def test_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "model.so").write_bytes(b"\x7fELF but not really")
    with pytest.raises(ArtifactError, match="Compile the network again"):
        SharedLibrary(tmp_path / "model.so", INPUTS, OUTPUTS)


def test_a_library_without_the_functions(tmp_path: Path) -> None:
    (tmp_path / "empty.c").write_text("int nothing_here(void);\nint nothing_here(void) { return 0; }\n")
    with pytest.raises(ArtifactError, match="model_arena_bytes"):
        SharedLibrary(shared_library([tmp_path / "empty.c"], tmp_path / "empty.so"), INPUTS, OUTPUTS)


def test_a_library_without_its_tensors(tmp_path: Path) -> None:
    (tmp_path / "old.c").write_text(MODEL_C.replace("model_tensor_", "model_former_"))
    with pytest.raises(ArtifactError, match=r"model_tensor_name.*Compile the network again"):
        SharedLibrary(shared_library([tmp_path / "old.c"], tmp_path / "old.so"), INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [2**30]}, r"tensor 0 of the library is x float32 \[1, 4\], 16 bytes, the manifest says x float32"),
        ({"dtype": "int32"}, "the manifest says x int32"),
        ({"name": "z"}, "the manifest says z float32"),
    ],
)
def test_a_manifest_that_lies_about_tensors(path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        SharedLibrary(path, [{**INPUTS[0], **change}, INPUTS[1]], OUTPUTS)


def test_a_manifest_that_lies_about_their_number(path: Path) -> None:
    for ins, outs in ((INPUTS[:1], OUTPUTS), (INPUTS, ()), (INPUTS[:1], (INPUTS[1], *OUTPUTS))):
        with pytest.raises(ArtifactError, match="the library has 2 inputs and 1 outputs, the manifest says"):
            SharedLibrary(path, ins, outs)


def test_a_file_in_the_place_of_a_loaded_one_is_loaded_anew(tmp_path: Path) -> None:
    place = tmp_path / "model.so"
    opened = []
    for number, factor in enumerate(("1.0f", "2.0f", "3.0f")):
        (tmp_path / "model.c").write_text(MODEL_C.replace("(float)factor[0]", factor))
        shared_library([tmp_path / "model.c"], tmp_path / "new.so")
        place.write_bytes((tmp_path / "new.so").read_bytes())
        opened.append(SharedLibrary(place, INPUTS, OUTPUTS))
        if number == 1:
            opened[0].close()
    for factor_, library in zip((2, 3), opened[1:], strict=True):
        assert library.run(inputs())["y"][0, 1] == 2 * factor_
        library.close()


def mapped() -> int:
    return sum("model.so" in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_library_without_an_owner_is_unloaded(path: Path) -> None:
    gc.collect()
    before, files = mapped(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - handles come and go
    for _ in range(3):
        library = SharedLibrary(path, INPUTS, OUTPUTS)
        library.run(inputs())
        assert mapped() > before
        del library
        gc.collect()
    assert mapped() == before
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208


def test_a_library_is_loaded_from_a_file_where_there_is_no_other_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    library = SharedLibrary(path, INPUTS, OUTPUTS)
    assert library.run(inputs())["y"][0, 0] == 3
    library.close()


def test_the_child_of_a_fork_runs_it_whoever_held_its_lock(library: SharedLibrary) -> None:
    library.run(inputs())
    with library._contexts._lock:
        pid = os.fork()
        if not pid:
            os._exit(int(library.run(inputs())["y"][0, 0] != 3))
    assert os.waitpid(pid, 0)[1] == 0
